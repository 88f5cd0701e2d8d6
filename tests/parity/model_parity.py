"""Compare the model library with transformers on tiny random models.

    python model_parity.py PATH/TO/model_probe [FAMILY...]

Needs torch, transformers, safetensors. For each decoder family: a model saved by transformers opens here with the same logits;
gradients of all weights agree; 20 AdamW steps give the same losses; a model re-saved here opens in transformers. For models that
see, the same of their text decoders' logits. Adapters: lora_parity.py. Exits 1 beyond a tolerance.
"""

import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
from safetensors.torch import load_file
from model_families import build, families, load
from transformers import AutoModelForCausalLM, logging
from transformers.models.gemma3 import Gemma3Config, Gemma3ForConditionalGeneration
from transformers.models.mistral3 import Mistral3Config, Mistral3ForConditionalGeneration

torch.set_num_threads(1)  # matrices this small only wait for a second
PROBE, ONLY = (sys.argv + [""])[1], sys.argv[2:]
STEPS, LR = 20, 3e-3
TOLERANCE = {"logits": 1e-4, "gradient": 1e-3, "losses": 1e-3, "export": 1e-3}
FAMILIES = families(vocab=131, channels=48, heads=6, kv_heads=2, ff=80, short=64, window=9)
failures = 0


def report(family, what, kind, value):
    global failures
    ok = value <= TOLERANCE[kind]
    failures += not ok
    print(f"{family:30} {what:34} {value:9.2e}  {'ok' if ok else 'FAIL, allowed %g' % TOLERANCE[kind]}", flush=True)


def relative(a, b):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-12))


def probe(*args):
    done = subprocess.run([PROBE, *map(str, args)], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"model_probe {args[0]}: {done.stderr}")
    return done.stdout


def make_batch(path, vocab):
    rng = np.random.default_rng(5)
    seg = np.array([0, 40, 41, 75, 200], np.uint32)
    ids = rng.integers(0, vocab, seg[-1]).astype(np.uint32)
    weight = rng.choice([0.0, 0.5, 1.0], seg[-1]).astype(np.float32)
    weight[seg[:-1]] = 0.0
    with open(path, "wb") as f:
        np.array([len(ids), len(seg) - 1], np.uint32).tofile(f)
        ids.tofile(f)
        weight.tofile(f)
        seg.tofile(f)
    return ids, weight, seg


def torch_logits(model, ids, seg):
    """Each segment alone: what a packed pass must equal."""
    return torch.cat(
        [model(torch.tensor(ids[a:b].astype(np.int64))[None]).logits[0] for a, b in zip(seg, seg[1:])]
    )


def torch_loss(model, ids, weight, seg):
    logits = torch_logits(model, ids, seg)
    labels = torch.tensor(ids.astype(np.int64))
    w = torch.tensor(weight)
    nll = torch.nn.functional.cross_entropy(logits[:-1], labels[1:], reduction="none")
    return (nll * w[1:]).sum() / w.sum()


def torch_train(model, ids, weight, seg):
    decay = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    plain = [p for p in model.parameters() if p.requires_grad and p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [dict(params=decay, weight_decay=0.01), dict(params=plain, weight_decay=0.0)], lr=LR
    )
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = torch_loss(model, ids, weight, seg)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decay + plain, 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def worst_gradient(ours, named):
    """Largest difference of a tensor, relative to its own largest gradient (or 1e-3 of the model's)."""
    top = max(float(p.grad.abs().max()) for p in named.values())
    worst = 0.0
    for name, p in named.items():
        a, b = p.grad.flatten().numpy(), ours[name].numpy()
        worst = max(worst, float(np.abs(a - b).max()) / max(float(np.abs(a).max()), 1e-3 * top))
    assert set(ours) == set(named), set(ours) ^ set(named)
    return worst


def probe_logits(base, adapter, batch, out, shape):
    probe("logits", base, adapter, batch, out)
    return np.fromfile(out, np.float32).reshape(shape)


