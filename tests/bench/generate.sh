#!/bin/sh
# generate.sh: tokens per second of generation, batch 1 and 8, each kind of weights and cache, on a random model of SmolLM2-135M's
# shape; and the share of what this machine's memory allows. Builds generate_bench where the program's build lies.
set -eu
build=$(CDPATH='' cd -- "$(dirname -- "$FMPIPE")/.." && pwd)
cmake --build "$build" --target generate_bench >/dev/null
for kinds in "bf16 f32" "bf16 q8" "f32 f32"; do
    # shellcheck disable=SC2086
    "$build/bin/generate_bench" "${THREADS:-2}" $kinds
done
