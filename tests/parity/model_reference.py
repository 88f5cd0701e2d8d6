"""The decoder of model_type "fmpipe" in plain torch, for comparison: transformers has none like it.

Pre-norm layers as Llama's, with RMSNorm on each query and key head, RoPE that turns neighbours, and last layers that use the
keys and values of the last layer that makes its own.
"""

import json
import os
from types import SimpleNamespace

import torch
from safetensors.torch import load_file, save_file
from torch import nn


class Config(dict):
    """What PEFT looks at."""

    model_type = "fmpipe"
    tie_word_embeddings = True


class Norm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def turn_neighbours(x, theta):
    """x (T, heads, D): pairs (2i, 2i+1) turned by t * theta^(-2i/D)."""
    T, _, D = x.shape
    frequency = 1.0 / theta ** (torch.arange(0, D, 2, dtype=torch.float32) / D)
    angle = (torch.arange(T, dtype=torch.float32)[:, None] * frequency)[:, None, :]
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()), -1).flatten(-2)


class Attention(nn.Module):
    def __init__(self, c, own_kv):
        super().__init__()
        self.c = c
        C, D, H, G = c["hidden_size"], c["head_dim"], c["num_attention_heads"], c["num_key_value_heads"]
        self.q_proj = nn.Linear(C, H * D, bias=False)
        self.o_proj = nn.Linear(H * D, C, bias=False)
        self.q_norm = Norm(D, c["rms_norm_eps"])
        if own_kv:
            self.k_proj = nn.Linear(C, G * D, bias=False)
            self.v_proj = nn.Linear(C, G * D, bias=False)
            self.k_norm = Norm(D, c["rms_norm_eps"])

    def forward(self, x, kv):
        c, T = self.c, x.shape[0]
        D, H, G = c["head_dim"], c["num_attention_heads"], c["num_key_value_heads"]
        q = turn_neighbours(self.q_norm(self.q_proj(x).view(T, H, D)), c["rope_theta"])
        if hasattr(self, "k_proj"):
            k = turn_neighbours(self.k_norm(self.k_proj(x).view(T, G, D)), c["rope_theta"])
            kv = (k, self.v_proj(x).view(T, G, D))
        k, v = (t.repeat_interleave(H // G, 1) for t in kv)
        scores = torch.einsum("thd,shd->hts", q, k) / D**0.5
        scores = scores.masked_fill(torch.ones(T, T).triu(1).bool(), float("-inf"))
        o = torch.einsum("hts,shd->thd", scores.softmax(-1), v).reshape(T, H * D)
        return self.o_proj(o), kv


class Unit(nn.Module):
    def __init__(self, c):
        super().__init__()
        C, F = c["hidden_size"], c["intermediate_size"]
        self.gate_proj = nn.Linear(C, F, bias=False)
        self.up_proj = nn.Linear(C, F, bias=False)
        self.down_proj = nn.Linear(F, C, bias=False)

    def forward(self, x):
        return self.down_proj(nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, c, own_kv):
        super().__init__()
        self.input_layernorm = Norm(c["hidden_size"], c["rms_norm_eps"])
        self.self_attn = Attention(c, own_kv)
        self.post_attention_layernorm = Norm(c["hidden_size"], c["rms_norm_eps"])
        self.mlp = Unit(c)

    def forward(self, x, kv):
        y, kv = self.self_attn(self.input_layernorm(x), kv)
        x = x + y
        return x + self.mlp(self.post_attention_layernorm(x)), kv


class Inner(nn.Module):
    def __init__(self, c):
        super().__init__()
        L, shared = c["num_hidden_layers"], c["num_kv_shared_layers"]
        self.embed_tokens = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.layers = nn.ModuleList(Layer(c, l < L - shared) for l in range(L))
        self.norm = Norm(c["hidden_size"], c["rms_norm_eps"])


class Reference(nn.Module):
    """ids (1,T) to logits (1,T,V); the head is the embedding."""

    def __init__(self, config):
        super().__init__()
        self.config = Config(config)
        self.model = Inner(config)
        for p in self.parameters():
            if p.ndim > 1:
                nn.init.normal_(p, std=config["initializer_range"])

    def forward(self, input_ids, **_):
        x, kv = self.model.embed_tokens(input_ids[0]), None
        for layer in self.model.layers:
            x, kv = layer(x, kv)
        return SimpleNamespace(logits=(self.model.norm(x) @ self.model.embed_tokens.weight.T)[None])

    def prepare_inputs_for_generation(self, *_):
        raise NotImplementedError  # PEFT wants to see it

    def save_pretrained(self, folder):
        os.makedirs(folder, exist_ok=True)
        with open(f"{folder}/config.json", "w", encoding="ascii") as f:
            json.dump(self.config, f)
        save_file(dict(self.state_dict()), f"{folder}/model.safetensors")

    @classmethod
    def from_pretrained(cls, folder):
        with open(f"{folder}/config.json", encoding="ascii") as f:
            model = cls({"initializer_range": 0.02} | json.load(f))
        model.load_state_dict(load_file(f"{folder}/model.safetensors"))
        return model
