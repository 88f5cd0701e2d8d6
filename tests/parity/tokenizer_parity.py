#!/usr/bin/env python3
"""Token ids beside tokenizers, sentencepiece and tiktoken.

usage: tokenizer_parity.py PROBE [--data SHARED_DATA] [--mb 20] [--decode] [FILE ...]

Makes mixed text in memory (English, French, Japanese, JSON, code, emoji, random characters and bytes), encodes it with
each tokenizer file that is found, and prints the number of texts whose ids differ. Exit status 1 if any does.
Without FILE: every tokenizer under SHARED_DATA/tokenizers.
Needs: tokenizers, sentencepiece, tiktoken (each only for its own kind of file).
"""
import argparse
import base64
import glob
import os
import random
import struct
import subprocess
import sys
import tempfile
import unicodedata

SPECIAL = 1  # FMP_TOK_SPECIAL


def sources(data):
    """Lists of whole texts by kind, from the shared data and from this machine's Python."""
    def read(pattern, limit=8 << 20):
        out = []
        for path in sorted(glob.glob(os.path.join(data, pattern), recursive=True)):
            if os.path.isfile(path):
                with open(path, encoding="utf-8", errors="replace") as f:
                    out.append(f.read(limit))
        return out
    kinds = {"novels": read("text/**/*.txt") + read("tokenizers/sentencepiece-google/data/*.txt"),
             "json": read("sgd/**/*.jsonl", 4 << 20) + read("toolcall-bfcl/**/*.json*", 1 << 20),
             "chat": read("chat/**/*.tsv", 1 << 20) + read("chat/**/*.jsonl", 1 << 20) + read("langid-udhr/**/*.txt", 1 << 18),
             "code": []}
    for path in sorted(glob.glob(os.path.join(os.path.dirname(os.__file__), "*.py")))[:120]:
        with open(path, encoding="utf-8", errors="replace") as f:
            kinds["code"].append(f.read())
    return {k: v for k, v in kinds.items() if v}


def odd_text(rng):
    """Random characters: from everywhere, from where patterns and normalizers differ, and undecodable bytes."""
    pools = [
        lambda: chr(rng.choice([rng.randrange(0x20, 0x7F), rng.randrange(0xA0, 0x250), rng.randrange(0x370, 0x600)])),
        lambda: chr(rng.randrange(0x1F300, 0x1FAFF)) + rng.choice(["", "\u200d", "\ufe0f", "\U0001F3FD"]),
        lambda: chr(rng.choice([rng.randrange(0x3040, 0x3100), rng.randrange(0x4E00, 0xA000), rng.randrange(0xAC00, 0xD7A4)])),
        lambda: rng.choice(["\n", "\r\n", "\n\n", "\t", "  ", "   ", "\u00a0", "\u3000", "\u2028", "\u200b", "\u0085", "\v"]),
        lambda: rng.choice(["'s", "'LL", "don't", "I'M", "\u017f", "'\u017f", "1234567", "\u0663\u0664", "\u00bd", "<s>", "</s>",
                            "<unk>", "<|endoftext|>", "<0x41>", "\u2581", "\u2581\u2581", "[INST]", "##ing", "_a_b"]),
        lambda: rng.choice(["e\u0301", "\u00e9", "\ufb01", "\uff21\uff42", "\u33a1", "\u2460", "\u1e9b\u0323", "\u0130", "\u1100\u1161",
                            "\u0929\u093c", "\u0e33", "\ufdfa", "``", "''", "\u2026", "\u00ad", "\ufeff"]),
        lambda: bytes(rng.randrange(256) for _ in range(6)).decode("utf-8", "replace"),
        lambda: rng.choice(["hello", " world", "The", " the", "ing ", "\u732b", "\u3067\u3059", "l'\u00e9t\u00e9", "{\"a\": [1, 2]}"]),
        lambda: chr(rng.choice([rng.randrange(0x10000, 0x1F000), rng.randrange(0x20000, 0x2FA20), rng.randrange(0x600, 0x2000)])),
    ]
    weights = [rng.random() ** 2 for _ in pools]
    text = "".join(p() for p in rng.choices(pools, weights, k=rng.randrange(1, 120)))
    # what is a letter in the newest Unicode differs between the libraries themselves
    return "".join(c for c in text if unicodedata.category(c) != "Cn")


