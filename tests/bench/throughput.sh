#!/bin/sh
# throughput.sh: conversations a second and peak memory of reading, tagging, filtering and writing, and beside it the same
# work by Hugging Face `datasets` in a throwaway environment outside the tree.
#   ROWS=300000    rows of about 700 bytes        ROUNDS=3   of each, the best counts
#   PEER=datasets  pip requirement; PEER= skips it
set -eu
fmpipe=${FMPIPE:-fmpipe}
rows=${ROWS:-300000}
rounds=${ROUNDS:-3}
peer=${PEER-datasets}
work=$(mktemp -d "${TMPDIR:-/tmp}/fmpipe-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

awk -v n="$rows" 'BEGIN {
    for (i = 0; i < n; i++) {
        printf "{\"id\": \"r%07d\", \"locale\": \"%s\", \"messages\": [", i, i % 3 ? "en-US" : "en-GB"
        printf "{\"role\": \"user\", \"content\": \"I want to make a restaurant reservation for %d people at half past %d.\"}, ", i % 9 + 1, i % 12
        printf "{\"role\": \"assistant\", \"content\": \"What city do you want to dine in? Do you have a preferred restaurant?\"}, "
        printf "{\"role\": \"user\", \"content\": \"Please find restaurants in San Jose. Can you try number %d?\"}, ", i
        printf "{\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": [{\"id\": \"call_1\", \"type\": \"function\", \"function\": "
        printf "{\"name\": \"ReserveRestaurant\", \"arguments\": \"{\\\"location\\\": \\\"San Jose\\\", \\\"number\\\": %d}\"}}]}, ", i
        printf "{\"role\": \"tool\", \"tool_call_id\": \"call_1\", \"content\": \"{\\\"ok\\\": true}\"}, "
        print "{\"role\": \"assistant\", \"content\": \"Done, your table is booked.\"}]}"
    }
}' >rows.jsonl
echo "$rows rows, $(($(wc -c <rows.jsonl) / rows)) bytes a row, $(nproc) cores, load$(cut -d' ' -f1-3 /proc/loadavg | sed 's/^/ /')"

cat >pipeline.yaml <<'TEXT'
fmpipe: 1
stages:
  - {id: read, use: jsonl.read, with: {path: rows.jsonl}}
  - {id: tag, use: locale.tag, with: {use: explicit}}
  - {id: keep, use: text.filter, with: {min_messages: 2, max_chars: 100000}}
  - {id: write, use: jsonl.write}
TEXT
best=0
for _ in $(seq "$rounds"); do
    rm -rf .fmpipe runs
    "$fmpipe" run -q pipeline.yaml >/dev/null 2>log || { cat log; exit 1; }
    [ "$(wc -l <runs/latest/write/records.jsonl)" = "$rows" ] || { echo "expected $rows records in the output"; exit 1; }
    seconds=$(sed -n 's/.*"seconds": *\([0-9.]*\).*/\1/p' runs/latest/manifest.json | head -n 1)
    peak=$(sed -n 's/.*"peak_bytes": *\([0-9]*\).*/\1/p' runs/latest/manifest.json | head -n 1)
    best=$(awk -v b="$best" -v n="$rows" -v s="$seconds" 'BEGIN { r = n / s; print int(r > b ? r : b) }')
done
echo "fmpipe    $best conversations/s, peak $((peak / 1048576)) MiB (the whole run: hashing the input, the store, the manifest)"

[ -n "$peer" ] || exit 0
python3 -m venv peer && peer/bin/pip -q install "$peer" || { echo "the peer could not be installed: left out"; exit 0; }
cat >peer.py <<'TEXT'
import os, resource, shutil, time
os.environ["HF_HUB_OFFLINE"] = "1"
import datasets
datasets.disable_progress_bars()
cores = os.cpu_count()
best = 0
for _ in range(int(os.environ["ROUNDS"])):
    shutil.rmtree("peer-cache", ignore_errors=True)
    begin = time.time()
    rows = datasets.load_dataset("json", data_files="rows.jsonl", split="train", cache_dir="peer-cache", num_proc=1)
    rows = rows.map(lambda row: {"locale": row["locale"].replace("_", "-")}, num_proc=cores)
    rows = rows.filter(lambda row: len(row["messages"]) >= 2 and sum(len(m["content"]) for m in row["messages"]) <= 100000, num_proc=cores)
    rows.to_json("peer.jsonl", num_proc=cores)
    best = max(best, len(rows) / (time.time() - begin))
peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(f"{best:.0f} {peak // 1024} {datasets.__version__}")
TEXT
ROUNDS=$rounds HF_HOME=$work/hf peer/bin/python peer.py >peer.out 2>peer.log || { tail -n 3 peer.log; echo "the peer failed"; exit 1; }
read -r rate mib version <peer.out
echo "datasets  $rate conversations/s, peak $mib MiB in its largest process (version $version, load, map, filter, to_json)"
echo "ratio     $(awk -v a="$best" -v b="$rate" 'BEGIN { printf "%.1f", a / b }') to 1"
