#!/bin/sh
# generate.sh FMPIPE PLUGIN_FOLDER: `fmpipe generate` with the bundled model: the forms of a prompt, the forms of an answer, what an
# answer does not depend on, and what is refused. No text is compared with a stored one: another base says something else.
set -u
fmpipe=$1
FMPIPE_PLUGIN_PATH=$2
NO_COLOR=1
export FMPIPE_PLUGIN_PATH NO_COLOR
model=$(cd "$(dirname "$0")/../../pipelines/quickstart/base" 2>/dev/null && pwd)/fm-tiny-1.1
[ -f "$model/model.safetensors" ] || { echo "skipped: there is no $model"; exit 77; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failed=0

fail() {
    echo "FAILED: $*"
    [ ! -f out ] || cat out
    [ ! -f err ] || cat err
    failed=1
}
# generate CODE ARGUMENTS...: stdout in out, stderr in err; stdin as it is
generate() {
    want=$1
    shift
    "$fmpipe" generate --model "$model" "$@" >out 2>err
    code=$?
    [ "$code" -eq "$want" ] || fail "generate $*: expected exit code $want, found $code"
}
# says FILE PATTERN WHAT
says() { grep -q -e "$2" "$1" || fail "$3: expected '$2' in $1"; }
# texts FILE: the answers of lines of JSON
texts() { sed -n 's/^{"v":1,"event":"answer".*"text":\(".*"\)}$/\1/p' "$1"; }

# ---- one prompt ----
ask="Hello! Could you set the lights in the kitchen to 11%?"
generate 0 --prompt "$ask"
cp out plain
says err '^1 answer · prompts [0-9]* tokens · answers [0-9]* tokens · [0-9.]* tokens/s$' "what an answer took"
generate 0 --prompt "$ask" -q
cmp -s out plain || fail "--quiet changes the answer"
[ ! -s err ] || fail "--quiet: something on stderr"
generate 0 --prompt "$ask" --json
says out '^{"v":1,"event":"text","text":"' "the text as it comes"
says out '^{"v":1,"event":"answer","prompt_tokens":[0-9]*,"tokens":[0-9]*,"finish":"stop","text":"' "the whole answer"
says out '^{"v":1,"event":"generate.end","answers":1,"rejected":0,"prompt_tokens":[0-9]*,"tokens":[0-9]*,"seconds":[0-9.]*}$' "the end"
[ ! -s err ] || fail "--json: something on stderr"
sed -n 's/^{"v":1,"event":"text","text":"\(.*\)"}$/\1/p' out | tr -d '\n' >pieces
echo >>pieces
cmp -s pieces plain || fail "the pieces of the text are not the text"

# ---- stop texts, lengths, continuing a text ----
word=$(cut -d' ' -f2 plain)
generate 0 --prompt "$ask" --stop "no such text" --stop " $word" --json
says out "\"finish\":\"stop\",\"text\":\"$(cut -d' ' -f1 plain)\"}" "an answer ends before a stop text"
generate 0 --prompt "$ask" --max-new-tokens 2 --json
says out '"tokens":2,"finish":"length"' "an answer of two tokens"
generate 0 --raw --prompt "The" --max-new-tokens 5 --json
says out '"prompt_tokens":1,"tokens":' "a text is continued without a template"

# ---- rows ----
cat >rows.jsonl <<'END'
{"prompt": "Hello! Could you set the lights in the kitchen to 11%?", "id": "first"}
[{"role": "user", "content": "Good morning"}]

{"messages": [{"role": "user", "content": "Good morning"}, {"role": "assistant", "content": "left out"}]}
{"messages": [{"role": "user", "content": "Set an alarm for 7:30, please."}], "id": "last"}
END
generate 0 rows.jsonl
cp out rows.out
[ "$(wc -l <out)" -eq 4 ] || fail "expected an answer a row"
says out '"event":"answer","line":1,"id":"first",' "a row's line and id"
says out '"event":"answer","line":5,"id":"last",' "blank lines count as lines"
texts out >t
[ "$(sed -n 1p t)" = "\"$(cat plain)\"" ] || fail "a row's answer is not that of the same prompt"
[ "$(sed -n 2p t)" = "$(sed -n 3p t)" ] || fail "a last message of the assistant is part of the prompt"
for how in "--batch 1" "--batch 2 --threads 1" "--threads 3"; do
    # shellcheck disable=SC2086
    generate 0 rows.jsonl $how
    cmp -s out rows.out || fail "other answers with $how"
    # shellcheck disable=SC2086
    generate 0 - $how <rows.jsonl
    cmp -s out rows.out || fail "other answers from stdin with $how"
done
generate 0 --prompt "$ask" --temperature 100 --top-p 0
cmp -s out plain || fail "--top-p 0 must leave the most likely token alone"
generate 0 --prompt "$ask" --temperature 0 --top-p 0.5
cmp -s out plain || fail "--temperature 0 is the most likely token, whatever is filtered"
draw="--temperature 1.2 --top-k 50 --top-p 0.95 --min-p 0.01"
# shellcheck disable=SC2086
generate 0 rows.jsonl $draw --seed 3
cp out drawn
# shellcheck disable=SC2086
generate 0 rows.jsonl $draw --seed 3 --batch 1 --threads 1
cmp -s out drawn || fail "other draws in another batch"
# shellcheck disable=SC2086
generate 0 rows.jsonl $draw --seed 4
! cmp -s out drawn || fail "the same draws from another seed"
for kind in bf16 q8; do
    generate 0 rows.jsonl --cache $kind --precision bf16
    [ "$(wc -l <out)" -eq 4 ] || fail "--cache $kind: expected an answer a row"
done

# ---- rows that cannot be asked ----
cat >bad.jsonl <<'END'
{"prompt": 3}
{"prompt": "Good morning"}
{"messages": [{"role": "user", "con
{"messages": [{"role": "assistant", "content": "alone"}]}
END
generate 3 bad.jsonl
says err '^bad.jsonl:1: error: expected "messages", a "prompt" text, or an array of messages$' "a row of another form"
says err '^bad.jsonl:3:[0-9]*: error: ' "a row that is not JSON, with its column"
says err '^bad.jsonl:4: error: there is no message to answer$' "a row without a question"
says out '"line":2,' "the row between"
[ "$(wc -l <out)" -eq 1 ] || fail "expected one answer"
generate 3 bad.jsonl --json
says out '"event":"diagnostic","severity":"error","file":"bad.jsonl","line":1,' "a diagnostic as JSON"
says out '"event":"generate.end","answers":1,"rejected":3,' "the count of rejected rows"

# ---- a talk ----
printf 'Good morning\nWhat did I say?\n/reset\nGood morning\n\n/exit\nnot read\n' >talk
generate 0 --chat --json <talk
texts out >t
[ "$(wc -l <t)" -eq 3 ] || fail "expected three answers of a talk"
[ "$(sed -n 1p t)" = "$(sed -n 3p t)" ] || fail "/reset leaves something behind"
n=$(sed -n 's/.*"event":"answer","prompt_tokens":\([0-9]*\),.*/\1/p' out | sed -n 2p)
first=$(sed -n 's/.*"event":"answer","prompt_tokens":\([0-9]*\),.*/\1/p' out | sed -n 1p)
[ "$n" -gt $((first + 5)) ] || fail "the second turn does not see the first"
generate 0 --chat --system "You are brief." --json <talk
[ "$(sed -n 's/.*"event":"answer","prompt_tokens":\([0-9]*\),.*/\1/p' out | sed -n 1p)" -gt "$first" ] || fail "--system is not in the prompt"

# ---- an adapter, here one that unlearns everything ----
cat >lora.yaml <<END
fmpipe: 1
name: unlearn
seed: 1
base: $model
stages:
  - {id: made, use: synth.chat, with: {corpus: adapt, count: 6}}
  - {id: tokens, use: chat.tokenize, with: {max_tokens: 1024, overflow: drop}}
  - {id: train, use: train.lora, with: {rank: 2, max_steps: 4, epochs: 9, batch: 1, learning_rate: 0.3, warmup: 0}}
END
if "$fmpipe" run lora.yaml >out 2>err; then
    generate 0 --prompt "$ask" --max-new-tokens 24 --adapter runs/latest/train
    ! cmp -s out plain || fail "--adapter changes nothing"
    generate 0 rows.jsonl --max-new-tokens 24 --adapter runs/latest/train
    cp out rows.out
    generate 0 rows.jsonl --max-new-tokens 24 --adapter runs/latest/train --batch 1 --threads 1
    cmp -s out rows.out || fail "with an adapter: other answers in another batch"
    printf '{"prompt": "%s"}\n' "$ask" >row.jsonl
    generate 0 row.jsonl --max-new-tokens 24
    [ "$(texts out)" = "\"$(cat plain)\"" ] || fail "the model alone answers otherwise after an adapter"
else
    fail "cannot train an adapter"
fi

# ---- what is refused ----
# refused CODE PATTERN ARGUMENTS...
refused() {
    want=$1 pattern=$2
    shift 2
    generate "$want" "$@" </dev/null
    says err "$pattern" "generate $*"
    [ ! -s out ] || fail "generate $*: something on stdout"
}
refused 2 'expected one of --prompt TEXT, --chat and a FILE of rows'
refused 2 'expected one of --prompt TEXT, --chat and a FILE of rows' --prompt x --chat
refused 2 "raw uses no chat template" --raw --chat
refused 2 "^error: --temperature: expected a number from 0 to 100, found 'hot'" --prompt x --temperature hot
refused 2 "^error: --top-p: expected a number from 0 to 1, found '2'" --prompt x --top-p 2
refused 2 "^error: --top-k chooses what is drawn from: it needs --temperature" --prompt x --top-k 5
refused 2 "^error: --tokenizer goes with --raw" --prompt x --tokenizer "$model"
refused 2 "^error: --cache: expected one of f32, bf16, q8, found 'f64'" --prompt x --cache f64
refused 2 '^error: --max-new-tokens: expected 1 or more' --prompt x --max-new-tokens 0
refused 2 '^error: --stop: expected a text' --prompt x --stop ''
refused 74 'cannot read nowhere.jsonl' nowhere.jsonl
refused 74 'while opening adapter nowhere' --prompt x --adapter nowhere
refused 74 'cannot open nowhere.jinja' --prompt x --template nowhere.jinja
"$fmpipe" generate --prompt x >out 2>err
[ $? -eq 2 ] || fail "no model: expected exit code 2"
says err '^error: generate needs --model DIR$' "no model"
"$fmpipe" help generate >out
says out '^ *--min-p P ' "help"

[ "$failed" -eq 0 ] && echo "generate: all as expected"
exit "$failed"