def mixed_texts(data, n_bytes):
    rng = random.Random(7)
    kinds = sources(data)
    texts = ["", " ", "  ", "\n", "a", " a", "a ", "\u2581", "\U0001F600", "x" * 3000, "\u3042" * 1000, " " * 500]
    total = sum(len(t) for t in texts)
    while total < n_bytes:
        if rng.random() < 0.25 or not kinds:
            t = odd_text(rng)
        else:
            whole = rng.choice(kinds[rng.choice(sorted(kinds))])
            start = rng.randrange(max(1, len(whole)))
            t = whole[start:start + int(10 ** rng.uniform(1, 3.6))]
        t = t.encode("utf-8", "replace").decode("utf-8").replace("\x00", "")
        texts.append(t)
        total += len(t.encode("utf-8"))
    return texts


def probe_encode(probe, path, texts, flags):
    with tempfile.TemporaryFile() as out:
        blob = b"".join(struct.pack("<I", len(b)) + b for b in (t.encode("utf-8") for t in texts))
        run = subprocess.run([probe, path, "encode", str(flags)], input=blob, stdout=out, stderr=subprocess.PIPE)
        if run.returncode != 0:
            raise RuntimeError(run.stderr.decode().strip())
        out.seek(0)
        data = out.read()
    ids, at = [], 0
    for _ in texts:
        (n,) = struct.unpack_from("<I", data, at)
        ids.append(list(struct.unpack_from("<%dI" % n, data, at + 4)))
        at += 4 + 4 * n
    return ids


