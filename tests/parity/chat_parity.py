"""Compare the tokens of whole conversations with transformers' apply_chat_template(tokenize=True).

    python chat_parity.py PATH/TO/fmpipe SHARED_DATA [--rows N]

Needs transformers, tokenizers, sentencepiece. Takes real tokenizers of SHARED_DATA, each also with the other ways to put a
space in front of a text (Llama 2's normalizer, Metaspace always, first, never), and templates of the kinds of Llama 2, Mistral,
Gemma and ChatML; encodes N conversations with both programs. In no conversation here does content spell a control token (where
one does, they differ on purpose). Prints every difference; exits 1 if there is one.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

import sentencepiece
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerFast

TEMPLATES = {
    "llama2": "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content + ' ' + eos_token }}{% endif %}{% endfor %}",
    "mistral": "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST]{{ m.content }}[/INST]"
    "{% else %}{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}",
    "gemma": "{{ bos_token }}{% for m in messages %}{{ eos_token }}{{ m.role }}\n{{ m.content | trim }}{{ eos_token }}\n{% endfor %}",
    "chatml": "{% for m in messages %}{{ eos_token }}{{ m.role }}\n{{ m.content }}{{ eos_token }}\n{% endfor %}",
}
SPACES = {
    "prepend": ({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}, None),
    "always": (None, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": False}),
    "first": (None, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}),
    "never": (None, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": True}),
}


def put(path, value):
    with open(path, "w", encoding="utf-8") as f:
        f.write(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def folder(path, bos, eos):
    os.makedirs(path)
    put(f"{path}/tokenizer_config.json", {"bos_token": bos, "eos_token": eos})
    return path


def llama_of(path):
    """A SentencePiece BPE model as Llama 2's tokenizer.json has it: merges in the order of the scores of what they make."""
    model = sentencepiece.SentencePieceProcessor(model_file=path)
    vocab = {model.id_to_piece(i): i for i in range(model.get_piece_size())}
    merges = []
    for i in range(model.get_piece_size()):
        piece, score = model.id_to_piece(i), model.get_score(i)
        parts = [(piece[:k], piece[k:]) for k in range(1, len(piece)) if piece[:k] in vocab and piece[k:] in vocab]
        merges += [(left, right, score) for left, right in sorted(parts, key=lambda x: (vocab[x[0]], vocab[x[1]]))]
    merges.sort(key=lambda m: (m[2], len(m[0]), len(m[1])), reverse=True)
    tok = Tokenizer(models.BPE(vocab, [m[:2] for m in merges], unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tok.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tok.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tok.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in ("<unk>", "<s>", "</s>")])
    return tok


def tokenizers(shared, tmp):
    """(name, folder, transformers' tokenizer)"""
    files = {
        "phi-3": ("hf-misc/phi-3/tokenizer.json", "<s>", "<|endoftext|>"),
        "falcon": ("hf-misc/falcon-tokenizer/tokenizer.json", "<|endoftext|>", "<|endoftext|>"),
        "neox": ("hf-gpt-neox-20b/20B_tokenizer.json", "<|endoftext|>", "<|endoftext|>"),
    }
    for name, (file, bos, eos) in files.items():
        with open(f"{shared}/tokenizers/{file}", encoding="utf-8") as f:
            json_ = json.load(f)
        kinds = SPACES if name == "phi-3" else {"own": None}
        for kind, steps in kinds.items():
            made = dict(json_)
            if steps:
                made["normalizer"], made["pre_tokenizer"] = steps
            where = folder(f"{tmp}/{name}-{kind}", bos, eos)
            put(f"{where}/tokenizer.json", made)
            yield f"{name} {kind}", where, PreTrainedTokenizerFast(tokenizer_file=f"{where}/tokenizer.json", bos_token=bos, eos_token=eos)
    for name, file in {"llama-2": "sentencepiece-llama2/tokenizer.model", "mistral": "sentencepiece-mistral/tokenizer.model.v1"}.items():
        where = folder(f"{tmp}/{name}", "<s>", "</s>")
        shutil.copy(f"{shared}/tokenizers/{file}", f"{where}/tokenizer.model")
        yield f"{name} .model", where, PreTrainedTokenizerFast(tokenizer_object=llama_of(f"{where}/tokenizer.model"), bos_token="<s>", eos_token="</s>")


ODD = [" .", " ", "  two  spaces ", "\n\n", "ünï\u00a0 ▁ x", "世界 🌍", "tab\there", " lead", "trail ", "a\u2028b", "1 2  3", "x▁y"]


def conversations(shared, n):
    for i, odd in enumerate(ODD):
        yield [{"role": "user", "content": odd}, {"role": "assistant", "content": ODD[-1 - i]}, {"role": "user", "content": odd + "?"},
               {"role": "assistant", "content": "fine"}]
    with open(f"{shared}/sgd/train.openai.jsonl", encoding="utf-8") as f:
        for _, line in zip(range(n - len(ODD)), f):
            talk = [m for m in json.loads(line)["messages"] if m["role"] in ("user", "assistant") and m.get("content")]
            yield [{"role": m["role"], "content": m["content"]} for m in talk]


def found(program, model, rows, n):
    """The ids of every row, through a pipeline that tokenizes them unpacked."""
    ids = []
    for i in range(n):
        done = subprocess.run([program, "inspect", "tokens", "--json", "--model", model, f"{rows}:{i + 1}"], capture_output=True)
        if done.returncode != 0:
            ids.append(done.stderr.decode())
            continue
        lines = [json.loads(line) for line in done.stdout.decode().split("\n") if line]
        ids.append([line["id"] for line in lines if line["event"] == "token"])
    return ids


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("fmpipe")
    parser.add_argument("shared")
    parser.add_argument("--rows", type=int, default=200)
    given = parser.parse_args()
    tmp = tempfile.mkdtemp()
    talks = list(conversations(given.shared, given.rows))
    put(f"{tmp}/rows.jsonl", "".join(json.dumps({"messages": t}, ensure_ascii=False) + "\n" for t in talks))
    different = total = 0
    for name, where, tok in tokenizers(given.shared, tmp):
        for kind, template in TEMPLATES.items():
            put(f"{where}/chat_template.jinja", template)
            got = found(given.fmpipe, where, f"{tmp}/rows.jsonl", len(talks))
            bad = 0
            for talk, ids in zip(talks, got):
                want = tok.apply_chat_template(talk, chat_template=template, tokenize=True, return_dict=False)
                total += 1
                if want == ids:
                    continue
                bad += 1
                if bad <= 2:
                    at = next((i for i in range(min(len(want), len(ids))) if want[i] != ids[i]), min(len(want), len(ids)))
                    print(f"-- {name}, {kind}: {json.dumps(talk, ensure_ascii=False)[:300]}\n   transformers …{want[max(0, at - 3):at + 8]}")
                    print(f"   fmpipe       …{ids[max(0, at - 3):at + 8] if isinstance(ids, list) else ids}")
            different += bad
    shutil.rmtree(tmp)
    print(f"{total} conversations encoded by both, {different} different")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
