#!/bin/sh
# train.sh FMPIPE PLUGIN_FOLDER: training from the command line, on a model small enough to be made here: equal bytes for any
# number of threads, after a stop, after a crash and after a damaged checkpoint; and what must be refused.
set -eu
fmpipe=$1
FMPIPE_PLUGIN_PATH=$2
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
corpus=$here/../fuzz/corpus
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
say() { echo "ok: $*"; }

. "$here/train_pipelines.sh"

# run PIPELINE STORE ARGUMENTS...: output in log, exit code in $code
run() {
    file=$1 store=$2
    shift 2
    code=0
    "$fmpipe" run "$file" --store "$store" --runs "$store-runs" "$@" >log 2>&1 || code=$?
}
must_run() {
    run "$@"
    [ "$code" -eq 0 ] || fail "run $* ended with exit code $code"
}
# digests STORE STAGE: of the files of a result
digests() { (cd "$1-runs/latest/$2" && sha256sum -- * | sort -k 2); }
same() { # same WHAT STORE STAGE
    digests "$2" "$3" >found
    cmp -s "wanted.$3" found || { diff "wanted.$3" found >&2 || true; fail "$1: other bytes of '$3'"; }
}

# ---- any number of threads ----
must_run base.yaml t1 --threads 1
digests t1 tiny >wanted.tiny
cp -RL t1-runs/latest/tiny base
must_run adapter.yaml a1 --threads 1
digests a1 lora >wanted.lora
digests a1 export >wanted.export
for n in 2 3 8; do
    must_run base.yaml "t$n" --threads $n
    same "--threads $n" "t$n" tiny
    must_run adapter.yaml "a$n" --threads $n
    same "--threads $n" "a$n" lora
    same "--threads $n" "a$n" export
done
say "threads 1, 2, 3, 8: equal bytes of model, adapter and export"

# ---- the second run ----
run adapter.yaml a2 --json
[ "$code" -eq 0 ] || fail "second run"
[ "$(grep -c '"event":"stage.end".*"action":"cached"' log)" -eq 6 ] || fail "a second run must find all 6 stages known"
say "second run: 6 stages cached"

# ---- options that change no result ----
must_run adapter.yaml a2 --set lora.log_every=7 --set lora.checkpoint_every=0 --force lora
same "log_every, checkpoint_every" a2 lora
say "log_every and checkpoint_every change no byte"
run adapter.yaml a2 --set lora.memory=1 --force lora
[ "$code" -eq 3 ] || fail "a budget that nothing fits into: expected exit code 3, found $code"
least=$(sed -n 's/.*training takes at least \([0-9]*\) MiB, memory allows.*/\1/p' log)
[ -n "$least" ] || fail "a budget that nothing fits into must be refused with the least that does"
must_run adapter.yaml a2 --set "lora.memory=$((least + 2))MiB" --force lora
same "memory" a2 lora
say "memory: refused below $least MiB, and changes no byte"

# ---- what is told before the first step, however the run is watched ----
told='lora .*takes about [0-9]* MiB.* · trains [0-9.k ]* of [0-9.k ]* parameters'
grep -q "$told" log || fail "the estimate must be told without -v"
must_run adapter.yaml a2 --set "lora.memory=$((least + 2))MiB" --force lora --json
grep -q '"event":"stage.progress","stage":"lora","done":0,.*takes about [0-9]* MiB' log || fail "--json must have the estimate"
must_run adapter.yaml a2 --set "lora.memory=$((least + 2))MiB" --force lora
if script -qec true /dev/null >/dev/null 2>&1; then
    script -qec "$fmpipe run adapter.yaml --store a2 --runs a2-runs --set lora.memory=$((least + 2))MiB --force lora" /dev/null >log 2>&1 </dev/null
    grep -q "$told" log || fail "the estimate must stay on a terminal"
else
    echo "skipped: no program 'script' that can make a terminal here"
