#!/bin/sh
# run_render.sh FMPIPE: `fmpipe render` from outside: text, provenance, facts, errors and exit codes.
set -u
fmpipe=$1
NO_COLOR=1
export NO_COLOR
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
failed=0

# expect NAME CODE FILE PATTERN COMMAND...: exit code, and a line of FILE (out or err) that matches.
expect() {
    name=$1 want=$2 file=$3 pattern=$4
    shift 4
    "$@" >out 2>err </dev/null
    code=$?
    if [ "$code" -ne "$want" ]; then
        echo "$name: expected exit code $want, found $code"
        cat out err
        failed=1
    elif ! grep -q -e "$pattern" "$file"; then
        echo "$name: expected a line with '$pattern' in $file, found:"
        cat out err
        failed=1
    fi
}

cat >t.jinja <<'END'
{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</s>{% endfor %}
{% if add_generation_prompt %}<assistant>{% endif %}{{ mood }}
END
cat >c.json <<'END'
{"messages": [{"role": "user", "content": " a </s> \u00e9\n"}], "mood": "!"}
END
echo '[{"role": "user", "content": "b"}]' >row.json

expect text_is_what_jinja_writes 0 out '^<user>a </s> é</s>!$' "$fmpipe" render --template t.jinja --context c.json
[ "$(wc -c <out)" -eq 20 ] || { echo "no_newline_is_added: expected 20 bytes, found $(wc -c <out)"; failed=1; }
expect generation_prompt_is_asked_for 0 out '<assistant>!$' "$fmpipe" render --template t.jinja --context c.json --generation-prompt
expect an_array_is_messages 0 out '^<user>b</s>' "$fmpipe" render --template t.jinja --context row.json
expect provenance_names_path_and_offset 0 out '^ *6 *15  messages\[0\].content from 1  *"a </s> é"$' \
    "$fmpipe" render --template t.jinja --context c.json --provenance
expect provenance_as_json 0 out '{"begin":6,"end":15,"kind":"input","path":"messages\[0\].content","at":1}' \
    "$fmpipe" render --template t.jinja --context c.json --provenance --json
expect builtin_by_name 0 out '^<|bos|><|user|>b<|end|>$' "$fmpipe" render --template fm-chat --context row.json

mkdir model
cp t.jinja model/chat_template.jinja
echo '{"bos_token": {"content": "<s>"}, "eos_token": "</s>"}' >model/tokenizer_config.json
expect a_folder_gives_template_and_tokens 0 out '^<s><user>b</s>$' "$fmpipe" render --template model --context row.json
mkdir model/additional_chat_templates
echo 'with {{ tools | length }}' >model/additional_chat_templates/tool_use.jinja
echo '{"messages": [{"role": "user", "content": "b"}], "tools": [{}]}' >tools.json
expect tools_take_the_template_for_tools 0 out '^with 1$' "$fmpipe" render --template model --context tools.json
expect no_tools_take_the_default 0 out '^<s><user>b</s>$' "$fmpipe" render --template model --context row.json
expect a_template_by_name 0 out '^<s><user>b</s>$' \
    "$fmpipe" render --template model --template-name default --context tools.json
expect an_unknown_template_name 3 err "has no chat template 'rag'; it has default, tool_use" \
    "$fmpipe" render --template model --template-name rag --context row.json
rm -r model/chat_template.jinja model/additional_chat_templates
expect a_folder_without_template 3 err "'model' has no chat template" "$fmpipe" render --template model --context row.json

echo '{{ strftime_now("%Y-%m-%d") }}' >date.jinja
expect the_date_is_given 0 out '^2024-02-29$' "$fmpipe" render --template date.jinja --context row.json --date 2024-02-29
expect no_date_is_no_date 3 err 'no time was given' "$fmpipe" render --template date.jinja --context row.json
expect a_wrong_date 2 err "expected a day such as 2024-07-26, found 'soon'" \
    "$fmpipe" render --template date.jinja --context row.json --date soon

expect facts_as_text 0 out '^rewrites_past  *no$' "$fmpipe" render --template fm-chat --facts
expect facts_of_calls 0 out '^ends_calls  *yes$' "$fmpipe" render --template fm-chat --facts
expect facts_as_json 0 out '"arguments":"either"' "$fmpipe" render --template fm-chat --facts --json
expect facts_of_a_template_that_drops_calls 0 out '^arguments  *none$' "$fmpipe" render --template t.jinja --facts

printf '{%% for m in messages %%}\n{{ m.content.x.y }}{%% endfor %%}' >bad.jinja
expect errors_have_line_and_expression 3 err 'bad.jinja:2:.*has no attribute' "$fmpipe" render --template bad.jinja --context row.json
echo '{{ raise_exception("roles must alternate") }}' >raise.jinja
expect raise_exception_is_shown 3 err 'roles must alternate' "$fmpipe" render --template raise.jinja --context row.json
echo '7' >number.json
expect a_context_is_an_object 3 err 'number.json: expected an object of template variables' \
    "$fmpipe" render --template t.jinja --context number.json
expect no_template 2 err 'render needs --template' "$fmpipe" render --context c.json
expect no_context 2 err 'render needs --context' "$fmpipe" render --template t.jinja
expect no_such_file 74 err 'nowhere.jinja' "$fmpipe" render --template nowhere.jinja --context c.json
expect unfinished_context 3 err 'half.json:1:' sh -c "printf '{\"messages\": [' >half.json; '$fmpipe' render --template t.jinja --context half.json"
exit "$failed"
