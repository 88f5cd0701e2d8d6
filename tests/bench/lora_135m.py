"""The peer of lora_135m.c: torch + PEFT, eager, bf16, two threads, on the same model folder and the same sequences.

  lora_135m.py MODEL FILE STEPS [THREADS] [f32|bf16]    one optimizer step for every 4 lines of FILE, padded to the longest of the four
FILE has a sequence a line, ids separated by blanks, a supervised one marked by '*'. f32: the adapter's values as get_peft_model makes
them if it is not told otherwise; bf16: rounded, which computes faster. One line of JSON goes to stdout.
"""

import json
import resource
import sys
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

PER_STEP = 4


def read(path):
    sequences = []
    for line in open(path):
        words = line.split()
        ids = [int(w.rstrip("*")) for w in words]
        labels = [i if w.endswith("*") else -100 for i, w in zip(ids, words)]
        sequences.append((ids, labels))
    return sequences


def batches(sequences):
    for at in range(0, len(sequences) - PER_STEP + 1, PER_STEP):
        part = sequences[at : at + PER_STEP]
        longest = max(len(ids) for ids, _ in part)
        ids = torch.zeros(PER_STEP, longest, dtype=torch.long)
        labels = torch.full((PER_STEP, longest), -100)
        mask = torch.zeros(PER_STEP, longest, dtype=torch.long)
        for i, (row, label) in enumerate(part):
            ids[i, : len(row)] = torch.tensor(row)
            labels[i, : len(row)] = torch.tensor(label)
            mask[i, : len(row)] = 1
        dense = bool(mask.all())
        yield sum(len(ids) for ids, _ in part), dict(input_ids=ids, labels=labels, attention_mask=None if dense else mask)


def main():
    folder, path, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(int(sys.argv[4]) if len(sys.argv) > 4 else 2)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    model.config.use_cache = False
    config = LoraConfig(r=32, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    kind = sys.argv[5] if len(sys.argv) > 5 else "f32"
    model = get_peft_model(model, config, autocast_adapter_dtype=kind == "f32")
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4)
    start, tokens, losses = 0.0, 0, []
    for step, (n, batch) in enumerate(batches(read(path))):
        if step > steps:  # the first warms up
            break
        if step == 1:
            start = time.perf_counter()
        tokens += n if step >= 1 else 0
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    seconds = time.perf_counter() - start
    n = len(losses) - 1
    print(json.dumps({
        "what": f"torch {torch.__version__}, {model.config._attn_implementation} attention, adapter {trained[0].dtype}".replace("torch.", ""),
        "steps": n,
        "tokens_per_s": tokens / seconds,
        "sequences_per_s": PER_STEP * n / seconds,
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }))


if __name__ == "__main__":
    main()
