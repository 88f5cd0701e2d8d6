#!/bin/sh
# compressed.sh FMPIPE PLUGINS: compressed input is read by its content, whatever its name; a damaged file is an error.
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/common.sh"
awk 'BEGIN { for (i = 0; i < 20000; i++) printf "[{\"role\":\"user\",\"content\":\"Question %d\"},{\"role\":\"assistant\",\"content\":\"Answer %d\"}]\n", i, i }' >plain
canonical plain ""
cp out/records.jsonl expected
[ "$(lines expected)" = 20000 ] || fail "expected 20000 records of the plain file"

tried=""
for tool in gzip zstd xz bzip2; do
    command -v "$tool" >/dev/null 2>&1 || { echo "no $tool here: left out"; continue; }
    "$tool" -c <plain >data.bin
    canonical data.bin ""
    cmp -s expected out/records.jsonl || fail "$tool: other records than from the plain file"
    : | "$tool" -c >empty.bin
    canonical empty.bin ""
    [ "$(lines out/records.jsonl)" = 0 ] || fail "$tool: an empty file gave records"
    head -c 3000 data.bin >cut.bin
    sed 's/data.bin/cut.bin/; s/empty.bin/cut.bin/' pipeline.yaml >cut.yaml
    code=0
    "$fmpipe" run -q cut.yaml >log 2>&1 || code=$?
    [ "$code" = 74 ] || { cat log; fail "$tool: expected exit code 74 for a file cut short, found $code"; }
    grep -q 'cannot decompress the file' log || { cat log; fail "$tool: the message does not say what failed"; }
    tried="$tried $tool"
done
if command -v gzip >/dev/null 2>&1; then # two members in one file, and a byte order mark inside
    { printf '\357\273\277' | cat - plain | gzip -c; gzip -c <plain; } >two.bin
    canonical two.bin ""
    cat expected expected | cmp -s - out/records.jsonl || fail "two gzip members are not read one after the other"
fi
echo "the same records from:$tried"
