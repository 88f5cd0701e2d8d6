"""Compare adapters with PEFT on tiny random models of every family; a table, a row each.

    python lora_parity.py PATH/TO/model_probe [FAMILY...]

Needs torch, transformers, peft, safetensors. A cell is the largest difference, relative to the largest value:

    logits     an adapter that PEFT saved, with values as a trained one has: logits of the adapted model
    gradient   of every A and B, to the largest of its tensor
    20 steps   losses of 20 AdamW steps that go on from that adapter
    fresh      losses of 20 AdamW steps from PEFT's own beginning (B zero)
    in PEFT    the adapter that was trained and written here, opened by PEFT: logits
    merged     the model with the adapter in its weights, opened here and by the reference: logits
    packed     segments in one row, and each alone
    split      gradients of one batch, and of its segments as micro-batches
    dropout 0  gradients of an adapter saved with dropout, at dropout 0; and its logits
    DoRA, rs   the worst of logits, gradient, 20 steps and "in PEFT" for DoRA; for rank-stabilised LoRA; for both, on some
               layers only

Exits 1 beyond a tolerance.
"""

import copy
import os
import sys
import tempfile

import numpy as np
import torch
from model_families import build, load
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import logging

import model_parity as base

TOLERANCE = {"logits": 1e-4, "gradient": 1e-3, "20 steps": 1e-3, "fresh": 1e-3, "in PEFT": 1e-3, "merged": 1e-4, "packed": 1e-6,
             "split": 1e-5, "dropout 0": 1e-3, "DoRA": 1e-3, "rsLoRA": 1e-3, "both": 1e-3}
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


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


class Case:
    """One family's base in a folder, and one batch."""

    def __init__(self, config, tmp):
        torch.manual_seed(12)
        self.config, self.own, self.tmp = config, isinstance(config, dict), tmp
        model = build(copy.deepcopy(config)).float().eval()
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.05 * torch.randn_like(p))
        self.folder, self.batch = f"{tmp}/base", f"{tmp}/batch"
        model.save_pretrained(self.folder)
        vocab = model.model.embed_tokens.weight.shape[0]
        self.ids, self.weight, self.seg = base.make_batch(self.batch, vocab)
        self.shape = (len(self.ids), vocab)

    def opened(self):
        return load(self.config, self.folder).float().eval()

    def peft(self, fresh=False, **options):
        """A PEFT model on the base, and the folder it was saved in."""
        some = {"target_modules": PROJECTIONS if self.own else "all-linear", "task_type": None if self.own else "CAUSAL_LM"}
        model = get_peft_model(self.opened(), LoraConfig(**({"r": 4, "lora_alpha": 6} | some | options))).eval()
        if not fresh:
            trained_like(model)
        folder = tempfile.mkdtemp(dir=self.tmp)
        model.save_pretrained(folder)
        return model, folder

    def theirs(self, model):
        with torch.no_grad():
            return base.torch_logits(model, self.ids, self.seg)

    def ours(self, adapter, folder=None):
        return base.probe_logits(folder or self.folder, adapter, self.batch, f"{self.tmp}/out", self.shape)

    def our_gradients(self, adapter, *how):
        base.probe("grads", self.folder, adapter, self.batch, f"{self.tmp}/out", *how)
        return load_file(f"{self.tmp}/out")

    def gradients(self, model, adapter, *how):
        model.zero_grad()
        base.torch_loss(model, self.ids, self.weight, self.seg).backward()
        named = {our_name(n): p for n, p in model.named_parameters() if p.requires_grad}
        return base.worst_gradient(self.our_gradients(adapter, *how), named)

    def steps(self, model, adapter):
        """The two courses of the loss; what was trained here is in `trained`."""
        lines = base.probe("train", self.folder, adapter, self.batch, base.STEPS, base.LR, f"{self.tmp}/trained").split("\n")
        losses = base.torch_train(model, self.ids, self.weight, self.seg)
        return base.relative(losses, [float(line.split()[0]) for line in lines if line])

    def in_peft(self):
        again = PeftModel.from_pretrained(self.opened(), f"{self.tmp}/trained").eval()
        return base.relative(self.theirs(again), self.ours(f"{self.tmp}/trained"))

    def merged(self, model, adapter):
        base.probe("merge", self.folder, adapter, f"{self.tmp}/merged")
        unmerged = self.ours(adapter)
        theirs = self.theirs(load(self.config, f"{self.tmp}/merged").float().eval())
        return max(base.relative(unmerged, self.ours("-", f"{self.tmp}/merged")), base.relative(unmerged, theirs))

    def packed(self, adapter):
        whole, worst, path = self.ours(adapter), 0.0, f"{self.tmp}/one"
        for a, b in zip(self.seg, self.seg[1:]):
            with open(path, "wb") as f:
                np.array([b - a, 1], np.uint32).tofile(f)
                self.ids[a:b].tofile(f)
                self.weight[a:b].tofile(f)
                np.array([0, b - a], np.uint32).tofile(f)
            alone = base.probe_logits(self.folder, adapter, path, f"{self.tmp}/out", (b - a, self.shape[1]))
            worst = max(worst, base.relative(whole[a:b], alone))
        return worst

    def split(self, adapter):
        whole, parts = self.our_gradients(adapter), self.our_gradients(adapter, "split")
        top = max(float(g.abs().max()) for g in whole.values())
        return max(float((whole[n] - parts[n]).abs().max()) / max(float(whole[n].abs().max()), 1e-3 * top) for n in whole)

    def kind(self, **options):
        model, adapter = self.peft(**options)
        found = [base.relative(self.theirs(model), self.ours(adapter)), self.gradients(model, adapter), self.steps(model, adapter)]
        return max(found + [self.in_peft()])


def row_of(case):
    model, adapter = case.peft()
    row = {"logits": base.relative(case.theirs(model), case.ours(adapter))}
    row["gradient"] = case.gradients(model, adapter)
    row["merged"] = case.merged(model, adapter)
    row["packed"], row["split"] = case.packed(adapter), case.split(adapter)
    row["20 steps"] = case.steps(model, adapter)
    row["in PEFT"] = case.in_peft()
    row["fresh"] = case.steps(*case.peft(fresh=True))
    model, adapter = case.peft(lora_dropout=0.25)
    logits = base.relative(case.theirs(model), case.ours(adapter))
    row["dropout 0"] = max(logits, case.gradients(model, adapter, "dropout0"))
    row["DoRA"] = case.kind(use_dora=True)
    row["rsLoRA"] = case.kind(use_rslora=True)
    row["both"] = case.kind(use_dora=True, use_rslora=True, target_modules=["o_proj", "down_proj"])
    return row


def main():
    logging.disable_progress_bar()
    failures, cells = 0, 0
    print(f"{'':31}" + "".join(f"{name:>11}" for name in TOLERANCE))
    print(f"{'allowed':31}" + "".join(f"{limit:11.0e}" for limit in TOLERANCE.values()), flush=True)
    for family, config in base.FAMILIES.items():
        if base.ONLY and family not in base.ONLY:
            continue
        with tempfile.TemporaryDirectory() as tmp:
            row = row_of(Case(config, tmp))
        text = ""
        for name, limit in TOLERANCE.items():
            bad = not row[name] <= limit
            failures += bad
            cells += 1
            text += f"{row[name]:10.1e}{'!' if bad else ' '}"
        print(f"{family:30} {text}", flush=True)
    print(f"{failures} of {cells} beyond their tolerance (!)" if failures else f"{cells} cells, all within tolerance")
    return 1 if failures else 0


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main())
