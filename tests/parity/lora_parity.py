"""Compare the kinds of adapters with PEFT on tiny random models.

    python lora_parity.py PATH/TO/model_probe

Needs what model_parity.py needs. For plain LoRA, rank-stabilised LoRA, DoRA and both, with and without biases and QK-norm:
an adapter that PEFT saved, with values as a trained one has, gives the same logits and gradients here; going on from it for
20 AdamW steps gives the same losses; the adapter written here loads in PEFT with the same logits, and merged by PEFT too.
Exits 1 beyond a tolerance.
"""

import copy
import sys
import tempfile

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, logging

import model_parity as base

KINDS = {
    "LoRA": {},
    "rsLoRA": {"use_rslora": True},
    "DoRA": {"use_dora": True},
    "DoRA+rs, some": {"use_dora": True, "use_rslora": True, "target_modules": ["o_proj", "down_proj"]},
}
FAMILIES = ["qwen2", "qwen3", "phi3", "gemma2"]  # biases; QK-norm; fused projections; norms behind projections


def opened(path):
    return AutoModelForCausalLM.from_pretrained(path, attn_implementation="eager").float().eval()


def trained_like(model):
    """B away from zero, magnitudes away from the base's norms."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.copy_(0.1 * torch.randn_like(p))
            if "magnitude" in name:
                p.mul_(1 + 0.2 * torch.randn_like(p))


def our_name(name):
    return name.replace(".default", "").replace("magnitude_vector.weight", "magnitude_vector")


def check(family, kind, options, config, tmp):
    what = f"{family}, {kind}"
    torch.manual_seed(12)
    model = AutoModelForCausalLM.from_config(copy.deepcopy(config)).float().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn_like(p))
    folder, batch, out, adapter = f"{tmp}/base", f"{tmp}/batch", f"{tmp}/out", f"{tmp}/adapter"
    model.save_pretrained(folder)
    ids, weight, seg = base.make_batch(batch, config.vocab_size)
    shape = (len(ids), config.vocab_size)
    lora = LoraConfig(**{"r": 4, "lora_alpha": 6, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | options)
    model = get_peft_model(opened(folder), lora).eval()
    trained_like(model)
    model.save_pretrained(adapter)
    with torch.no_grad():
        theirs = base.torch_logits(model, ids, seg)
    base.report(what, "logits", "logits", base.relative(theirs, base.probe_logits(folder, adapter, batch, out, shape)))
    base.torch_loss(model, ids, weight, seg).backward()
    base.probe("grads", folder, adapter, batch, out)
    named = {our_name(n): p for n, p in model.named_parameters() if p.requires_grad}
    base.report(what, "gradients", "gradient", base.worst_gradient(load_file(out), named))
    losses = base.torch_train(model, ids, weight, seg)
    lines = base.probe("train", folder, adapter, batch, base.STEPS, base.LR, f"{tmp}/trained").split("\n")
    base.report(what, f"{base.STEPS} steps, loss {losses[0]:.2f} to {losses[-1]:.2f}", "losses",
                base.relative(losses, [float(s.split()[0]) for s in lines if s]))
    ours = PeftModel.from_pretrained(opened(folder), f"{tmp}/trained").eval()
    native = base.probe_logits(folder, f"{tmp}/trained", batch, out, shape)
    with torch.no_grad():
        base.report(what, "our adapter in PEFT", "export", base.relative(base.torch_logits(ours, ids, seg), native))
        merged = ours.merge_and_unload()
        base.report(what, "our adapter merged by PEFT", "export", base.relative(base.torch_logits(merged, ids, seg), native))


def main():
    logging.disable_progress_bar()
    for family in FAMILIES:
        for kind, options in KINDS.items():
            with tempfile.TemporaryDirectory() as tmp:
                check(family, kind, options, base.FAMILIES[family], tmp)
    print(f"{base.failures} beyond their tolerance" if base.failures else "all within tolerance")
    return 1 if base.failures else 0


if __name__ == "__main__":
    sys.exit(main())
