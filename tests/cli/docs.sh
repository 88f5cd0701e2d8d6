#!/bin/sh
# docs.sh FMPIPE SOURCE_DIR BUILD_DIR CMAKE LIBDIR: every example of README.md, docs/ and
# plugins/*/*.md is run, and what they claim is compared.
#
# The word after the language of a fence says what a block is:
#
#   ```yaml                a pipeline if its first line is "fmpipe: 1": it must validate. Other yaml is a piece, not tested.
#   ```yaml file=NAME      the same, and kept as NAME for the commands of the page. Any language can have file=NAME.
#   ```sh run              commands, run in order, stopping at the first that fails
#   ```text output         each line must occur in what the commands before it printed; "…" stands for anything
#
# Every page starts in a folder of its own with data/chats.jsonl and models/base, as docs/how-to/sample-data.md makes them
# (that page itself starts in an empty one), and with the repository's pipelines/.
# On the pages of stages, any data/NAME.jsonl that they name is there. `fmpipe`, its headers and its CMake
# package are found as if installed.
set -u
fmpipe=$1 source=$2 build=$3 cmake=$4 libdir=$5
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0 n_pipelines=0 n_commands=0

"$cmake" --install "$build" --prefix "$work/prefix" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
PATH=$work/prefix/bin:$PATH
PKG_CONFIG_PATH=$work/prefix/$libdir/pkgconfig
CMAKE_PREFIX_PATH=$work/prefix
NO_COLOR=1
export PATH PKG_CONFIG_PATH CMAKE_PREFIX_PATH NO_COLOR
unset FMPIPE_PLUGIN_PATH

complain() {
    echo "FAILED: $page: block at line $line: $*"
    failed=1
}

# blocks FILE FOLDER: every fence as FOLDER/NNN.txt, with a line "NNN LINE INFO" each on stdout.
blocks() {
    awk -v out="$2" '
        /^ *```/ && !inside { inside = 1; n++; info = $0; sub(/^ *```/, "", info); indent = match($0, /`/) - 1
                              file = sprintf("%s/%03d.txt", out, n); printf "" >file
                              printf "%03d %d %s\n", n, NR, info; next }
        /^ *```$/ && inside { inside = 0; close(file); next }
        inside              { print substr($0, indent + 1) >file }' "$1"
}

# run_block FILE: the commands, and what they print in `printed`.
run_block() {
    n_commands=$((n_commands + 1))
    if ! sh -eu "$1" >printed 2>&1 </dev/null; then
        complain "the commands fail:"
        cat "$1" printed
    fi
}

# compare_block FILE: every line of it in `printed`, blanks squeezed, since columns depend on the names beside them.
compare_block() {
    tr -s ' ' <printed >squeezed
    while IFS= read -r wanted; do
        pattern=$(printf '%s' "$wanted" | tr -s ' ' | sed -e 's/[][\\.*^$]/\\&/g' -e 's/…/.*/g')
        grep -q -e "$pattern" squeezed || complain "expected a line '$wanted', found:
$(cat printed)"
    done <"$1"
}

check_block() { # check_block NUMBER INFO...
    block=$work/blocks/$1.txt
    shift
    language=${1:-} kind=${2:-}
    case $kind in
    file=*)
        mkdir -p "$(dirname "${kind#file=}")"
        cp "$block" "${kind#file=}" ;;
    run) run_block "$block" ;;
    output) compare_block "$block" ;;
    "") ;;
    *) complain "unknown word '$kind' after the language" ;;
    esac
    if [ "$language" = yaml ] && head -n 1 "$block" | grep -q '^fmpipe: 1'; then
        n_pipelines=$((n_pipelines + 1))
        cp "$block" validated.yaml
        fmpipe validate validated.yaml >said 2>&1 || complain "the pipeline does not validate:
$(cat said)"
    fi
}

# check_page FILE FOLDER
check_page() {
    page=${1#"$source"/}
    rm -rf "$work/blocks" && mkdir -p "$work/blocks" "$2" && cd "$2" || exit 1
    blocks "$1" "$work/blocks" >"$work/index"
    while read -r number line info <&3; do
        # shellcheck disable=SC2086
        check_block "$number" $info
    done 3<"$work/index"
}

check_page "$source/docs/how-to/sample-data.md" "$work/sample"
[ "$failed" -eq 0 ] || exit 1
for file in "$source/README.md" $(find "$source/docs" "$source/plugins" -name '*.md' | sort); do
    [ -f "$file" ] && [ "$file" != "$source/docs/how-to/sample-data.md" ] || continue
    rm -rf "$work/page" && mkdir "$work/page" && cp -r "$work/sample/data" "$work/sample/models" "$work/page/" || exit 1
    ln -s "$source/pipelines" "$work/page/pipelines"
    case $file in
    "$source/plugins/"*)
        for name in $(grep -o 'data/[a-z_]*\.jsonl' "$file" | sort -u); do
            [ -e "$work/page/$name" ] || cp "$work/sample/data/chats.jsonl" "$work/page/$name"
        done ;;
    esac
    check_page "$file" "$work/page"
done

# The reference of the stages is what the program prints.
if ! fmpipe docs | cmp -s - "$source/docs/reference/stages.md"; then
    echo "FAILED: docs/reference/stages.md is not what 'fmpipe docs' prints; renew it with: fmpipe docs > docs/reference/stages.md"
    failed=1
fi
# A link to a file of the repository leads somewhere.
for file in "$source/README.md" $(find "$source/docs" -name '*.md'); do
    [ -f "$file" ] || continue
    grep -o '](\([^)#:]*\))' "$file" | sed 's/^](//; s/)$//' | while read -r link; do
        [ -e "$(dirname "$file")/$link" ] || echo "FAILED: ${file#"$source"/}: the link $link leads nowhere"
    done
done >"$work/links"
[ -s "$work/links" ] && { cat "$work/links"; failed=1; }
[ "$failed" -eq 0 ] && echo "ok: $n_pipelines pipelines, $n_commands blocks of commands"
exit "$failed"