fi
head -n 1 log | grep -q 'base base ([0-9.]* M parameters, sha256:' || fail "the first line must have the base's size"
cp -R base hurt
printf '\377\377\377\377\377\377\377\177{}' >hurt/model.safetensors
run adapter.yaml hurt --set base=hurt
[ "$code" -eq 3 ] || fail "a damaged base: expected exit code 3, found $code"
grep -q 'base hurt (sha256:' log || fail "the size of a damaged base must be left out"
say "the estimate and the parameters are told in a pipe, on a terminal and as JSON"
told() { sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" a2-runs/latest/manifest.json; }
estimate=$(told memory_estimate_bytes) most=$(told memory_most_bytes)
[ "$estimate" -gt 0 ] && [ "$most" -gt 0 ] || fail "no estimate, or nothing measured: '$estimate', '$most'"
if grep -q __asan_init "$fmpipe"; then
    echo "skipped: a sanitizer's own memory is in what is measured"
else
    [ $((estimate * 100)) -le $((most * 115)) ] && [ $((most * 85)) -le $((estimate * 100)) ] ||
        fail "the estimate was $estimate bytes, the most that was used $most: more than 15 % apart"
    say "memory: the estimate is within 15 % of what was used"
fi

# ---- series: in metrics.jsonl and in event files ----
for i in 1 2 3 4 5 6; do
    for source in a b; do
        echo "{\"messages\":[{\"role\":\"user\",\"content\":\"$i $source\"},{\"role\":\"assistant\",\"content\":\"$source $i\"}],\"locale\":\"de-DE\",\"meta\":{\"source\":\"$source\"}}"
    done
done >sources.jsonl
cat >sources.yaml <<'TEXT'
fmpipe: 1
name: e2e-sources
base: base
stages:
  - {id: read, use: jsonl.read, with: {path: sources.jsonl}}
  - {id: tokens, use: chat.tokenize, with: {max_tokens: 256, overflow: error}}
  - {id: lora, use: train.lora, from: {tokens: tokens, eval: tokens}, with: {rank: 2, max_steps: 2}}
TEXT
must_run sources.yaml sources
for series in loss loss.de-DE loss.source.a loss.source.b lr grad_norm tokens_per_second peak_share memory_bytes eval_loss eval_loss.de-DE; do
    grep -q "\"stage\":\"lora\",\"series\":\"$series\"" sources-runs/latest/metrics.jsonl || fail "no series '$series' in metrics.jsonl"
    grep -aqF "$series" sources-runs/latest/tensorboard.events/lora/events.out.tfevents.* || fail "no series '$series' in the event file"
done
say "metrics.jsonl and event files have every series"

# ---- DoRA, dropout, init ----
sed 's/{rank: 4,/{rank: 4, dora: true, dropout: 0.1,/' adapter.yaml >dora.yaml
cp wanted.lora wanted.plain
must_run dora.yaml d1 --threads 1
digests d1 lora >wanted.lora
grep -q '"use_dora": true' d1-runs/latest/lora/adapter_config.json || fail "adapter_config.json must say use_dora"
grep -q '"lora_dropout": 0.1' d1-runs/latest/lora/adapter_config.json || fail "adapter_config.json must say lora_dropout"
must_run dora.yaml d3 --threads 3
same "DoRA and dropout, --threads 3" d3 lora
mv wanted.plain wanted.lora
say "DoRA and dropout: threads 1 and 3, equal bytes"
cat >again.yaml <<'TEXT'
fmpipe: 1
name: e2e-again
seed: 5
base: base
stages:
  - {id: texts, use: synth.chat, with: {corpus: adapt, version: "1.1", count: 20, seed: 2}}
  - {id: tokens, use: chat.tokenize, with: {max_tokens: 1024, overflow: drop}}
  - {id: lora, use: train.lora, with: {init: d1-runs/latest/lora, max_steps: 3}}
TEXT
must_run again.yaml again
grep -q '"use_dora": true' again-runs/latest/lora/adapter_config.json || fail "init: the adapter keeps its kind"
grep -q '"r": 4' again-runs/latest/lora/adapter_config.json || fail "init: the adapter keeps its rank"
say "init: goes on from an adapter folder, with its rank and kind"

# ---- a stop, a crash ----
# start PIPELINE STORE: in the background, as $pid
start() {
    "$fmpipe" run "$1" --store "$2" --runs "$2-runs" --threads 1 >log 2>&1 &
    pid=$!
}
# await STORE STEP: until the newest checkpoint is of that step or later
await() {
    while kill -0 "$pid" 2>/dev/null; do
        for dir in "$1"/work/*/ckpt-*; do
            step=$(basename "$dir" | sed 's/^ckpt-0*//')
            case $step in *[!0-9]* | '') continue ;; esac
            [ "$step" -lt "$2" ] || return 0
        done
        sleep 0.02
    done
    fail "the run ended before step $2 was saved"
}
# end SIGNAL: send it, wait, exit code in $code
end() {
    kill "-$1" "$pid" || fail "the run was over before the signal"
    code=0
    wait "$pid" || code=$?
}

