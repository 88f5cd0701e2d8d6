"""Write tests/parity/golden: for each tiny configuration of model_families.py what transformers and PEFT compute.

    python model_golden.py

NAME.json is the config.json, NAME.safetensors holds logits (T,V), the losses of 20 AdamW steps on a LoRA adapter, and the adapter's
gradients before the first. Weights are not stored: both sides make them by the formula below. Read by tests/unit/test_model_golden.c.
"""

import json
import os
import tempfile

import numpy as np
import torch
from model_families import build, families
from model_parity import STEPS, torch_logits, torch_loss, torch_train
from peft import LoraConfig, get_peft_model
from safetensors.numpy import save_file
from transformers import logging

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
VOCAB = 37
# transformers keeps the frequencies of a long text for the next one, unless that is shorter than the bound
SEG = [0, 7, 8, 24]
MASK = (1 << 64) - 1


def noise(name, n):
    """n values of -1..1: splitmix64 of the name's FNV-1a hash and the index."""
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = ((h ^ byte) * 0x100000001B3) & MASK
    with np.errstate(over="ignore"):
        z = np.uint64(h) + (np.arange(n, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0


def weight(name, n, plus_one):
    if "norm" in name:
        return (0.0 if plus_one else 1.0) + 0.2 * noise(name, n)
    return (0.1 if name.endswith(".bias") else 0.3) * noise(name, n)


@torch.no_grad()
def fill(parameters, plus_one):
    for name, p in parameters:
        name = name.replace(".default", "")
        p.copy_(torch.tensor(weight(name, p.numel(), plus_one).astype(np.float32)).view_as(p))


def adapt(model, own):
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    return get_peft_model(
        model,
        LoraConfig(
            r=2, lora_alpha=3, target_modules=names if own else "all-linear", task_type=None if own else "CAUSAL_LM"
        ),
    )


def golden(config):
    own = isinstance(config, dict)
    model = build(config).float().eval()
    plus_one = not own and config.model_type.startswith("gemma")
    fill(model.named_parameters(), plus_one)
    seg = np.array(SEG, np.uint32)
    ids = (np.arange(seg[-1]) * 7 + 3).astype(np.uint32) % VOCAB
    weights = np.where(np.arange(seg[-1]) % 4 == 1, 0.5, 1.0).astype(np.float32)
    weights[seg[:-1]] = 0.0
    out = {}
    with torch.no_grad():
        out["logits"] = torch_logits(model, ids, seg).numpy()
    model = adapt(model, own)
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    fill(trained, plus_one)
    torch_loss(model, ids, weights, seg).backward()
    for name, p in trained:
        out[name.replace(".default", "")] = p.grad.numpy().copy()
    out["losses"] = np.array(torch_train(model, ids, weights, seg), np.float32)
    assert len(out["losses"]) == STEPS
    return out


def config_text(config):
    if isinstance(config, dict):
        return json.dumps(config, indent=1, sort_keys=True) + "\n"
    with tempfile.TemporaryDirectory() as tmp:
        config.save_pretrained(tmp)
        with open(f"{tmp}/config.json", encoding="ascii") as f:
            full = json.load(f)
    full.pop("transformers_version", None)
    return json.dumps(full, indent=1, sort_keys=True) + "\n"


def main():
    logging.disable_progress_bar()
    os.makedirs(GOLDEN, exist_ok=True)
    every = families(vocab=VOCAB, channels=16, heads=2, kv_heads=1, ff=24, short=8, window=5)
    for family, config in every.items():
        name = os.path.join(GOLDEN, family.replace(",", "").replace(" ", "_"))
        text = config_text(config)
        tensors = {k: np.ascontiguousarray(v, np.float32) for k, v in golden(config).items()}
        save_file(tensors, f"{name}.safetensors")
        with open(f"{name}.json", "w", encoding="ascii") as f:
            f.write(text)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