def check_family(family, config, tmp):
    torch.manual_seed(11)
    model = build(config).float().eval()
    with torch.no_grad():
        for p in model.parameters():  # biases and norms away from 0 and 1
            p.add_(0.05 * torch.randn_like(p))
    base, batch, out = f"{tmp}/base", f"{tmp}/batch", f"{tmp}/out"
    model.save_pretrained(base)
    vocab = model.model.embed_tokens.weight.shape[0]
    ids, weight, seg = make_batch(batch, vocab)
    shape = (len(ids), vocab)
    with torch.no_grad():
        report(
            family,
            "logits",
            "logits",
            relative(torch_logits(model, ids, seg), probe_logits(base, "-", batch, out, shape)),
        )
    check_full(family, config, model, base, batch, out, ids, weight, seg, tmp)


def check_full(family, config, model, base, batch, out, ids, weight, seg, tmp):
    torch_loss(model, ids, weight, seg).backward()
    probe("grads", base, "-", batch, out)
    named = {n: p for n, p in model.named_parameters()}
    report(family, "full gradients", "gradient", worst_gradient(load_file(out), named))
    losses = torch_train(model, ids, weight, seg)
    lines = probe("train", base, "-", batch, STEPS, LR, f"{tmp}/full").split("\n")
    report(
        family,
        f"full, {STEPS} steps, loss {losses[0]:.2f} to {losses[-1]:.2f}",
        "losses",
        relative(losses, [float(s.split()[0]) for s in lines if s]),
    )
    probe("resave", base, f"{tmp}/again")
    again, first = (load(config, d).eval() for d in (f"{tmp}/again", base))
    with torch.no_grad():
        report(
            family,
            "re-saved, opened by the reference",
            "logits",
            relative(torch_logits(first, ids, seg), torch_logits(again, ids, seg)),
        )


def tiny_whole(kind):
    """A model that sees, as small as it can be, and its text part's class."""
    text = dict(vocab_size=131, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=6,
                num_key_value_heads=2, head_dim=8, max_position_embeddings=256, initializer_range=0.15, pad_token_id=None)
    vision = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
    if kind == "gemma3":
        text |= dict(sliding_window=9, query_pre_attn_scalar=24)
        config = Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4, attn_implementation="eager")
        return Gemma3ForConditionalGeneration(config)
    config = Mistral3Config(text_config=text | dict(model_type="mistral", sliding_window=None),
                            vision_config=vision | dict(model_type="pixtral", head_dim=16), attn_implementation="eager")
    return Mistral3ForConditionalGeneration(config)


def check_text_part(kind, tmp):
    """The text decoder of a model that sees: opened in the whole folder, saved alone, opened by transformers."""
    torch.manual_seed(11)
    model = tiny_whole(kind).float().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn_like(p))
    base, batch, out = f"{tmp}/base", f"{tmp}/batch", f"{tmp}/out"
    model.save_pretrained(base)
    ids, _, seg = make_batch(batch, 131)
    what = f"{kind}, its text decoder"
    with torch.no_grad():
        theirs = torch_logits(model, ids, seg)
        report(what, "logits", "logits", relative(theirs, probe_logits(base, "-", batch, out, (len(ids), 131))))
        probe("resave", base, f"{tmp}/alone")
        alone = AutoModelForCausalLM.from_pretrained(f"{tmp}/alone", attn_implementation="eager").eval()
        report(what, "saved alone, in transformers", "logits", relative(theirs, torch_logits(alone, ids, seg)))


def main():
    logging.disable_progress_bar()
    for family, config in FAMILIES.items():
        if ONLY and family not in ONLY:
            continue
        with tempfile.TemporaryDirectory() as tmp:
            check_family(family, config, tmp)
    for kind in ["gemma3", "mistral3"]:
        if ONLY and kind not in ONLY:
            continue
        with tempfile.TemporaryDirectory() as tmp:
            check_text_part(kind, tmp)
    print(f"{failures} beyond their tolerance" if failures else "all within tolerance")
    return 1 if failures else 0


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main())
