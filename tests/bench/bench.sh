#!/bin/sh
# bench.sh [NAME]: run every benchmark of this folder, or the one named NAME (throughput: throughput.sh). Entry of
# `./dev bench`. FMPIPE and FMPIPE_PLUGIN_PATH say which build is measured; the release build if they are not set.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
build=$(CDPATH='' cd -- "$here/../.." && pwd)/build/release
FMPIPE=${FMPIPE:-$build/bin/fmpipe}
FMPIPE_PLUGIN_PATH=${FMPIPE_PLUGIN_PATH:-$build/lib/fmpipe/plugins}
export FMPIPE FMPIPE_PLUGIN_PATH
[ -x "$FMPIPE" ] || { echo "bench: no program at $FMPIPE; build it first: ./dev build" >&2; exit 2; }
ran=0
for script in "$here"/*.sh; do
    name=$(basename "$script" .sh)
    [ "$name" != bench ] || continue
    [ $# -eq 0 ] || [ "$1" = "$name" ] || continue
    echo "== $name"
    sh "$script"
    ran=1
done
[ "$ran" = 1 ] || { echo "bench: no benchmark named '$1'" >&2; exit 2; }
