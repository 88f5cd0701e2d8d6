#!/bin/sh
# quickstart.sh FMPIPE PLUGIN_FOLDER: pipelines/quickstart does what its README promises: a base model that cannot call tools, an
# adapter that can, and a second run that has nothing left to do. Store and runs are in a folder that goes away.
set -eu
fmpipe=$1
FMPIPE_PLUGIN_PATH=$2
NO_COLOR=1
export FMPIPE_PLUGIN_PATH NO_COLOR
quickstart=$(CDPATH='' cd -- "$(dirname -- "$0")/../../pipelines/quickstart" && pwd)
pipeline=$quickstart/pipeline.yaml
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() {
    echo "FAILED: $*" >&2
    [ ! -f log ] || tail -n 20 log | cut -c 1-300 >&2
    exit 1
}

if [ ! -f "$quickstart/base/fm-tiny-1.1/model.safetensors" ]; then
    echo "skipped: pipelines/quickstart/base has no model yet; ./dev base --replace makes it"
    exit 77
fi
n_stages=$("$fmpipe" validate "$pipeline" | sed -n 's/.*ok, \([0-9]*\) stages$/\1/p')
[ -n "$n_stages" ] || fail "validate"

# ---- the first run ----
"$fmpipe" run "$pipeline" --store store --runs runs --json >log 2>err || { cat err >&2; fail "exit code $?"; }
grep -q '"event":"run.end","ok":true' log || fail "the run did not end well"
[ "$(grep -c '"event":"stage.end".*"action":"ran"' log)" -eq "$n_stages" ] || fail "expected $n_stages stages to run"
grep '"event":"stage.end"' log | sed -n 's/.*"stage":"\([^"]*\)".*"summary":"\([^"][^"]*\)".*/  \1: \2/p'

# tool_exact of the row "all": base and adapter
set -- $(tr -d ' \n' <runs/latest/evaluate/metrics.json |
    sed -n 's/.*"locale":"all"\(.*\)/\1/p' | sed -n 's/[^]]*"tool_exact":\[\([^],]*\),\([^],]*\)\].*/\1 \2/p')
[ $# -eq 2 ] || fail "metrics.json has no tool_exact of base and adapter"
echo "tool calls exact: base $1, adapter $2"
awk -v base="$1" 'BEGIN { exit !(base <= 0.10) }' || fail "the base model calls tools: $1, expected at most 0.10"
awk -v adapter="$2" 'BEGIN { exit !(adapter >= 0.85) }' || fail "the adapter's tool calls: $2 exact, expected at least 0.85"
[ -f runs/latest/export/adapter_model.safetensors ] || fail "there is no exported adapter"
if grep -q 'use: report.html' "$pipeline"; then
    ls runs/latest/*/report.html >/dev/null 2>&1 || fail "there is no report.html"
fi

# ---- the second ----
begin=$(date +%s%N)
"$fmpipe" run "$pipeline" --store store --runs runs --json >log 2>err || fail "second run"
took=$((($(date +%s%N) - begin) / 1000000))
[ "$(grep -c '"event":"stage.end".*"action":"cached"' log)" -eq "$n_stages" ] || fail "a second run must find all $n_stages stages known"
echo "second run: $n_stages stages cached in $took ms"
[ $took -le 1000 ] || fail "the second run took $took ms, expected at most 1000"

# ---- what a change causes ----
# plan ARGUMENTS...: "STAGE REASON" of each stage that would run
plan() { "$fmpipe" plan "$pipeline" --store store --runs runs --json "$@" >log &&
    sed -n 's/.*"event":"plan.stage","stage":"\([^"]*\)".*"action":"run","reason":"\([^"]*\)".*/\1 \2/p' log; }
[ -z "$(plan)" ] || fail "plan must find every stage known"
plan --set train.learning_rate=1e-3 >reasons
grep -q '^train CONFIG(learning_rate)$' reasons || fail "train must run for its learning_rate, found: $(cat reasons)"
grep -q '^evaluate INPUT(' reasons || fail "evaluate must run for its input, found: $(cat reasons)"
if grep -q '^tokens \|^read ' reasons; then fail "what comes before train must stay known, found: $(cat reasons)"; fi
plan --set filter.min_messages=3 >reasons
grep -q '^filter CONFIG(min_messages)$' reasons || fail "filter must run for its min_messages, found: $(cat reasons)"
plan --set train.log_every=3 >reasons
[ ! -s reasons ] || fail "log_every changes no result, found: $(cat reasons)"
echo "plan: the changed stage, and what follows from it"
