"""A converted llama2.c model in transformers tells the story that llama2.c tells.

    python llama2c_parity.py PATH/TO/fmpipe FOLDER

FOLDER has stories260K.bin, tok512.bin and expected_greedy_200.txt. Exits 1 if a token of the text, the logits or the ids of a
text differ.
"""

import os
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

torch.set_num_threads(1)


def run(program, *args, stdin=None):
    done = subprocess.run([program, *args], capture_output=True, input=stdin)
    if done.returncode != 0:
        raise SystemExit(f"fmpipe {args[0]} {args[1]}: {done.stderr.decode()}")
    return done.stdout


def main():
    program, folder = sys.argv[1:3]
    ok = True
    with open(f"{folder}/expected_greedy_200.txt", "rb") as f:
        want = f.read()
    with tempfile.TemporaryDirectory() as tmp:
        run(program, "model", "convert", f"{folder}/stories260K.bin", f"{tmp}/hf", "--tokenizer", f"{folder}/tok512.bin")
        tokenizer = AutoTokenizer.from_pretrained(f"{tmp}/hf")
        model = AutoModelForCausalLM.from_pretrained(f"{tmp}/hf", dtype=torch.float32).eval()
        with torch.no_grad():
            ids = model.generate(torch.tensor([[1]]), max_new_tokens=200, do_sample=False, eos_token_id=1)[0]
            logits = model(ids[None]).logits[0].numpy()
        told = tokenizer.decode(ids, skip_special_tokens=True).encode()
        ok &= told == want
        print(f"greedy text in transformers: {len(told)} bytes, {'equal' if told == want else 'DIFFERENT'}")
        with open(f"{tmp}/ids", "w", encoding="ascii") as f:
            f.write(" ".join(str(int(i)) for i in ids) + "\n")
        for source in (f"{tmp}/hf", f"{folder}/stories260K.bin"):
            run(program, "model", "logits", "--model", source, "--tokens", f"{tmp}/ids", "--out", f"{tmp}/logits.npy")
            ours = np.load(f"{tmp}/logits.npy")
            off = np.abs(ours - logits).max() / np.abs(logits).max()
            ok &= ours.shape == logits.shape and off <= 1e-4
            print(f"logits of {os.path.basename(source)}: {ours.shape}, off by {off:.1e}")
        text = want.decode() + " Ünïcode 日本 \t tabs  and  spaces\n"
        theirs = tokenizer(text, add_special_tokens=False)["input_ids"]
        for source in (f"{tmp}/hf", f"{folder}/tok512.bin"):
            out = run(program, "tokenizer", "encode", "--tokenizer", source, stdin=text.encode())
            same = [int(i) for i in out.split()] == theirs
            ok &= same
            print(f"ids by {os.path.basename(source)}: {'equal' if same else 'DIFFERENT'} ({len(theirs)})")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
