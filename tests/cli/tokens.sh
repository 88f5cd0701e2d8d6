#!/bin/sh
# tokens.sh FMPIPE PLUGIN_FOLDER: `tokenizer` and `inspect tokens` from outside, and what happens to an adapter whose
# tokenizer or template changed, on models made on the spot.
set -u
fmpipe=$1
FMPIPE_PLUGIN_PATH=$2
NO_COLOR=1
export FMPIPE_PLUGIN_PATH NO_COLOR
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
failed=0

complain() {
    echo "FAILED: $*"
    cat out err
    failed=1
}

# expect NAME CODE PATTERN COMMAND...: exit code, and a line of stdout or stderr that matches. stdin is the caller's.
expect() {
    name=$1 want=$2 pattern=$3
    shift 3
    "$@" >out 2>err
    code=$?
    [ "$code" -eq "$want" ] || complain "$name: expected exit code $want, found $code"
    cat out err | grep -q -e "$pattern" || complain "$name: expected a line with '$pattern', found:"
}

cat >data.yaml <<'END'
fmpipe: 1
name: data
seed: 3
stages:
  - {id: made, use: synth.chat, with: {corpus: adapt, count: 60}}
  - {id: write, use: jsonl.write, with: {name: chats.jsonl}}
END
"$fmpipe" run data.yaml >out 2>err || complain "the data"
cp runs/latest/write/chats.jsonl chats.jsonl && chmod u+w chats.jsonl

# ---- tokenizer ----
expect train_writes_a_tokenizer 0 '^a/tokenizer.json from ' \
    "$fmpipe" tokenizer train --out a --vocab-size 500 --special-token '<|end|>' --eos '<|end|>' chats.jsonl
"$fmpipe" tokenizer train --out b --vocab-size 500 --special-token '<|end|>' --eos '<|end|>' chats.jsonl >out 2>err
cmp -s a/tokenizer.json b/tokenizer.json || complain "the same files make another tokenizer"
expect train_needs_out 2 'needs --out DIR' "$fmpipe" tokenizer train chats.jsonl
printf '{"text":"fine"}\n{"txt":"x"}\n' >rows.jsonl
expect train_names_the_row_without_text 3 "rows.jsonl:2:1: error: expected an object with a text 'text'" \
    "$fmpipe" tokenizer train --out c --vocab-size 400 rows.jsonl
printf '{"txt":"some text of some kind"}\n' >fields.jsonl
expect train_takes_another_field 0 '"dir":"c",.*"texts":1,"bytes":22' \
    "$fmpipe" tokenizer train --out c --vocab-size 300 --field txt --json fields.jsonl
expect train_needs_files_that_exist 74 'nowhere.txt' "$fmpipe" tokenizer train --out c nowhere.txt

printf 'line one\nzwei  ünïcode 🙂\n\tthree <|end|>\n' >text
for lines in "" --lines; do
    # shellcheck disable=SC2086
    "$fmpipe" tokenizer encode --tokenizer a $lines <text >ids 2>err || complain "encode $lines"
    # shellcheck disable=SC2086
    "$fmpipe" tokenizer decode --tokenizer a/tokenizer.json $lines <ids >back 2>err || complain "decode $lines"
    cmp -s text back || complain "encode and decode $lines do not give the text back"
done
[ "$(wc -l <ids)" -eq 3 ] || complain "expected a line of ids for each line"
expect special_only_where_asked 0 '"ids":\[0\],"offsets":\[\[0,7\]\]' \
    "$fmpipe" tokenizer encode --tokenizer a --lines --special --json <<'END'
<|end|>
END
expect special_is_text_otherwise 0 '"ids":\[[^0]' "$fmpipe" tokenizer encode --tokenizer a --lines --json <<'END'
<|end|>
END
expect decode_names_the_wrong_id 3 "id 2: expected a number below 500, found 'x'" \
    "$fmpipe" tokenizer decode --tokenizer a <<'END'
1 x
END
expect decode_names_the_line 3 "in line 2 of stdin" "$fmpipe" tokenizer decode --tokenizer a --lines <<'END'
1
500
END
expect encode_refuses_what_is_no_text 3 'UTF-8' sh -c 'printf "a\377" | "$1" tokenizer encode --tokenizer a' - "$fmpipe"
expect info_shows_roles 0 '^eos *0 *<|end|>$' "$fmpipe" tokenizer info --tokenizer a
expect info_as_json 0 '"size":500,' "$fmpipe" tokenizer info --tokenizer a --json
expect unknown_action 2 "expected encode, decode, info, train or check, found 'encod'" "$fmpipe" tokenizer encod
expect an_option_of_another_action_is_refused 2 'tokenizer decode takes no --special' \
    "$fmpipe" tokenizer decode --tokenizer a --special
expect tokenizer_is_needed 2 'needs --tokenizer PATH' "$fmpipe" tokenizer info

