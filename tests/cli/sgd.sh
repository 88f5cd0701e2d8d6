#!/bin/sh
# sgd.sh FMPIPE PLUGIN_FOLDER: the same real dialogues in two forms (OpenAI messages, adapter toolkit) through pipelines/sgd: every
# row is kept or rejected with a reason, the tokens are the same bytes, and the loss falls. FMP_SGD_BASE: another base model.
set -eu
fmpipe=$1
FMPIPE_PLUGIN_PATH=$2
NO_COLOR=1
export FMPIPE_PLUGIN_PATH NO_COLOR
pipelines=$(CDPATH='' cd -- "$(dirname -- "$0")/../../pipelines" && pwd)
base=${FMP_SGD_BASE:-$pipelines/quickstart/base/fm-tiny-1.1}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

if [ -z "${FMP_SHARED_DATA:-}" ] || [ ! -d "$FMP_SHARED_DATA/sgd" ]; then
    echo "skipped: FMP_SHARED_DATA names no folder with sgd/, so there are no real dialogues to read"
    exit 77
fi
if [ ! -f "$base/model.safetensors" ]; then
    echo "skipped: there is no base model in $base"
    exit 77
fi

# end STAGE KEY: a number of a stage.end event
end() { sed -n "s/.*\"event\":\"stage.end\",\"stage\":\"$1\".*\"$2\":\([0-9]*\).*/\1/p" log; }
kept() { sed -n "s/.*\"event\":\"stage.end\",\"stage\":\"$1\".*\"facts\":{\"records\":\([0-9]*\).*/\1/p" log; }
tokens() { sed -n "s/.*\"event\":\"stage.end\",\"stage\":\"$1\".*\"outputs\":{\"tokens\":\"\([0-9a-f]*\)\".*/\1/p" log; }

for form in openai toolkit; do
    "$fmpipe" run "$pipelines/sgd/pipeline.yaml" --store store --runs runs --json --set base="$base" \
        --set data="$FMP_SHARED_DATA/sgd/train.$form.jsonl" --set train.max_steps=8 >log 2>err || {
        code=$?
        cat err log >&2
        fail "$form: exit code $code"
    }
    rejected=0
    for stage in $(sed -n 's/.*"event":"stage.end","stage":"\([^"]*\)".*/\1/p' log); do
        rejected=$((rejected + $(end "$stage" rejected)))
    done
    kept=$(($(kept tokens) + $(kept eval_tokens)))
    rows=$(wc -l <"$FMP_SHARED_DATA/sgd/train.$form.jsonl")
    [ "$rows" -eq 640 ] || fail "$form: expected 640 rows of data, found $rows"
    [ $((kept + rejected)) -eq 640 ] || fail "$form: $kept kept and $rejected rejected of 640"
    for stage in tokens eval_tokens; do
        sha256sum "store/objects/$(tokens $stage)/data/tokens.bin" | cut -d ' ' -f 1
    done >"$form.tokens"
    set -- $(sed -n 's/.*"stage":"train","series":"loss","step":[0-9]*,"value":\([0-9.e-]*\)}/\1/p' runs/latest/metrics.jsonl)
    first=$1
    shift $(($# - 1))
    awk -v first="$first" -v last="$1" 'BEGIN { exit !(last < first) }' || fail "$form: the loss went from $first to $1"
    echo "$form: $kept kept, $rejected rejected, loss $first to $1, tokens $(head -c 12 "$form.tokens")"
done
cmp openai.tokens toolkit.tokens || fail "the two forms give different tokens"