def probe_decode(probe, path, all_ids, flags):
    blob = b"".join(struct.pack("<I%dI" % len(i), len(i), *i) for i in all_ids)
    run = subprocess.run([probe, path, "decode", str(flags)], input=blob, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if run.returncode != 0:
        raise RuntimeError(run.stderr.decode().strip())
    texts, at = [], 0
    for _ in all_ids:
        (n,) = struct.unpack_from("<I", run.stdout, at)
        texts.append(run.stdout[at + 4:at + 4 + n])
        at += 4 + n
    return texts


def tiktoken_peer(path):
    import tiktoken
    from tiktoken_ext import openai_public
    with open(path, "rb") as f:
        ranks = {base64.b64decode(a): int(b) for a, b in (line.split() for line in f if line.strip())}
    if len(ranks) == 199998:
        # the pattern stands inside the function that also downloads the ranks
        openai_public.load_tiktoken_bpe = lambda *a, **k: ranks
        spec = openai_public.o200k_base()
    elif len(ranks) == 100256:
        openai_public.load_tiktoken_bpe = lambda *a, **k: ranks
        spec = openai_public.cl100k_base()
    elif len(ranks) in (50256, 50280):
        spec = {"pat_str": openai_public.r50k_pat_str}
    elif len(ranks) == 128000:
        spec = {"pat_str": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
                           r"\s*[\r\n]+|\s+(?!\S)|\s+"}
    else:
        spec = {"pat_str": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
                           r"\s*[\r\n]+|\s+(?!\S)|\s+"}
    enc = tiktoken.Encoding("x", pat_str=spec["pat_str"], mergeable_ranks=ranks, special_tokens={})
    return 0, lambda ts: [enc.encode_ordinary(t) for t in ts], lambda ids: [enc.decode_bytes(i) for i in ids]


def sentencepiece_peer(path):
    import sentencepiece
    sp = sentencepiece.SentencePieceProcessor(model_file=path)
    return 0, lambda ts: sp.encode(ts), lambda ids: [t.encode("utf-8") for t in sp.decode(ids)]


def tokenizers_peer(path):
    import tokenizers
    tok = tokenizers.Tokenizer.from_file(path)
    tok.no_padding()
    tok.no_truncation()
    return (SPECIAL, lambda ts: [e.ids for e in tok.encode_batch(ts, add_special_tokens=False)],
            lambda ids: [t.encode("utf-8") for t in tok.decode_batch(ids, skip_special_tokens=False)])


def gpt2_peer(path):
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers
    folder = os.path.dirname(path)
    merges = next(p for p in (os.path.join(folder, n) for n in ("merges.txt", "vocab.bpe")) if os.path.exists(p))
    tok = tokenizers.Tokenizer(models.BPE.from_file(path, merges))
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    return (0, lambda ts: [e.ids for e in tok.encode_batch(ts, add_special_tokens=False)],
            lambda ids: [t.encode("utf-8") for t in tok.decode_batch(ids, skip_special_tokens=False)])


def peer_of(path):
    name = os.path.basename(path)
    if name in ("vocab.json", "encoder.json"):
        return gpt2_peer(path)
    if name.endswith(".json"):
        return tokenizers_peer(path)
    if name.endswith(".tiktoken"):
        return tiktoken_peer(path)
    return sentencepiece_peer(path)


def found_files(data):
    base = os.path.join(data, "tokenizers")
    out = []
    for folder, _, names in sorted(os.walk(base)):
        for name in sorted(names):
            path = os.path.join(folder, name)
            if name in ("tokenizer.json", "20B_tokenizer.json", "gpt2.json", "encoder.json", "vocab.json"):
                out.append(path)
            elif name.endswith(".tiktoken") or ".model" in name:
                out.append(path)
    return out


def compare(probe, path, texts, with_decode):
    flags, encode, decode = peer_of(path)
    ours = probe_encode(probe, path, texts, flags)
    theirs = []
    for i in range(0, len(texts), 512):
        theirs += encode(texts[i:i + 512])
    bad = [i for i in range(len(texts)) if ours[i] != theirs[i]]
    n_tokens = sum(map(len, theirs))
    report = "%d of %d texts differ, %d tokens" % (len(bad), len(texts), n_tokens)
    wrong = 0
    if with_decode:
        back, want = probe_decode(probe, path, theirs, 0), decode(theirs)
        # peers replace what is not UTF-8; ours gives the bytes
        same = [a.decode("utf-8", "replace") == b.decode("utf-8", "replace") for a, b in zip(back, want)]
        wrong = same.count(False)
        report += ", decoding differs %d" % wrong
        for i in [k for k, ok in enumerate(same) if not ok][:3]:
            report += "\n    %r\n    ours   %r\n    theirs %r" % (theirs[i][:12], back[i][:60], want[i][:60])
    for i in bad[:3]:
        k = next((k for k, (a, b) in enumerate(zip(ours[i], theirs[i])) if a != b), min(len(ours[i]), len(theirs[i])))
        report += "\n    text %d %r at token %d\n    ours   %r\n    theirs %r" % (
            i, texts[i][:80], k, ours[i][max(0, k - 2):k + 8], theirs[i][max(0, k - 2):k + 8])
    return len(bad) + wrong, report


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("probe")
    parser.add_argument("--data", default=os.environ.get("FMP_SHARED_DATA", ""))
    parser.add_argument("--mb", type=float, default=20)
    parser.add_argument("--decode", action="store_true", help="compare decoded texts as well")
    parser.add_argument("files", nargs="*")
    args = parser.parse_intermixed_args()
    files = args.files or found_files(args.data)
    if not files:
        print("skipped: no tokenizer files in %r" % args.data)
        return 0
    texts = mixed_texts(args.data, int(args.mb * (1 << 20)))
    print("%d texts, %.1f MB" % (len(texts), sum(len(t.encode("utf-8")) for t in texts) / 1e6))
    total = 0
    for path in files:
        try:
            n, report = compare(args.probe, path, texts, args.decode)
        except Exception as problem:  # a file that one side cannot read is a difference
            n, report = 1, "failed: %s" % problem
        total += n
        print("%-60s %s" % (os.path.relpath(path, args.data) if args.data else path, report), flush=True)
    print("differences: %d" % total)
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
