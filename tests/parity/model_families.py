"""One tiny configuration for each decoder family and each option that changes its numbers.

Used by model_parity.py, which compares with transformers here and now, and by model_golden.py, which writes what a test
without Python compares with.
"""

from model_reference import Reference
from transformers import AutoModelForCausalLM
from transformers.models.gemma import GemmaConfig
from transformers.models.gemma2 import Gemma2Config
from transformers.models.gemma3 import Gemma3TextConfig
from transformers.models.llama import LlamaConfig
from transformers.models.mistral import MistralConfig
from transformers.models.olmo2 import Olmo2Config
from transformers.models.phi3 import Phi3Config
from transformers.models.qwen2 import Qwen2Config
from transformers.models.qwen3 import Qwen3Config
from transformers.models.smollm3 import SmolLM3Config

LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, rope_theta=10000.0)
LINEAR = dict(rope_type="linear", factor=3.0, rope_theta=10000.0)
DYNAMIC = dict(rope_type="dynamic", factor=4.0, rope_theta=10000.0)
YARN = dict(rope_type="yarn", factor=4.0, rope_theta=10000.0)
YARN_EXACT = YARN | dict(beta_fast=8.0, beta_slow=2.0, truncate=False, mscale=0.8, mscale_all_dim=0.4)
LONGROPE = dict(
    rope_type="longrope", short_factor=[1.0, 1.1, 1.2, 1.3], long_factor=[1.0, 2.0, 3.0, 4.5], rope_theta=10000.0
)


def families(vocab, channels, heads, kv_heads, ff, short, window):
    """channels / heads is 8. short: a text length that some segments of the batch exceed."""
    # No pad token: torch gives the embedding of a pad token no gradient, and a packed batch has no padding.
    s = dict(
        hidden_size=channels,
        num_hidden_layers=3,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        intermediate_size=ff,
        vocab_size=vocab,
        max_position_embeddings=256,
        initializer_range=0.15,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=None,
        attn_implementation="eager",
    )
    gemma = dict(head_dim=16, sliding_window=window, query_pre_attn_scalar=24)
    original = dict(original_max_position_embeddings=short)
    own = {k: v for k, v in s.items() if k != "attn_implementation"} | dict(
        model_type="fmpipe",
        num_hidden_layers=5,
        num_kv_shared_layers=2,
        head_dim=8,
        rms_norm_eps=1e-5,
        rope_theta=10000.0,
        rope_interleaved=True,
        use_qk_norm=True,
        tie_word_embeddings=True,
    )
    return {
        "llama tied": LlamaConfig(**s, tie_word_embeddings=True),
        "llama biases, llama3 rope": LlamaConfig(
            **s, attention_bias=True, mlp_bias=True, rope_parameters=LLAMA3 | original
        ),
        "llama linear rope": LlamaConfig(**s, rope_parameters=LINEAR),
        "llama dynamic rope": LlamaConfig(**(s | dict(max_position_embeddings=short)), rope_parameters=DYNAMIC),
        "mistral window": MistralConfig(**s, sliding_window=window, head_dim=8),
        "qwen2": Qwen2Config(**s),
        "qwen2 windows": Qwen2Config(**s, use_sliding_window=True, sliding_window=window + 2, max_window_layers=1),
        "qwen2 yarn": Qwen2Config(**s, rope_parameters=YARN | original),
        "qwen2 yarn, exact bounds": Qwen2Config(**s, rope_parameters=YARN_EXACT | original),
        "qwen3": Qwen3Config(**s, head_dim=16, tie_word_embeddings=True),
        "smollm3": SmolLM3Config(**s, no_rope_layers=[1, 0, 1], tie_word_embeddings=True),
        "gemma": GemmaConfig(**s, head_dim=16),
        "gemma2": Gemma2Config(**s, **gemma, attn_logit_softcapping=3.0, final_logit_softcapping=4.0),
        "gemma3": Gemma3TextConfig(**s, **gemma, sliding_window_pattern=2),
        "gemma3 scaled": Gemma3TextConfig(
            **s,
            **gemma,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
            rope_parameters={
                "full_attention": dict(rope_type="linear", factor=8.0, rope_theta=1000000.0),
                "sliding_attention": dict(rope_type="default", rope_theta=10000.0),
            },
        ),
        "phi3": Phi3Config(**s, sliding_window=2 * window),
        "phi3 longrope": Phi3Config(**s, **original, rope_parameters=LONGROPE | original),
        "phi3 part of a head": Phi3Config(
            **(s | dict(hidden_size=2 * channels)),
            rope_parameters=dict(rope_type="default", partial_rotary_factor=0.5, rope_theta=10000.0),
        ),
        "olmo2": Olmo2Config(**s),
        "fmpipe, shared keys and values": own,
    }


def build(config):
    return Reference(config) if isinstance(config, dict) else AutoModelForCausalLM.from_config(config)


def load(config, folder):
    if isinstance(config, dict):
        return Reference.from_pretrained(folder)
    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