# ---- models with different vocabularies; an adapter of the first ----
cat >pipeline.yaml <<'END'
fmpipe: 1
name: tokens
seed: 3
vars: {judge: {type: string, default: one}}
stages:
  - {id: read, use: jsonl.read, with: {path: chats.jsonl}}
  - {id: guide, use: schema.guide, with: {forced_weight: 0.1}}
  - {id: words, use: tokenizer.train, from: guide, with: {vocab_size: 600}}
  - {id: fewer, use: tokenizer.train, from: guide, with: {vocab_size: 512}}
  - {id: tokens, use: chat.tokenize, from: {records: guide, tokenizer: words}, with: {max_tokens: 512, overflow: drop}}
  - {id: others, use: chat.tokenize, from: {records: guide, tokenizer: fewer}, with: {max_tokens: 512, overflow: drop}}
  - id: one
    use: train.full
    from: {tokens: tokens}
    with: {name: one, max_steps: 1, new: {layers: 1, channels: 32, heads: 2, kv_heads: 1, ff: 64}}
  - id: two
    use: train.full
    from: {tokens: others}
    with: {name: two, max_steps: 1, new: {layers: 1, channels: 32, heads: 2, kv_heads: 1, ff: 64}}
  - {id: adapter, use: train.lora, from: {tokens: tokens, model: one}, with: {rank: 2, max_steps: 1}}
  - {id: judged, use: eval.adapter, from: {records: guide, adapter: adapter, model: "${judge}"}, with: {max_records: 2, max_new_tokens: 4}}
  - {id: export, use: export.peft, from: {adapter: adapter, model: one}, with: {name: small}}
END
expect adapter_is_judged 0 'judged .*questions' "$fmpipe" run pipeline.yaml
[ -f runs/latest/export/golden.json ] || complain "the export has no golden.json"
for config in $(find -L .fmpipe/objects -name config.json); do
    model=$(dirname "$config")
    if "$fmpipe" tokenizer check --tokenizer "$model" runs/latest/export >>checked 2>>refused; then one=$model; fi
done
expect golden_conversations_travel 0 '^8 golden conversations: same text, same ids$' cat checked
expect and_fit_their_own_model_only 0 'the tokenizer is not the one that was trained with' cat refused
expect another_tokenizer_is_refused_by_name 5 'the tokenizer is not the one that was trained with: golden conversation' \
    "$fmpipe" run pipeline.yaml --set judge=two

# ---- inspect tokens ----
line=$(grep -n '"response_format"' chats.jsonl | head -n 1 | cut -d: -f1)
expect a_line_of_the_run 0 'chats.jsonl:1 · stage tokens .* · sequence 0, row ' "$fmpipe" inspect tokens chats.jsonl:1
expect template_tokens_are_named 0 " template  *'<|assistant|>'  *template" "$fmpipe" inspect tokens chats.jsonl:1
expect learned_tokens_have_a_weight 0 " 1  *learned  *'<|end|>'  *template" "$fmpipe" inspect tokens chats.jsonl:1
expect forced_tokens_are_shown 0 ' 0.1  *forced .* messages\[1\].content' "$fmpipe" inspect tokens "chats.jsonl:$line"
"$fmpipe" inspect tokens chats.jsonl:2 --json >line2 2>err
record=$(sed -n '1s/.*"record":"\([0-9a-f]*\)".*/\1/p' line2)
"$fmpipe" inspect tokens "$record" --json >byid 2>err
cmp -s line2 byid || complain "a record's id and its line show different things"
expect as_trained 0 '"as_trained":true' head -n 1 line2
[ "$(grep -c '"event":"token"' line2)" -gt 20 ] || complain "expected a line for each token"
expect a_line_that_is_not_there 3 "no record that run runs/latest made tokens of is 'chats.jsonl:1000'" \
    "$fmpipe" inspect tokens chats.jsonl:1000
expect a_row_as_it_is 0 "^chats.jsonl:3 · [0-9]* tokens, " "$fmpipe" inspect tokens chats.jsonl:3 --model "$one"
printf '{"messages":[{"role":"user","content":"Hi"},{"role":"user","content":"x"}]}\n' >bad.jsonl
expect a_bad_row_is_refused_in_its_place 3 '^bad.jsonl:1:' "$fmpipe" inspect tokens bad.jsonl:1 --model "$one"
expect template_needs_a_model 2 'inspect tokens without --model takes no --template' \
    "$fmpipe" inspect tokens chats.jsonl:1 --template fm-chat
expect run_takes_no_model 2 'inspect run takes no --model' "$fmpipe" inspect run --model x
expect no_run_says_what_to_do 74 'give --model DIR' "$fmpipe" --runs nowhere inspect tokens chats.jsonl:1
expect an_artifact 0 '^length .* 90 % up to' "$fmpipe" inspect tokens "$(dirname "$(find -L .fmpipe/objects -name tokens.bin | head -n 1)")"
expect a_folder_without_tokens 74 'tokens.bin' "$fmpipe" inspect tokens runs

[ "$failed" -eq 0 ] && echo ok
exit "$failed"
