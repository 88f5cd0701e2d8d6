#!/usr/bin/env python3
"""Token ids under the component lists of published tokenizer.json files, beside the tokenizers library.

usage: tokenizer_components.py PROBE [--data SHARED_DATA] [--mb 1] [--keep FOLDER] [CASE ...]

For each family a small vocabulary is learned under exactly its normalizer, pre-tokenizer, post-processor and decoder, written
as tokenizer.json, and read by both sides. Exit status 1 if any text's ids or decoded bytes differ.
Needs: tokenizers.
"""
import argparse
import json
import os
import sys
import tempfile

import tokenizer_parity as parity

TAILS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
NO_HAN_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
NO_HAN_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
SIGN = r"[^\r\n\p{L}\p{N}]?"


def cased(tail, upper=UPPER, lower=LOWER):
    return SIGN + upper + "*" + lower + "+" + tail + "|" + SIGN + upper + "+" + lower + "*" + tail


LLAMA3 = TAILS + "|" + SIGN + r"\p{L}+|\p{N}{1,3}" + REST
QWEN2 = TAILS + "|" + SIGN + r"\p{L}+|\p{N}" + REST
QWEN35 = TAILS + "|" + SIGN + r"[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PHI4 = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|"
        r"\s+(?!\S)|\s+")
CL100K_NOW = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|"
              r"\s*[\r\n]|\s+(?!\S)|\s")
CASED_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
O200K = cased(TAILS + "?") + r"|\p{N}{1,3}" + CASED_REST
TEKKEN = cased("") + r"|\p{N}" + CASED_REST
KIMI = r"[\p{Han}]+|" + cased(TAILS + "?", NO_HAN_UPPER, NO_HAN_LOWER) + r"|\p{N}{1,3}" + REST
SEED = (r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|" + SIGN +
        r"\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+")
