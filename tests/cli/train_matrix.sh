#!/bin/sh
# train_matrix.sh FMPIPE PLUGIN_FOLDER KILL_AT.SO [POINTS]: the matrix of kill points and thread counts. train.lora and train.full
# are killed (kill -9) at each of 25 named points with 1, 2, 3 and 8 threads, 200 runs in all; some are killed a second and a third
# time while they go on. Every result must have the bytes of an undisturbed run, and a point that is not reached is an error.
# Not part of the test suite, which has 12 of them (tests/unit/test_train.c): `./dev matrix`, before a release. POINTS: the
# first so many only.
set -eu
fmpipe=$1
FMPIPE_PLUGIN_PATH=$2
kill_at=$3
most=${4:-200}
NO_COLOR=1
export FMPIPE_PLUGIN_PATH NO_COLOR
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
[ -f "$kill_at" ] || { echo "no $kill_at: build the target kill_at" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
# shellcheck source=tests/cli/train_pipelines.sh
. "$here/train_pipelines.sh"

fail() {
    echo "FAILED: $*" >&2
    [ ! -f log ] || cat log >&2
    exit 1
}

# Steps of three rows, so that there is a middle; a checkpoint every 3 steps, every 4 an evaluation that may keep the best.
lora="--set lora.batch=3 --set lora.max_steps=12 --set lora.eval_every=4 --set lora.dora=true --set lora.dropout=0.05"
tiny="--set tiny.batch=3 --set tiny.max_steps=12 --set tiny.checkpoint_every=3"

# Place in time        what it hits
# micro:N              row (N-1) mod 3 of step (N-1)/3; $edge is the row after which the first epoch ends
# end, ended           between the last gradient and the update; after it
# save, write, sync,   each part of writing a checkpoint: tensors, loop state and seal, the folder, its final name
# rename, renamed
points="micro:1 micro:2 micro:3 micro:11 micro:EDGE micro:20 micro:24 micro:36 end:1 end:4 end:7 end:12 ended:3 ended:6 ended:12
save:1 save:2 save:3 write:2 write:5 sync:1 sync:2 rename:2 renamed:3 renamed:1"

# once THREADS POINT PIPELINE STORE OPTIONS...: killed at POINT; "-": to the end. Exit code in $code.
once() {
    with=$1 to=$2 file=$3 store=$4
    shift 4
    code=0
    if [ "$to" = - ]; then
        "$fmpipe" run "$file" --store "$store" --runs "$store-runs" --threads "$with" "$@" >log 2>&1 || code=$?
    else
        LD_PRELOAD=$kill_at FMP_KILL_AT=$to \
            "$fmpipe" run "$file" --store "$store" --runs "$store-runs" --threads "$with" "$@" >log 2>&1 || code=$?
    fi
}
digests() { (cd "$1-runs/latest/$2" && sha256sum -- * | sort -k 2); }
killed_at() { # killed_at THREADS POINT OPTIONS...
    n_kills=$((n_kills + 1))
    with=$1 to=$2
    shift 2
    once "$with" "$to" "$kind.yaml" store "$@"
    [ "$code" -eq 137 ] || fail "$what: $to was not reached: exit code $code"
}

# prepare KIND STAGE OPTIONS...: KIND.want, KIND.edge and the store KIND, in which everything before the training is done
prepare() {
    kind=$1 stage=$2
    shift 2
    once 1 - "$kind.yaml" whole "$@"
    [ "$code" -eq 0 ] || fail "the undisturbed run of $kind"
    digests whole "$stage" >"$kind.want"
    bins=$(sed -n 's/^ . tokens .* \([0-9]*\) rows of .*/\1/p' log)
    [ "${bins:-0}" -gt 0 ] || fail "the run does not tell the number of packed rows"
    echo $((bins + 1)) >"$kind.edge"
    [ "$kind" != base ] || cp -RL "whole-runs/latest/$stage" base
    rm -rf whole whole-runs
    once 1 micro:1 "$kind.yaml" "$kind-store" "$@"
    [ "$code" -eq 137 ] || fail "$kind cannot be killed before its first row: exit code $code"
}
# shellcheck disable=SC2086
prepare base tiny $tiny
# shellcheck disable=SC2086
prepare adapter lora $lora

n=0 n_kills=0
for point in $points; do
    for threads in 1 2 3 8; do
        for kind in base adapter; do
            [ "$n" -lt "$most" ] || break 3
            n=$((n + 1))
            case $kind in base) stage=tiny options=$tiny ;; *) stage=lora options=$lora ;; esac
            at=$(echo "$point" | sed "s/EDGE/$(cat $kind.edge)/")
            what="$kind, $threads threads, $point"
            rm -rf store store-runs
            cp -R "$kind-store" store
            cp -R "$kind-store-runs" store-runs
            # shellcheck disable=SC2086
            killed_at "$threads" "$at" $options
            # what is left of the run after a late point may be too little for further ones
            case $((n % 5)):$point in
            *:ended:12 | *:end:12 | *:micro:36) ;;
            0:* | 2:*) # in the middle of the step that it goes on with
                # shellcheck disable=SC2086
                killed_at $((1 + n % 3)) micro:2 $options ;;
            4:*) # twice: before it has done anything, and after the next update
                # shellcheck disable=SC2086
                killed_at 2 micro:1 $options
                # shellcheck disable=SC2086
                killed_at $((1 + n % 8)) ended:1 $options ;;
            esac
            # shellcheck disable=SC2086
            once $((1 + (n + 1) % 4)) - "$kind.yaml" store $options
            [ "$code" -eq 0 ] || fail "$what: the run that goes on ended with exit code $code"
            digests store $stage >found
            cmp -s "$kind.want" found || fail "$what: other bytes"
        done
    done
done
echo "ok: $n results after $n_kills kills at named points, threads 1, 2, 3, 8: equal bytes"
