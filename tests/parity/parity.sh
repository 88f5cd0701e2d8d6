#!/bin/sh
# parity.sh [NAME...]: the model library, adapters, tokenizers, chat templates and the quickstart's adapter beside PyTorch,
# transformers, PEFT and the tokenizer libraries, which are put into a throwaway environment. `./dev parity` builds first and
# runs this. NAME: some of model lora template chat tokenizer llama2c adapter tensorboard only. The last line says how it went.
#   PARITY_PYTHON   a Python that has torch, transformers, peft, safetensors, jinja2, tokenizers: nothing is installed then
#   FMP_BUILD       another build folder than build/release
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
build=${FMP_BUILD:-$root/build/release}
data=${FMP_SHARED_DATA:-$root/../shared/data}
quickstart=$root/pipelines/quickstart
base=$quickstart/base/fm-tiny-1.1
names=${*:-model lora template chat tokenizer llama2c adapter tensorboard}
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
TRANSFORMERS_VERBOSITY=error
export TRANSFORMERS_VERBOSITY
"$python" -c 'import sys, torch, transformers, peft; print("Python", sys.version.split()[0], "· torch", torch.__version__,
"· transformers", transformers.__version__, "· peft", peft.__version__)'

passed="" failed="" skipped=""
# compare NAME WHAT COMMAND...: one comparison, its exit code kept
compare() {
    name=$1
    echo "== ${name}_parity.py: $2"
    shift 2
    if "$@"; then passed="$passed $name"; else failed="$failed $name"; fi
}
skip() { # skip NAME WHY
    echo "== $1: skipped: $2"
    skipped="$skipped $1"
}
quickstart_run() { # once, for the last two
    [ -d "$work/runs/latest" ] ||
        "$build/bin/fmpipe" run -q "$quickstart/pipeline.yaml" --store "${FMP_PARITY_STORE:-$work/store}" --runs "$work/runs" >&2
}

for name in $names; do
    case $name in
    model) compare model "random models of each family" "$python" "$here/model_parity.py" "$probe" ;;
    lora) compare lora "LoRA, rank-stabilised LoRA, DoRA of each family beside PEFT" "$python" "$here/lora_parity.py" "$probe" ;;
    template) compare template "chat templates" "$python" "$here/template_parity.py" "$build/bin/fmpipe" "$data" --random 500 \
        --table "$root/docs/reference/chat-templates.md" ;;
    chat) compare chat "the tokens of conversations" "$python" "$here/chat_parity.py" "$build/bin/fmpipe" "$data" --rows 40 ;;
    tokenizer)
        compare tokenizer "tokenizer files of every kind" "$python" "$here/tokenizer_parity.py" "$build/bin/tokenizer_probe" \
            --data "$data" --decode
        compare tokenizer "components of published tokenizers" "$python" "$here/tokenizer_components.py" \
            "$build/bin/tokenizer_probe" --data "$data" ;;
    llama2c)
        if [ -f "$data/stories260k/stories260K.bin" ]; then
            compare llama2c "a converted llama2.c model" "$python" "$here/llama2c_parity.py" "$build/bin/fmpipe" "$data/stories260k"
        else
            skip llama2c "there is no stories260K.bin"
        fi ;;
    adapter | tensorboard)
        if [ ! -f "$base/model.safetensors" ]; then
            skip "$name" "there is no base model in pipelines/quickstart/base"
        elif [ "$name" = adapter ]; then
            quickstart_run
            compare adapter "the quickstart's adapter" "$python" "$here/adapter_parity.py" "$probe" "$base" \
                "$work/runs/latest/export" "$quickstart/data/heldout.jsonl"
        elif "$python" -c 'import tensorboard' 2>/dev/null; then
            quickstart_run
            compare tensorboard "the run's event files" "$python" "$here/tensorboard_parity.py" "$work/runs/latest"
        else
            skip tensorboard "this Python has no tensorboard"
        fi ;;
    *) echo "parity.sh: unknown comparison '$name'" >&2; exit 2 ;;
    esac
done
echo "parity:${passed:+ ok:$passed}${skipped:+; skipped:$skipped}${failed:+; FAILED:$failed}"
[ -z "$failed" ]
