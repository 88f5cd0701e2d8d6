#!/bin/sh
# base.sh: rebuild the bundled base models with the pipeline beside this script and compare them with base/, byte for byte.
#   ./dev base             rebuild into build/base and compare; exit 1 if a byte differs
#   ./dev base --replace   rebuild and put the result into base/ and data/
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
out=$root/build/base
mkdir -p "$out"
fmpipe=${FMPIPE:-$root/build/release/bin/fmpipe}

"$fmpipe" run "$here/base.yaml" --store "$out/store" --runs "$out/runs"
models=$(CDPATH='' cd -P -- "$out/runs/latest" && pwd)
"$fmpipe" run "$here/data.yaml" --store "$out/store" --runs "$out/runs"
data=$(CDPATH='' cd -P -- "$out/runs/latest" && pwd)

result=0
same() { # same NEW OLD
    if [ "${replace:-}" = yes ]; then
        mkdir -p "$(dirname -- "$2")"
        cp -L "$1" "$2"
        chmod 644 "$2"
    elif cmp -s "$1" "$2"; then
        echo "equal    ${2#"$root"/}"
    else
        echo "DIFFERS  ${2#"$root"/}"
        result=1
    fi
}
[ "${1:-}" = --replace ] && replace=yes

for version in 1.0 1.1; do
    stage=fm_tiny_$(echo "$version" | tr -d .)
    for file in config.json generation_config.json model.safetensors tokenizer.json tokenizer_config.json chat_template.jinja; do
        same "$models/$stage/$file" "$here/base/fm-tiny-$version/$file"
    done
done
same "$data/train_file/train.jsonl" "$here/data/train.jsonl"
same "$data/heldout_file/heldout.jsonl" "$here/data/heldout.jsonl"
[ $result -eq 0 ] || echo "The models depend on the processor's instruction set: compare on a machine like the one named in base/README.md." >&2
exit $result
