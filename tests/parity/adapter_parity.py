"""Compare what the quickstart made with transformers and PEFT, on its own held-out conversations.

    python adapter_parity.py PATH/TO/model_probe BASE ADAPTER HELDOUT.jsonl

BASE is the base model's folder, ADAPTER the folder that export.peft wrote. Three comparisons: AutoTokenizer with the model's own
chat template gives the same ids as the native encoder; the base has the same logits; the adapter, loaded by PEFT on the base,
has the same logits. All in f32. Exits 1 beyond a tolerance.
"""

import json
import os
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, logging

N_CONVERSATIONS = 100
N_FOR_LOGITS = 24
TOLERANCE = 1e-3


def probe(program, *args):
    done = subprocess.run([program, *map(str, args)], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"model_probe {args[0]}: {done.stderr}")


def native_ids(program, base, conversations, tmp):
    path, out = f"{tmp}/conversations.jsonl", f"{tmp}/ids"
    with open(path, "w", encoding="utf-8") as f:
        f.writelines(json.dumps(c, ensure_ascii=False) + "\n" for c in conversations)
    probe(program, "tokens", base, path, out)
    with open(out, encoding="ascii") as f:
        return [[int(i) for i in line.split()] for line in f]


def reference_ids(tokenizer, conversation):
    given = {k: conversation[k] for k in ("response_format",) if k in conversation}
    text = tokenizer.apply_chat_template(
        conversation["messages"], tools=conversation.get("tools"), tokenize=False, **given
    )
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def native_logits(program, base, adapter, rows, vocab, tmp):
    """One packed batch of all rows."""
    path, out = f"{tmp}/batch", f"{tmp}/logits"
    seg = np.cumsum([0] + [len(r) for r in rows]).astype(np.uint32)
    with open(path, "wb") as f:
        np.array([seg[-1], len(rows)], np.uint32).tofile(f)
        np.concatenate([np.array(r, np.uint32) for r in rows]).tofile(f)
        np.zeros(seg[-1], np.float32).tofile(f)
        seg.tofile(f)
    probe(program, "logits", base, adapter, path, out)
    logits = np.fromfile(out, np.float32).reshape(-1, vocab)
    return [logits[a:b] for a, b in zip(seg, seg[1:])]


def compare_logits(what, model, rows, ours):
    worst, agree, n = 0.0, 0, 0
    with torch.no_grad():
        for row, mine in zip(rows, ours):
            theirs = model(torch.tensor([row])).logits[0].numpy()
            worst = max(worst, float(np.abs(theirs - mine).max()))
            agree += int((theirs.argmax(-1) == mine.argmax(-1)).sum())
            n += len(row)
    ok = worst <= TOLERANCE
    print(f"{what}: max |Δ| of logits {worst:.2e} over {n} positions, same best token at {agree}  {'ok' if ok else 'FAIL'}")
    return ok


def main():
    program, base, adapter, heldout = sys.argv[1:5]
    logging.disable_progress_bar()
    with open(heldout, encoding="utf-8") as f:
        conversations = [json.loads(line) for line in f][:N_CONVERSATIONS]
    tokenizer = AutoTokenizer.from_pretrained(base)
    with tempfile.TemporaryDirectory() as tmp:
        ours = native_ids(program, base, conversations, tmp)
        theirs = [reference_ids(tokenizer, c) for c in conversations]
        n_same = sum(a == b for a, b in zip(ours, theirs))
        n_ids = sum(map(len, theirs))
        ok = n_same == len(conversations) == len(ours)
        print(f"apply_chat_template: {n_same} of {len(conversations)} conversations with the same ids ({n_ids} tokens)  "
              f"{'ok' if ok else 'FAIL'}")
        rows = theirs[:N_FOR_LOGITS]
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
        vocab = model.config.vocab_size
        ok &= compare_logits("base in transformers", model, rows, native_logits(program, base, "-", rows, vocab, tmp))
        adapted = PeftModel.from_pretrained(model, adapter).eval()
        ok &= compare_logits("adapter in PEFT", adapted, rows, native_logits(program, base, adapter, rows, vocab, tmp))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