BLOOM = " ?[^(\\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+"
DEEPSEEK = (r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"""
            r"\s*[\r\n]+|\s+(?!\S)|\s+")
LING = (r"'(?i:[sdmt]|ll|ve|re)|" + SIGN + r"\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+")
EXAONE = (r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|" + SIGN +
          r"(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+")


def split(regex, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": invert}


def byte_level(regex=False, prefix=False, trim=True):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": trim, "use_regex": regex}


def sequence(kind, *steps):
    return {"type": "Sequence", kind: list(steps)}


def pre(*steps):
    return sequence("pretokenizers", *steps)


def template(bos):
    return {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {bos: {"id": bos, "ids": [0], "tokens": [bos]}}}


NFC = {"type": "NFC"}
DIGITS = {"type": "Digits", "individual_digits": True}
MARK = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
BACK = {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}
FUSE = [{"type": "ByteFallback"}, {"type": "Fuse"}]
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
BYTES = {"pre": pre(byte_level(True)), "decoder": byte_level(True)}


def bytes_case(pattern, **more):
    return dict({"pre": pre(split(pattern), byte_level()), "decoder": byte_level(True)}, **more)


CASES = {
    "llama3 smollm3": bytes_case(LLAMA3, ignore_merges=True,
                                 post=sequence("processors", byte_level(True), template("<s>"))),
    "llama4 gpt-oss phi-4-mini": bytes_case(O200K, ignore_merges=False),
    "qwen2 qwen3": bytes_case(QWEN2, normalizer=NFC, post=byte_level()),
    "qwen3.5": bytes_case(QWEN35, normalizer=NFC, post=byte_level()),
    "phi-4": bytes_case(PHI4, pre=pre(split(PHI4, "Removed", True), byte_level())),
    "granite-4 cl100k of today": bytes_case(CL100K_NOW, pre=pre(split(CL100K_NOW, "Removed", True), byte_level())),
    "olmo2 olmo3 glm4.5": bytes_case(LLAMA3, post=byte_level(), ignore_merges=True),
    "olmo gpt-neox": dict(BYTES, normalizer=NFC, pre=byte_level(True)),
    "mistral tekken nemotron-h apertus": bytes_case(TEKKEN, ignore_merges=True, post=template("<s>")),
    "deepseek v3 r1": dict(BYTES, pre=pre(split(r"\p{N}{1,3}"), split("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"), split(DEEPSEEK),
                                          byte_level()), normalizer=sequence("normalizers")),
    "deepseek-coder": dict(BYTES, pre=pre(split(r"[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"),
                                          split("[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"), DIGITS, byte_level())),
    "granite-3 starcoder2": dict(BYTES, pre=pre(DIGITS, byte_level(True))),
    "command-r aya": dict(BYTES, normalizer=NFC, pre=pre(DIGITS, byte_level(True)), post=template("<s>")),
    "tiny-aya": dict(BYTES, normalizer=NFC, pre=pre(split(r"\d{1,3}(?=(?:\d{3})*\b)"), split(O200K), byte_level())),
    "falcon": dict(BYTES, pre=pre({"type": "Punctuation", "behavior": "Contiguous"}, byte_level(True),
                                  {"type": "Digits", "individual_digits": False}, split("[0-9][0-9][0-9]"))),
    "kimi-k2": bytes_case(KIMI, ignore_merges=True),
    "seed-oss": bytes_case(SEED),
    "ling bailing": bytes_case(LING),
    "exaone-4": bytes_case(EXAONE, normalizer=NFC),
    "bloom": bytes_case(BLOOM),
    "superbpe": bytes_case(r"\p{N}+", pre=pre(split(r"\p{N}+"), split(r"(?=(\d{3})+(?!\d))"), byte_level())),
    "gemma3 gemma4": {"normalizer": MARK, "pre": dict(split("x"), pattern={"String": " "}, behavior="MergedWithPrevious"),
                      "decoder": sequence("decoders", BACK, *FUSE), "post": template("<s>"), "fallback": True},
    "llama2 yi internlm": {"normalizer": sequence("normalizers", {"type": "Prepend", "prepend": "\u2581"}, MARK),
                           "decoder": sequence("decoders", BACK, *FUSE, STRIP), "fallback": True},
    # fmpipe decodes an added token to its own text; the library runs that through the normalizer and the decoder
    "llama2, added tokens normalized": {"normalizer": sequence("normalizers", {"type": "Prepend", "prepend": "\u2581"}, MARK),
                                        "decoder": sequence("decoders", BACK, *FUSE, STRIP), "fallback": True, "odd_added": True},
    "mistral spm": {"pre": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": False},
                    "decoder": sequence("decoders", BACK, *FUSE, STRIP), "fallback": True},
    "minicpm ernie": {"normalizer": MARK, "decoder": sequence("decoders", BACK, *FUSE), "fallback": True},
    "whitespace-split metaspace": {"pre": pre({"type": "WhitespaceSplit"}, {"type": "Metaspace", "replacement": "\u2581",
                                                                           "prepend_scheme": "always", "split": True}),
                                   "decoder": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True},
                                   "fallback": True},
}

ADDED = [("<s>", {"special": True}), ("</s>", {"special": True}), ("<unk>", {"special": True}),
         ("<\uff5cbegin\u2581of\u2581sentence\uff5c>", {"special": True}), ("<|im_end|>", {"special": True}),
         ("<think>", {"special": False, "normalized": False}), ("[INST]", {"special": False, "normalized": True}),
         ("<|end|>", {"special": True, "rstrip": True}), ("<mask>", {"special": True, "lstrip": True}),
         ("word", {"special": False, "single_word": True})]


def learn(case, texts):
    """tokenizer.json of a vocabulary of some 600 tokens under the components of a case."""
    from tokenizers import Tokenizer, pre_tokenizers, trainers
    fallback = case.get("fallback", False)
    root = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": case.get("normalizer"),
            "pre_tokenizer": case.get("pre"), "post_processor": None, "decoder": case.get("decoder"),
            "model": {"type": "BPE", "unk_token": None, "vocab": {}, "merges": []}}
    tok = Tokenizer.from_str(json.dumps(root))
    first = [text for text, _ in ADDED] + (["<0x%02X>" % b for b in range(256)] if fallback else [])
    tok.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=800, show_progress=False, special_tokens=first, max_token_length=24,
        initial_alphabet=[] if fallback else pre_tokenizers.ByteLevel.alphabet(), limit_alphabet=300))
    learned = json.loads(tok.to_str())
    root["model"] = dict(learned["model"], byte_fallback=fallback, fuse_unk=fallback, ignore_merges=case.get("ignore_merges", False),
                         unk_token="<unk>" if fallback else None)
    root["post_processor"] = case.get("post")
    for text, options in ADDED:
        if fallback and not case.get("odd_added") and (options.get("normalized") or "\u2581" in text):
            continue
        entry = {"id": learned["model"]["vocab"][text], "content": text, "single_word": False, "lstrip": False, "rstrip": False,
                 "normalized": False, "special": False}
        root["added_tokens"].append(dict(entry, **options))
    return json.dumps(root, ensure_ascii=False)


def mixed(data, n_bytes):
    """The texts of tokenizer_parity, each with an added token or two somewhere."""
    texts = parity.mixed_texts(data, n_bytes)
    marks = [text for text, _ in ADDED]
    return [t if i % 3 else t[:len(t) // 2] + " " + marks[i // 3 % len(marks)] + " " + t[len(t) // 2:] for i, t in enumerate(texts)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("probe")
    parser.add_argument("--data", default=os.environ.get("FMP_SHARED_DATA", ""))
    parser.add_argument("--mb", type=float, default=1)
    parser.add_argument("--keep", help="leave the tokenizer.json files here")
    parser.add_argument("cases", nargs="*")
    args = parser.parse_intermixed_args()
    texts = mixed(args.data, int(args.mb * (1 << 20)))
    total = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.keep or scratch
        for name in args.cases or CASES:
            path = os.path.join(folder, name.replace(",", "").replace(" ", "-") + ".json")
            with open(path, "w", encoding="utf-8") as f:
                f.write(learn(CASES[name], texts[:1500]))
            try:
                n, report = parity.compare(args.probe, path, texts, not CASES[name].get("odd_added", False))
            except Exception as problem:  # a file that one side cannot read is a difference
                n, report = 1, "failed: %s" % problem
            total += n
            print("%-36s %s" % (name, report), flush=True)
    print("differences: %d" % total)
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
