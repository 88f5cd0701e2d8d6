#!/bin/sh
# train_matrix.sh FMPIPE PLUGIN_FOLDER [N [SEED]]: train.lora and train.full are killed (kill -9) at N pseudo-random moments, with
# 1, 2, 3 or 8 threads, once to three times before they may end; every result must have the bytes of an undisturbed run. Not part
# of the test suite, which kills at named points (tests/unit/test_train.c): by hand, before a release, N = 200.
set -eu
fmpipe=$1
FMPIPE_PLUGIN_PATH=$2
n=${3:-12}
seed=${4:-1}
NO_COLOR=1
export FMPIPE_PLUGIN_PATH NO_COLOR
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() {
    echo "FAILED: $*" >&2
    [ ! -f log ] || cat log >&2
    exit 1
}

cat >base.yaml <<'TEXT'
fmpipe: 1
name: matrix
seed: 3
stages:
  - {id: texts, use: synth.chat, with: {corpus: base, version: "1.1", count: 150, seed: 1}}
  - {id: tok, use: tokenizer.train, from: texts, with: {vocab_size: 600}}
  - {id: tokens, use: chat.tokenize, from: {records: texts, tokenizer: tok},
     with: {max_tokens: 1024, overflow: drop, supervise: all, context_weight: 0.1}}
  - {id: out, use: train.full, from: {tokens: tokens},
     with: {name: tiny-1, new: {layers: 2, channels: 64, heads: 4, kv_heads: 2, ff: 128}, max_steps: 20, epochs: 20, batch: 3,
            checkpoint_every: 2}}
TEXT
cat >adapter.yaml <<'TEXT'
fmpipe: 1
name: matrix-adapter
seed: 5
base: base
stages:
  - {id: texts, use: synth.chat, with: {corpus: adapt, version: "1.1", count: 60, seed: 2}}
  - {id: split, use: data.split, with: {eval: 0.3}}
  - {id: tokens, use: chat.tokenize, from: split.train, with: {max_tokens: 1024, overflow: drop}}
  - {id: eval_tokens, use: chat.tokenize, from: split.eval, with: {max_tokens: 1024, overflow: drop}}
  - {id: out, use: train.lora, from: {tokens: tokens, eval: eval_tokens},
     with: {rank: 4, dora: true, dropout: 0.05, max_steps: 30, epochs: 60, batch: 3, precision: bf16, keep: best, eval_every: 4,
            checkpoint_every: 3}}
TEXT

now_ms() { date +%s%3N; }
run() { "$fmpipe" run "$1" --store "$2" --runs "$2-runs" --threads "$3" >log 2>&1; }
digests() { (cd "$1-runs/latest/out" && sha256sum -- * | sort -k 2); }
# random BELOW: the next of a fixed sequence (a linear congruential generator of Park and Miller)
state=$((seed * 7919 + 17))
random() {
    state=$((state * 16807 % 2147483647))
    value=$((state % $1))
}

begin=$(now_ms)
run base.yaml base-store 1 || fail "the undisturbed run of base.yaml"
base_ms=$(($(now_ms) - begin))
digests base-store >base.want
cp -RL base-store-runs/latest/out base
begin=$(now_ms)
run adapter.yaml adapter-store 1 || fail "the undisturbed run of adapter.yaml"
adapter_ms=$(($(now_ms) - begin))
digests adapter-store >adapter.want

killed=0
i=1
while [ "$i" -le "$n" ]; do
    random 2
    [ "$value" -eq 0 ] && what=base most=$base_ms || { what=adapter most=$adapter_ms; }
    random 3
    kills=$((value + 1))
    rm -rf store store-runs
    k=0
    while [ "$k" -lt "$kills" ]; do
        random 4
        threads=$(echo 1 2 3 8 | cut -d ' ' -f $((value + 1)))
        random "$most"
        "$fmpipe" run "$what.yaml" --store store --runs store-runs --threads "$threads" >log 2>&1 &
        pid=$!
        sleep "$((value / 1000)).$(printf %03d $((value % 1000)))"
        kill -9 "$pid" 2>/dev/null || true
        code=0
        wait "$pid" || code=$?
        [ "$code" -eq 0 ] || [ "$code" -eq 137 ] || fail "point $i: exit code $code"
        [ "$code" -eq 0 ] || killed=$((killed + 1))
        k=$((k + 1))
    done
    random 4
    threads=$(echo 1 2 3 8 | cut -d ' ' -f $((value + 1)))
    run "$what.yaml" store "$threads" || fail "point $i: the run after $kills kills did not end well"
    digests store >found
    cmp -s "$what.want" found || fail "point $i: other bytes of $what after $kills kills, $threads threads"
    i=$((i + 1))
done
echo "ok: $n results after $killed kills, threads 1, 2, 3, 8: equal bytes"
