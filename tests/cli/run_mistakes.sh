#!/bin/sh
# run_mistakes.sh FMPIPE PLUGIN_FOLDER [--update]: every mistakes/*.yaml must be refused with exit code 3 and exactly the
# text of its .expected file, by `fmpipe validate`, or by `fmpipe run` where its first line is "# run"; a run that is
# refused leaves no run folder. A .set file beside it holds --set arguments, one a line.
set -u
fmpipe=$1
FMPIPE_PLUGIN_PATH=$2
NO_COLOR=1
export FMPIPE_PLUGIN_PATH NO_COLOR
update=${3:-}
cd "$(dirname "$0")/mistakes" || exit 1
out=$(mktemp) || exit 1
trap 'rm -rf "$out" "$out.store" "$out.runs"' EXIT
failed=0
count=0
for case in [0-9]*.yaml; do
    name=${case%.yaml}
    set --
    if [ -f "$name.set" ]; then
        while IFS= read -r line; do set -- "$@" --set "$line"; done <"$name.set"
    fi
    command=validate
    if [ "$(head -n 1 "$case")" = "# run" ]; then
        command=run
        set -- --store "$out.store" --runs "$out.runs" "$@"
    fi
    "$fmpipe" $command "$case" "$@" >"$out" 2>&1
    code=$?
    if [ -e "$out.runs" ]; then
        echo "$name: expected no run folder, found $(ls "$out.runs")"
        failed=1
    fi
    here=$(pwd)
    sed "s|$here|FOLDER|g" "$out" >"$out.text" && mv "$out.text" "$out"
    count=$((count + 1))
    if [ "$code" -ne 3 ]; then
        echo "$name: expected exit code 3, found $code"
        cat "$out"
        failed=1
    elif [ "$update" = --update ]; then
        cp "$out" "$name.expected" && chmod 644 "$name.expected"
    elif ! diff -u "$name.expected" "$out"; then
        echo "$name: the output differs"
        failed=1
    fi
done
echo "$count mistakes"
exit $failed
