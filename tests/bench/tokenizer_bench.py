"""tokenizer_bench.py: the table of tokenizer_bench.sh. Usage: BENCH TOKENIZERS WORK ROUNDS [NAME=tokenizer.json ...]

Both sides encode the same pieces (cut at the first line end behind every 8 KiB) on one thread; times are processor time,
the best of several rounds. fmpipe begins each round with empty caches, the peers keep theirs from round to round.
"""

import array
import base64
import hashlib
import json
import os
import subprocess
import sys
import time

import tiktoken
import tokenizers

TEXTS = ("en", "json", "ja", "fr", "code")
PIECE = 8192

SUFFIX = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
SIGN = r"[^\r\n\p{L}\p{N}]?"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = SUFFIX + "|" + SIGN + r"\p{L}+|\p{N}{1,3}" + REST
QWEN2 = SUFFIX + "|" + SIGN + r"\p{L}+|\p{N}" + REST
O200K = (SIGN + UPPER + "*" + LOWER + "+" + SUFFIX + "?|" + SIGN + UPPER + "+" + LOWER + "*" + SUFFIX + r"?|\p{N}{1,3}"
         r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def read_ranks(path):
    with open(path, "rb") as file:
        pairs = [line.split() for line in file if line.strip()]
    return {base64.b64decode(text): int(rank) for text, rank in pairs}


def byte_alphabet():
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in own]
    return {**{byte: chr(byte) for byte in own}, **{byte: chr(0x100 + i) for i, byte in enumerate(others)}}


def write_tokenizer_json(ranks, pattern, path):
    """The same vocabulary for `tokenizers`: every way to make a token of two others is a merge, in the tokens' order."""
    alphabet = byte_alphabet()
    spell = lambda text: "".join(alphabet[byte] for byte in text)
    merges = []
    for text in sorted(ranks, key=ranks.get):
        parts = [(text[:i], text[i:]) for i in range(1, len(text))]
        known = [(a, b) for a, b in parts if a in ranks and b in ranks]
        merges += sorted(known, key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    model = {"type": "BPE", "vocab": {spell(text): rank for text, rank in ranks.items()},
             "merges": [[spell(a), spell(b)] for a, b in merges]}
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"version": "1.0", "added_tokens": [], "normalizer": None, "post_processor": None, "decoder": level,
                   "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, level]}, "model": model},
                  file, ensure_ascii=False)


def pieces_of(path):
    data = open(path, "rb").read()
    at, pieces = 0, []
    while at < len(data):
        end = data.find(b"\n", at + PIECE) + 1 if len(data) - at > PIECE else len(data)
        end = end or len(data)
        pieces.append(data[at:end].decode())
        at = end
    return pieces, len(data)


def best_of(rounds, encode, pieces):
    best, digest = float("inf"), None
    for _ in range(rounds):
        ids = array.array("I")
        begin = time.process_time()
        lists = [encode(piece) for piece in pieces]
        best = min(best, time.process_time() - begin)
        for one in lists:
            ids.extend(one)
        digest = hashlib.sha256(ids.tobytes()).hexdigest()
    return best, digest


def show(rate):
    return f"{rate:10.1f}" if rate else f"{'-':>10}"


def run(name, path, encoding, bench, work, rounds):
    files = [os.path.join(work, text + ".txt") for text in TEXTS]
    out = subprocess.run([bench, path, *files], check=True, capture_output=True, text=True).stdout.splitlines()
    begin = time.process_time()
    peer = tokenizers.Tokenizer.from_file(path)
    load_peer = time.process_time() - begin
    print(f"{name}: load {float(out[0].split()[1]) * 1000:.0f} ms, tokenizers {load_peer * 1000:.0f} ms")
    for text, file, line in zip(TEXTS, files, out[1:]):
        pieces, n_bytes = pieces_of(file)
        _, _, n_ids, seconds, digest = line.split("\t")
        ours = n_bytes / float(seconds) / 1e6
        t, d = best_of(rounds, lambda piece: peer.encode(piece, add_special_tokens=False).ids, pieces)
        theirs, same = n_bytes / t / 1e6, d == digest
        other = None
        if encoding:
            t, d = best_of(rounds, encoding.encode_ordinary, pieces)
            other, same = n_bytes / t / 1e6, same and d == digest
        ratio = ours / max(theirs, other or 0)
        print(f"{name:24}{text:6}{show(ours)}{show(theirs)}{show(other)}{ratio:8.1f}   {n_ids} ids"
              + ("" if same else " DIFFER"), flush=True)


def main():
    bench, folder, work, rounds = sys.argv[1:5]
    at = lambda *parts: os.path.join(folder, *parts)
    print(f"tokenizers {tokenizers.__version__}, tiktoken {tiktoken.__version__}")
    print(f"{'vocabulary':24}{'text':6}{'fmpipe':>10}{'tokenizers':>11}{'tiktoken':>9}{'ratio':>8}")
    plans = [("gpt2", at("hf-gpt2", "gpt2.json"), GPT2, at("openai-tiktoken", "gpt2.tiktoken")),
             ("o200k", None, O200K, at("openai-tiktoken", "o200k_base.tiktoken")),
             ("cl100k, Llama 3 pattern", None, LLAMA3, at("openai-tiktoken", "cl100k_base.tiktoken")),
             ("cl100k, Qwen 2 pattern", None, QWEN2, at("openai-tiktoken", "cl100k_base.tiktoken")),
             ("falcon", at("hf-misc", "falcon-tokenizer", "tokenizer.json"), None, None),
             ("phi-3", at("hf-misc", "phi-3", "tokenizer.json"), None, None)]
    plans += [(*extra.split("=", 1), None, None) for extra in sys.argv[5:]]
    for name, path, pattern, ranks_path in plans:
        encoding = None
        if ranks_path:
            ranks = read_ranks(ranks_path)
            encoding = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
            if not path:
                path = os.path.join(work, "tokenizer.json")
                write_tokenizer_json(ranks, pattern, path)
        run(name, path, encoding, bench, work, int(rounds))


if __name__ == "__main__":
    main()
