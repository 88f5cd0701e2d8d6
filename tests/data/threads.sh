#!/bin/sh
# threads.sh FMPIPE PLUGINS: all eight data stages in one pipeline give the same bytes for 1, 2, 3 and 8 threads, the refused
# rows included.
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/common.sh"
awk 'BEGIN {
    for (i = 0; i < 12000; i++) {
        if (i % 997 == 0) { print "not json " i; continue }
        if (i % 499 == 0) { print "{\"messages\":[{\"role\":\"user\",\"content\":\"row " i " has no answer\"}]}"; continue }
        printf "{\"id\": \"r%d\", \"messages\": [{\"role\": \"user\", \"content\": \"Please book table %d for %d people, ", i, i % 700, i % 9
        printf "my address is guest%d@mail.example.org and the card is 4111 1111 1111 1111.\"}, ", i % 50
        printf "{\"role\": \"assistant\", \"content\": \"Table %d is booked, you will receive a message soon.\"}]", i % 700
        printf "%s}\n", i % 3 ? ", \"locale\": \"" (i % 2 ? "en-us" : "EN-GB") "\"" : ""
    }
}' >rows.jsonl
cat >pipeline.yaml <<'TEXT'
fmpipe: 1
seed: 11
stages:
  - {id: read, use: jsonl.read, on_bad: skip, with: {path: rows.jsonl}}
  - {id: tag, use: locale.tag, on_bad: skip, with: {default: en, system: add_missing}}
  - {id: redact, use: text.redact}
  - {id: keep, use: text.filter, on_bad: skip, with: {max_chars: 400, drop_regex: ["table 13 "]}}
  - {id: unique, use: data.dedup, with: {threshold: 0.95}}
  - {id: split, use: data.split, with: {eval: 0.1, test: 0.1, min_per_stratum: 5}}
  - {id: mix, use: data.mix, from: {records: [split.train, split.eval]}, with: {weights: {split: 1}}}
  - {id: write, use: jsonl.write, on_bad: skip, with: {form: openai, drop: [locale, meta]}}
TEXT
for n in 1 2 3 8; do
    rm -rf .fmpipe runs
    "$fmpipe" run -q --threads "$n" pipeline.yaml >log 2>&1 || { cat log; fail "$n threads: the run failed"; }
    mkdir "t$n"
    cp runs/latest/write/records.jsonl runs/latest/rejected.jsonl "t$n/"
    [ "$(lines "t$n/records.jsonl")" -gt 100 ] || fail "$n threads: hardly any records came out"
    [ "$(lines "t$n/rejected.jsonl")" -gt 10 ] || fail "$n threads: hardly any rows were refused"
    diff -r t1 "t$n" >/dev/null || fail "$n threads give other bytes than one"
done
echo "1, 2, 3 and 8 threads: the same $(lines t1/records.jsonl) records and $(lines t1/rejected.jsonl) refusals"
