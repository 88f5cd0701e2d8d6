#!/bin/sh
# run_data_mistakes.sh FMPIPE PLUGIN_FOLDER [--update]: every data_mistakes/*.jsonl is read by a pipeline of two stages,
# which must refuse it with exit code 3 and exactly the text of the .expected file beside it.
set -u
fmpipe=$1
FMPIPE_PLUGIN_PATH=$2
NO_COLOR=1
export FMPIPE_PLUGIN_PATH NO_COLOR
update=${3:-}
cases=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)/data_mistakes
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failed=0
count=0
for file in "$cases"/[0-9]*.jsonl; do
    name=$(basename "$file" .jsonl)
    cp "$file" .
    cat >pipeline.yaml <<TEXT
fmpipe: 1
stages:
  - {id: read, use: jsonl.read, with: {path: $name.jsonl}}
  - {id: write, use: jsonl.write}
TEXT
    "$fmpipe" run -q pipeline.yaml >out 2>&1
    code=$?
    sed 's|runs/[0-9a-f-]*/|runs/RUN/|' out >"$name.found"
    count=$((count + 1))
    if [ "$code" -ne 3 ]; then
        echo "$name: expected exit code 3, found $code"
        cat "$name.found"
        failed=1
    elif [ "$update" = --update ]; then
        cp "$name.found" "$cases/$name.expected"
    elif ! diff -u "$cases/$name.expected" "$name.found"; then
        echo "$name: the output differs"
        failed=1
    fi
done
echo "$count mistakes"
[ "$count" -ge 20 ] || failed=1
exit $failed
