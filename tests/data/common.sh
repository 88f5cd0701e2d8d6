# common.sh: sourced by the scripts beside it. Moves to a fresh folder that goes away at the end.
set -eu
fmpipe=$1
FMPIPE_PLUGIN_PATH=$2
NO_COLOR=1
export FMPIPE_PLUGIN_PATH NO_COLOR
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() { echo "FAILED: $*" >&2; exit 1; }

need_shared_data() {
    if [ -z "${FMP_SHARED_DATA:-}" ] || [ ! -d "$FMP_SHARED_DATA" ]; then
        echo "skipped: FMP_SHARED_DATA names no folder, so there is no real data to read"
        exit 77
    fi
}

# canonical FILE OPTIONS: FILE read by jsonl.read with OPTIONS ("" or ", key: value") and written as it was understood.
# The records are in out/records.jsonl, the refused rows in rejected.jsonl.
canonical() {
    cat >pipeline.yaml <<TEXT
fmpipe: 1
stages:
  - {id: read, use: jsonl.read, on_bad: skip, with: {path: "$1"$2}}
  - {id: write, use: jsonl.write}
TEXT
    rm -rf out rejected.jsonl
    "$fmpipe" run -q pipeline.yaml >log 2>&1 || { cat log >&2; fail "reading $1"; }
    mkdir out
    cp runs/latest/write/records.jsonl out/
    : >rejected.jsonl
    [ ! -f runs/latest/rejected.jsonl ] || cp runs/latest/rejected.jsonl rejected.jsonl
}

lines() { wc -l <"$1" | tr -d ' '; }
