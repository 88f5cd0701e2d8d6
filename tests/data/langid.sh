#!/bin/sh
# langid.sh FMPIPE PLUGINS: accuracy of locale.tag's detection at the default confidence. A text counts as right when it is
# tagged with its language, as wrong when tagged with another or refused.
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/common.sh"
need_shared_data

as_rows() { # stdin: a text a line
    tr -d '\000-\010\013-\037' | sed 's/\\/\\\\/g; s/"/\\"/g; s/\t/ /g; /^ *$/d; s/^/[{"role":"system","content":"S"},{"role":"user","content":"/; s/$/"}]/'
}

# right LANGUAGE ROWS -> the number of rows that are tagged with it
right() {
    cat >pipeline.yaml <<TEXT
fmpipe: 1
stages:
  - {id: read, use: jsonl.read, with: {path: $2, require_last: user}}
  - {id: tag, use: locale.tag, on_bad: skip, with: {use: detect}}
  - {id: write, use: jsonl.write}
TEXT
    "$fmpipe" run -q pipeline.yaml >log 2>&1 || { cat log >&2; fail "tagging $1"; }
    grep -c "\"locale\":\"$1[\"-]" runs/latest/write/records.jsonl || true
}

measure() { # NAME LEAST BYTES FOLDER LANGUAGE:FILE... -> a line; lines of BYTES or more; fails below LEAST tenths of a percent
    name=$1 least=$2 bytes=$3 folder=$4 sum=0 n=0 text=""
    shift 4
    for pair in "$@"; do
        language=${pair%%:*}
        LC_ALL=C awk -v least="$bytes" 'length($0) >= least' "$folder/${pair#*:}.txt" | as_rows >"$language.jsonl"
        got=$(right "$language" "$language.jsonl")
        all=$(lines "$language.jsonl")
        tenths=$((got * 1000 / all))
        text="$text $language $((tenths / 10)).$((tenths % 10))"
        sum=$((sum + tenths))
        n=$((n + 1))
    done
    mean=$((sum / n))
    echo "$name: mean $((mean / 10)).$((mean % 10)) % ($text )"
    [ "$mean" -ge "$least" ] || fail "$name: expected at least $least tenths of a percent"
}

lingua=$FMP_SHARED_DATA/langid-lingua
measure "UDHR paragraphs" 900 60 "$FMP_SHARED_DATA/langid-udhr" en:eng de:deu fr:fra es:spa pt:por_BR ja:jpn zh:cmn_hans
measure "sentences" 940 1 "$lingua/sentences" en:en de:de fr:fr es:es pt:pt ja:ja zh:zh
measure "word pairs" 600 1 "$lingua/word-pairs" en:en de:de fr:fr es:es pt:pt ja:ja zh:zh
