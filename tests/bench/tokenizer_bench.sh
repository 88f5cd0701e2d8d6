#!/bin/sh
# tokenizer_bench.sh: MB/s of encoding on one thread, and beside it the same bytes by Hugging Face `tokenizers` and OpenAI's
# `tiktoken` in a throwaway environment outside the tree; ids are compared.
#   BENCH=PATH     the program tokenizer_bench (cmake --build BUILD --target tokenizer_bench)
#   DATA=FOLDER    the shared data: tokenizers/, text/, sgd/
#   BYTES=2000000  of each text        ROUNDS=3   of the peers, the best counts
#   EXTRA="NAME=tokenizer.json ..."    more vocabularies
#   PYTHON=PATH    an interpreter that has both peers already
set -eu
here=$(cd "$(dirname "$0")" && pwd)
bench=${BENCH:?set BENCH to the program tokenizer_bench}
data=${DATA:-${FMP_SHARED_DATA:-$here/../../../shared/data}}
bytes=${BYTES:-2000000}
[ -d "$data/tokenizers" ] || { echo "skipped: $data has no tokenizers/"; exit 0; }
work=$(mktemp -d "${TMPDIR:-/tmp}/fmpipe-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT

# Whole lines, at most so many bytes.
take() { head -c "$bytes" | sed '$d' >"$work/$1.txt"; }
cat "$data"/text/english-novels/*.txt | take en
cat "$data"/sgd/train.openai.jsonl | take json
cat "$data"/text/wagahaiwa_nekodearu.txt | take ja
cat "$data"/text/french-novels/*.txt | take fr
# The peers recognise special tokens in text, which fmpipe does only where asked: no line with one.
cat "$here"/../../core/*/*.c | grep -vE '<\||</?[a-z]+>|>>' | take code

python=${PYTHON:-}
if [ -z "$python" ]; then
    python3 -m venv "$work/peer" && "$work/peer/bin/pip" -q install tokenizers tiktoken || {
        echo "the peers could not be installed"
        exit 1
    }
    python=$work/peer/bin/python
fi
echo "$(nproc) cores, load$(cut -d' ' -f1-3 /proc/loadavg | sed 's/^/ /'); MB/s of processor time"
TOKENIZERS_PARALLELISM=false "$python" "$here/tokenizer_bench.py" "$bench" "$data/tokenizers" "$work" "${ROUNDS:-3}" ${EXTRA:-}
