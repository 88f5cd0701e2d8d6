#!/bin/sh
# lora_135m.sh: LoRA training of a 135 M Llama in bf16 beside torch + PEFT (eager), in one run, taking turns: hidden 576,
# 30 layers, 9 heads, 3 KV heads, FFN 1536, tied head; rank 32 on all seven linear layers; 4 sequences an optimizer step.
#   dense   4 x 512 random ids, all supervised, vocabulary 49,152
#   sgd     conversations of the shared data through GPT-2's tokenizer and a chat template, assistant turns supervised,
#           vocabulary 50,304; the peer pads the four to the longest, fmpipe packs them
#   BUILD=FOLDER   a release build with the program lora_135m (cmake --build BUILD --target lora_135m)
#   PYTHON=PATH    an interpreter with torch, transformers and peft
# The peer runs twice: as get_peft_model sets an adapter up (f32 beside bf16 weights), and with the adapter in bf16 as ours multiplies it.
#   DATA=FOLDER    the shared data: sgd/, tokenizers/hf-gpt2/
#   ROUNDS=2       of each side      STEPS=4   timed in a round, after one that warms up       THREADS=2
#   CASES="dense sgd"                RUN=      a prefix for both sides, such as "chrt -r 10"
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=${BUILD:?set BUILD to a release build}
python=${PYTHON:-python3}
data=${DATA:-${FMP_SHARED_DATA:-$here/../../../shared/data}}
rounds=${ROUNDS:-2} steps=${STEPS:-4} threads=${THREADS:-2} cases=${CASES:-dense sgd} prefix=${RUN:-}
fmpipe=$build/bin/fmpipe bench=$build/bin/lora_135m
[ -x "$bench" ] || { echo "skipped: no $bench; build the target lora_135m"; exit 0; }
"$python" -c 'import torch, transformers, peft' 2>/dev/null || {
    echo "skipped: PYTHON has no torch, transformers and peft"
    exit 0
}
work=$(mktemp -d "${TMPDIR:-/tmp}/fmpipe-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
lines=$((4 * (steps + 1)))

make_model() { # FOLDER VOCAB
    "$fmpipe" -q model new "$1" --dtype bf16 --vocab "$2" --layers 30 --channels 576 --heads 9 --kv-heads 3 --head-size 64 \
        --ff 1536 --tied --positions 2048 >/dev/null
}

make_dense() {
    make_model "$work/dense" 49152
    "$bench" dense "$lines" 512 49152 >"$work/dense.txt"
}

make_sgd() {
    make_model "$work/sgd" 50304
    base=$here/../../pipelines/quickstart/base/fm-tiny-1.1
    cp "$base/chat_template.jinja" "$work/sgd/"
    # The template's special tokens behind GPT-2's vocabulary.
    "$python" - "$data/tokenizers/hf-gpt2/gpt2.json" "$base/tokenizer_config.json" "$work/sgd" <<'PY'
import json, sys
tokenizer, config = json.load(open(sys.argv[1])), json.load(open(sys.argv[2]))
special = [v["content"] for _, v in sorted(config["added_tokens_decoder"].items(), key=lambda kv: int(kv[0]))]
flags = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
tokenizer["added_tokens"] += [dict(id=50257 + i, content=s, **flags) for i, s in enumerate(special)]
config["added_tokens_decoder"] = {str(50257 + i): dict(content=s, **flags) for i, s in enumerate(special)}
json.dump(tokenizer, open(sys.argv[3] + "/tokenizer.json", "w"))
json.dump(config, open(sys.argv[3] + "/tokenizer_config.json", "w"))
PY
    cat >"$work/sgd.yaml" <<YAML
fmpipe: 1
name: lora_135m
base: $work/sgd
stages:
  - {id: read, use: jsonl.read, with: {path: $data/sgd/train.openai.jsonl}, on_bad: skip}
  - {id: guide, use: tools.format, on_bad: skip}
  - {id: tokens, use: chat.tokenize, with: {max_tokens: 2048, overflow: drop, supervise: assistant}, on_bad: skip}
YAML
    "$fmpipe" -q run "$work/sgd.yaml" --store "$work/store" --runs "$work/runs" >/dev/null
    "$bench" tokens "$work/runs/latest/tokens" "$lines" >"$work/sgd.txt"
    grep -q '\*' "$work/sgd.txt" || { echo "the conversations have no supervised token"; exit 1; }
    # The longest first: the step that warms up touches all memory that the timed ones use.
    longest=$(awk 'NF > most { most = NF; at = NR } END { print at }' "$work/sgd.txt")
    { sed -n "${longest}p" "$work/sgd.txt"; sed "${longest}d" "$work/sgd.txt"; } >"$work/sorted.txt"
    mv "$work/sorted.txt" "$work/sgd.txt"
}

echo "$(nproc) cores, $threads threads, load$(cut -d' ' -f1-3 /proc/loadavg | sed 's/^/ /')"
for case in $cases; do
    if [ "$case" = sgd ] && ! { [ -d "$data/sgd" ] && [ -d "$data/tokenizers/hf-gpt2" ]; }; then
        echo "sgd skipped: $data has no sgd/ or tokenizers/hf-gpt2/"
        continue
    fi
    "make_$case"
    round=0
    while [ $round -lt "$rounds" ]; do
        $prefix "$bench" train "$work/$case" "$work/$case.txt" "$steps" "$threads" >>"$work/$case.ours"
        for adapter in f32 bf16; do
            $prefix "$python" "$here/lora_135m.py" "$work/$case" "$work/$case.txt" "$steps" "$threads" $adapter \
                >>"$work/$case.$adapter" 2>"$work/peer.log" || { cat "$work/peer.log"; exit 1; }
        done
        round=$((round + 1))
    done
    "$python" - "$case" "$work/$case.txt" "$work/$case.ours" "$work/$case.f32" "$work/$case.bf16" <<'PY'
import json, sys
case, path, *sides = sys.argv[1:]
lines = [line.split() for line in open(path)]
tokens, labels = sum(map(len, lines)), sum(w.endswith("*") for line in lines for w in line)
ours, peer, rounded = ([json.loads(line) for line in open(side)] for side in sides)
print(f"\n{case}: {len(lines)} sequences of {min(map(len, lines))} to {max(map(len, lines))} tokens, "
      f"{100 * labels / tokens:.0f} % supervised")
unit = "tokens_per_s" if case == "dense" else "sequences_per_s"
for name, runs in (("fmpipe", ours), ("torch + PEFT", peer), ("its adapter bf16", rounded)):
    best = max(runs, key=lambda r: r[unit])
    print(f"  {name:16} {best[unit]:8.2f} {unit.replace('_', ' ').replace(' per s', '/s')}   peak {best['peak_mib'] * 2**20 / 1e9:.2f} GB"
          f"   first loss {best['first_loss']:.4f}   each: {', '.join(f'{r[unit]:.2f}' for r in runs)}   ({best['what']})")
best, other, faster = (max(r[unit] for r in runs) for runs in (ours, peer, rounded))
a, b = ours[0]["first_loss"], peer[0]["first_loss"]
share = max(ours, key=lambda r: r["gflops"])
print(f"  ratio {best / other:.2f}, to the adapter in bf16 {best / faster:.2f}; {share['gflops']:.0f} GFLOP/s of useful work, {100 * share['gflops'] / share['matmul_peak_gflops']:.0f} % "
      f"of the measured matmul peak of {share['matmul_peak_gflops']:.0f}; losses differ by {100 * abs(a - b) / b:.3f} %")
if abs(a - b) > 0.01 * b:
    sys.exit("the two sides do not compute the same loss")
PY
done
