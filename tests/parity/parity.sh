#!/bin/sh
# parity.sh: the model library, the chat encoder and the quickstart's adapter beside PyTorch, transformers and PEFT, which are
# put into a throwaway environment. `./dev parity` builds first and runs this.
#   PARITY_PYTHON   a Python that has torch, transformers, peft, safetensors, jinja2, tokenizers: nothing is installed then
#   FMP_BUILD       another build folder than build/release
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
build=${FMP_BUILD:-$root/build/release}
quickstart=$root/pipelines/quickstart
base=$quickstart/base/fm-tiny-1.1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --build "$build" --target model_probe tokenizer_probe >"$work/build.log" 2>&1 || { cat "$work/build.log" >&2; exit 1; }
probe=$build/bin/model_probe

python=${PARITY_PYTHON:-}
if [ -z "$python" ]; then
    echo "installing PyTorch (CPU), transformers and PEFT into a throwaway environment" >&2
    python3 -m venv "$work/venv"
    python=$work/venv/bin/python
    pip="$python -m pip install --quiet --disable-pip-version-check"
    $pip --index-url https://download.pytorch.org/whl/cpu torch || $pip torch
    $pip numpy transformers peft safetensors jinja2 tokenizers sentencepiece tiktoken tensorboard
fi
"$python" -c 'import sys, torch, transformers, peft; print("Python", sys.version.split()[0], "· torch", torch.__version__,
"· transformers", transformers.__version__, "· peft", peft.__version__)'

result=0
echo "== model_parity.py: random models of each family"
"$python" "$here/model_parity.py" "$probe" || result=1

echo "== lora_parity.py: LoRA, rank-stabilised LoRA, DoRA beside PEFT"
"$python" "$here/lora_parity.py" "$probe" || result=1

echo "== template_parity.py: chat templates"
"$python" "$here/template_parity.py" "$build/bin/fmpipe" "${FMP_SHARED_DATA:-$root/../shared/data}" --random 500 || result=1

echo "== tokenizer_parity.py: tokenizer files of every kind"
"$python" "$here/tokenizer_parity.py" "$build/bin/tokenizer_probe" --data "${FMP_SHARED_DATA:-$root/../shared/data}" --decode || result=1

stories=$root/../shared/data/stories260k
if [ -f "$stories/stories260K.bin" ]; then
    echo "== llama2c_parity.py: a converted llama2.c model"
    "$python" "$here/llama2c_parity.py" "$build/bin/fmpipe" "$stories" || result=1
fi

echo "== adapter_parity.py: the quickstart's adapter"
if [ ! -f "$base/model.safetensors" ]; then
    echo "skipped: there is no base model in pipelines/quickstart/base"
    exit $result
fi
"$build/bin/fmpipe" run -q "$quickstart/pipeline.yaml" --store "${FMP_PARITY_STORE:-$work/store}" --runs "$work/runs"
"$python" "$here/adapter_parity.py" "$probe" "$base" "$work/runs/latest/export" "$quickstart/data/heldout.jsonl" || result=1

echo "== tensorboard_parity.py: the run's event files"
if "$python" -c 'import tensorboard' 2>/dev/null; then
    "$python" "$here/tensorboard_parity.py" "$work/runs/latest" || result=1
else
    echo "skipped: this Python has no tensorboard"
fi
exit $result
