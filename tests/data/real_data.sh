#!/bin/sh
# real_data.sh FMPIPE PLUGINS: real rows through every form that fits them; none may get lost unsaid.
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/common.sh"
need_shared_data

# Both forms of the same dialogues: equal documents but for meta, which only the OpenAI rows have.
for part in train dev; do
    for form in openai toolkit; do
        file=$FMP_SHARED_DATA/sgd/$part.$form.jsonl
        canonical "$file" ""
        [ "$(lines out/records.jsonl)" = "$(lines "$file")" ] || fail "sgd/$part.$form: $(lines rejected.jsonl) rows are refused"
        sed 's/,"meta":{[^{}]*}}$/}/' out/records.jsonl >"$form"
    done
    cmp openai toolkit || fail "sgd/$part: the two forms give different documents"
    echo "sgd/$part: $(lines openai) dialogues, both forms the same"
done

# The toolkit form comes out as it went in.
file=$FMP_SHARED_DATA/sgd/train.toolkit.jsonl
cat >back.yaml <<TEXT
fmpipe: 1
stages:
  - {id: read, use: jsonl.read, with: {path: "$file"}}
  - {id: write, use: jsonl.write, with: {form: toolkit, style: spaced}}
TEXT
"$fmpipe" run -q back.yaml >log 2>&1 || { cat log; fail "writing the toolkit form"; }
canonical "$work/runs/latest/write/records.jsonl" ""
sed 's/,"meta":{[^{}]*}}$/}/' out/records.jsonl >again
canonical "$file" ""
cmp again out/records.jsonl || fail "the toolkit form does not survive a round trip"
echo "sgd/train.toolkit: $(lines again) dialogues survive a round trip"

# Question and answer as Alpaca rows.
sed 's/^{"question": /{"instruction": /; s/, "answer": /, "output": /' "$FMP_SHARED_DATA/gsm8k/train.jsonl" >gsm8k.jsonl
canonical gsm8k.jsonl ""
[ "$(lines out/records.jsonl)" = 7473 ] || fail "gsm8k: expected 7473 records, found $(lines out/records.jsonl)"
echo "gsm8k: 7473 of 7473 rows"

if command -v jq >/dev/null 2>&1; then
    misc=$FMP_SHARED_DATA/toolcall-misc/llamafactory
    jq -c '.[]' "$misc/glaive_toolcall_en_demo.json" >glaive_en.jsonl
    jq -c '.[]' "$misc/glaive_toolcall_zh_demo.json" >glaive_zh.jsonl
    jq -c '.[]' "$FMP_SHARED_DATA/chat/llamafactory/identity.json" >identity.jsonl
    jq -c '{instruction,input:.instances[0].input,output:.instances[0].output}' \
        "$FMP_SHARED_DATA/chat/self-instruct/data/seed_tasks.jsonl" >self_instruct.jsonl
    # Two of the Chinese rows have a tool result without a call before it.
    for expected in glaive_en:300 glaive_zh:298 identity:91 self_instruct:175; do
        name=${expected%:*}
        canonical "$name.jsonl" ""
        [ "$(lines out/records.jsonl)" = "${expected#*:}" ] || fail "$name: expected ${expected#*:} records, found $(lines out/records.jsonl)"
        [ "$(lines rejected.jsonl)" = $(($(lines "$name.jsonl") - ${expected#*:})) ] || fail "$name: rows got lost unsaid"
        echo "$name: ${expected#*:} of $(lines "$name.jsonl") rows"
    done
else
    echo "no jq here: ShareGPT and self-instruct rows are left out"
fi