start adapter.yaml stop
await stop 3
end INT
[ "$code" -eq 75 ] || fail "after SIGINT: expected exit code 75, found $code"
grep -q 'stopped after step [0-9]* of 48' log || fail "the message must name the step"
grep -q 'run it again to go on from here' log || fail "the message must say that the run can be resumed"
"$fmpipe" plan adapter.yaml --store stop --runs stop-runs >planned
grep -q '~ lora .*will go on from what it had saved' planned || fail "plan must say that the stage is resumed: $(cat planned)"
must_run adapter.yaml stop --threads 2
grep -q "the last run, [0-9a-f-]*, was stopped in 'lora'; 4 finished stages are kept$" log || fail "the second run must name the first"
grep -q "'lora' goes on from what it had saved$" log || fail "the second run must say at once what it resumes"
grep -q 'resumed' log || fail "the second run must say that it resumed"
same "after SIGINT" stop lora
same "after SIGINT" stop export
say "SIGINT: exit code 75, resumed, equal bytes"

start adapter.yaml kill
for step in 6 21 36; do
    await kill $step
    end KILL
    [ "$code" -eq 137 ] || fail "kill -9 at step $step: found exit code $code"
    [ $step -eq 36 ] || start adapter.yaml kill
done
must_run adapter.yaml kill
grep -q "was killed in 'lora'; 4 finished stages are kept$" log || fail "after kill -9 the run must say so"
grep -q 'resumed' log || fail "after kill -9 the run must resume"
same "after kill -9" kill lora
say "kill -9 at three points of train.lora: resumed, equal bytes"

start base.yaml killfull
await killfull 6
end KILL
must_run base.yaml killfull
grep -q 'resumed' log || fail "after kill -9 the run must resume"
same "after kill -9" killfull tiny
say "kill -9 in train.full: resumed, equal bytes"

# ---- damaged checkpoints ----
newest() { ls -d "$1"/work/*/ckpt-* | sort | tail -n 1; }
for what in trainer.safetensors loop.json checkpoint.json; do
    start adapter.yaml "hurt-$what"
    await "hurt-$what" 9
    end KILL
    hurt=$(newest "hurt-$what")
    [ "$(ls -d "hurt-$what"/work/*/ckpt-* | wc -l)" -ge 2 ] || fail "expected two checkpoints"
    case $what in
    trainer.safetensors) printf 'X' | dd of="$hurt/state/$what" bs=1 seek=3000 conv=notrunc 2>/dev/null ;;
    loop.json) sed -i 's/"step": [0-9]*/"step": 4/' "$hurt/state/$what" ;;
    checkpoint.json) : >"$hurt/$what" ;;
    esac
    must_run adapter.yaml "hurt-$what"
    grep -q "checkpoint $(basename "$hurt") is not used: " log || fail "a damaged $what must be reported"
    grep -q 'resumed' log || fail "the checkpoint before the damaged one must be used"
    same "damaged $what" "hurt-$what" lora
done
say "damaged trainer.safetensors, loop.json, checkpoint.json: reported, the one before used, equal bytes"

# ---- chat.tokenize: every conversation is kept, rejected or counted ----
cat >overflow.yaml <<'TEXT'
fmpipe: 1
name: e2e-overflow
base: base
vars: {overflow: {type: string, default: error}}
stages:
  - {id: texts, use: synth.chat, with: {corpus: adapt, version: "1.1", count: 60, seed: 2}}
  - {id: tokens, use: chat.tokenize, on_bad: skip, with: {max_tokens: 160, overflow: "${overflow}"}}
TEXT
fact() { # fact NAME: of the stage that is in `stage`
    sed -n "s/.*\"facts\":{[^}]*\"$1\":\([0-9]*\).*/\1/p" stage
}
for overflow in error drop split; do
    run overflow.yaml over --set overflow=$overflow --json
    [ "$code" -eq 0 ] || fail "overflow: $overflow"
    grep '"event":"stage.end","stage":"tokens"' log >stage
    kept=$(fact records)
    dropped=$(sed -n 's/.*"dropped_too_long":\([0-9]*\).*/\1/p' stage)
    split=$(sed -n 's/.*"split":\([0-9]*\),.*/\1/p' stage)
    rejected=$(sed -n 's/.*"rejected":\([0-9]*\).*/\1/p' stage)
    [ $((kept + dropped + rejected)) -eq 60 ] || fail "overflow: $overflow: $kept kept, $dropped dropped, $rejected rejected of 60"
    echo "ok: overflow: $overflow: $kept kept ($split of them split), $dropped dropped, $rejected rejected"
    case $overflow in
    error)
        too_long=$rejected
        [ "$rejected" -gt 0 ] && [ "$dropped" -eq 0 ] && [ "$split" -eq 0 ] &&
            [ "$(grep -c '"reason":"too_long"' over-runs/latest/rejected.jsonl)" -eq "$rejected" ]
        ;;
    drop) [ "$dropped" -eq "$too_long" ] && [ "$rejected" -eq 0 ] && [ "$split" -eq 0 ] ;;
    split) [ "$split" -eq "$too_long" ] && [ "$kept" -eq 60 ] ;;
    esac || fail "overflow: $overflow: the counts do not fit"
done
# ---- refusals ----
# refused CODE PATTERN PIPELINE ARGUMENTS...
refused() {
    want=$1 pattern=$2 file=$3
    shift 3
    run "$file" refuse "$@"
    [ "$code" -eq "$want" ] || fail "$file $*: expected exit code $want, found $code"
    grep -q -e "$pattern" log || fail "$file $*: expected '$pattern'"
}

sed 's/ on_bad: skip,//' overflow.yaml >strict.yaml
refused 3 'the conversation has [0-9]* tokens, expected at most 160' strict.yaml
cat >missing.yaml <<'TEXT'
fmpipe: 1
name: e2e-missing
base: base
stages:
  - {id: texts, use: synth.chat, with: {corpus: adapt, version: "1.1", count: 4, seed: 2}}
  - {id: tokens, use: chat.tokenize}
TEXT
refused 3 "overflow" missing.yaml
cat >options.yaml <<'TEXT'
fmpipe: 1
name: e2e-options
base: base
stages:
  - {id: texts, use: synth.chat, with: {corpus: adapt, version: "1.1", count: 12, seed: 2}}
  - {id: tokens, use: chat.tokenize, with: {max_tokens: 1024, overflow: error}}
  - {id: lora, use: train.lora, with: {rank: 4, max_steps: 2}}
  - {id: evaluate, use: eval.adapter, from: {records: texts, adapter: lora}, with: {max_new_tokens: 8, max_records: 4}}
  - {id: export, use: export.peft, from: {adapter: lora}, with: {name: tiny_tools}}
TEXT
must_run options.yaml refuse
refused 3 'expected a bin_size of at least max_tokens (1024), found 8' options.yaml --set tokens.bin_size=8
refused 3 'rank' options.yaml --set lora.rank=0
refused 3 'no_such_layer. matches no linear layer' options.yaml --set 'lora.targets=[no_such_layer]'
refused 3 'expected max_new_tokens (64) to be less than max_tokens (32)' options.yaml --set evaluate.max_new_tokens=64 \
    --set evaluate.max_tokens=32
refused 3 "letters, digits and _ in the name, found '-'" options.yaml --set export.name=tiny-tools
refused 3 'new.heads' base.yaml --set tiny.new.heads=5
must_run base.yaml other --set seed=4
cp -RL other-runs/latest/tiny other_base
must_run options.yaml refuse --set "lora.init=$work/a1-runs/latest/lora" --set lora.max_steps=1
! grep -q "another base" log || fail "an adapter of this base must not be warned of"
must_run options.yaml refuse --set base=other_base --set "lora.init=$work/a1-runs/latest/lora" --set lora.max_steps=1
grep -q "warning: lora: init: the adapter was trained on another base, 'tiny-1' (sha256:" log || fail "init of another base: no warning"
say "init: an adapter of another base is told"
cp -R base short
sed -i 's/"max_position_embeddings": [0-9]*/"max_position_embeddings": 100/' short/config.json
refused 3 'tokens, the model has positions for 100' options.yaml --set base=short

cat >mixed.yaml <<'TEXT'
fmpipe: 1
name: e2e-mixed
base: base
stages:
  - {id: texts, use: synth.chat, with: {corpus: adapt, version: "1.1", count: 12, seed: 2}}
  - {id: tok, use: tokenizer.train, from: texts, with: {vocab_size: 580}}
  - {id: other, use: chat.tokenize, from: {records: texts, tokenizer: tok}, with: {max_tokens: 1024, overflow: error}}
  - {id: own, use: chat.tokenize, from: {records: texts}, with: {max_tokens: 1024, overflow: error}}
  - {id: lora, use: train.lora, from: {tokens: TRAIN, eval: EVAL}, with: {rank: 4, max_steps: 2}}
TEXT
sed 's/TRAIN/other/; s/EVAL/own/' mixed.yaml >mixed_train.yaml
sed 's/TRAIN/own/; s/EVAL/other/' mixed.yaml >mixed_eval.yaml
refused 5 'the tokens were made with another tokenizer' mixed_train.yaml
refused 5 'the tokens were made with another tokenizer' mixed_eval.yaml
cat >wrong_base.yaml <<'TEXT'
fmpipe: 1
name: e2e-wrong-base
base: base
stages:
  - {id: texts, use: synth.chat, with: {corpus: adapt, version: "1.1", count: 12, seed: 2}}
  - {id: tokens, use: chat.tokenize, from: {records: texts}, with: {max_tokens: 1024, overflow: error}}
  - {id: next, use: train.full, from: {tokens: tokens, model: base}, with: {name: tiny-2, max_steps: 1}}
  - {id: lora, use: train.lora, from: {tokens: tokens}, with: {rank: 4, max_steps: 2}}
  - {id: export, use: export.peft, from: {adapter: lora, model: next}, with: {name: tiny_tools}}
TEXT
refused 5 'the adapter was trained for the base sha256:' wrong_base.yaml
say "options and mismatches are refused with their exit codes"

# ---- a model whose tokenizer is no tokenizer.json ----
"$fmpipe" model new -q pieces --layers 2 --channels 32 --heads 2 --ff 64 --vocab 272 --seed 3 >log 2>&1 || fail "model new"
cp "$corpus/tokenizer_spm/bpe.model" pieces/tokenizer.model
cat >pieces/tokenizer_config.json <<'TEXT'
{"chat_template": "{% for m in messages %}[{{ m.role }}] {{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}",
 "bos_token": "<s>", "eos_token": "</s>"}
TEXT
cat >pieces.yaml <<'TEXT'
fmpipe: 1
name: e2e-pieces
base: pieces
stages:
  - {id: texts, use: synth.chat, with: {corpus: base, count: 40, seed: 2}}
  - {id: tokens, use: chat.tokenize, with: {max_tokens: 512, overflow: drop}}
  - {id: next, use: train.full, with: {name: pieces-2, max_steps: 2}}
TEXT
"$fmpipe" run -q pieces.yaml --store store --runs runs >log 2>&1 || fail "a SentencePiece tokenizer: exit code $?"
cmp -s pieces/tokenizer.model runs/latest/next/tokenizer.model || fail "the trained model has lost its tokenizer"
say "a model with a SentencePiece file is trained and keeps it"
