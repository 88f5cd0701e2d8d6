#!/bin/sh
# out_of_tree.sh CMAKE BUILD_DIR SOURCE_DIR LIBDIR: what a team outside this tree does, from installation to a run.
# Says the step that failed and exits 1. Nothing is left behind.
set -u
cmake=$1 build=$2 source=$3 libdir=$4
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix

step() {
    what=$1
    shift
    if ! "$@" > "$work/log" 2>&1; then
        echo "FAILED: $what: $*"
        cat "$work/log"
        exit 1
    fi
    echo "ok: $what"
}

step "install" "$cmake" --install "$build" --prefix "$prefix"
export PKG_CONFIG_PATH="$prefix/$libdir/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}"
export PATH="$prefix/bin:$PATH"
step "the installed program starts" fmpipe version
step "the installed plugins are found" fmpipe plugin inspect text.filter

# Built by CMake's package, with the note written after linking.
cp -r "$source/transforms" "$work/transforms" || exit 1
for name in rewrite_terms persona_system schema_inject; do
    folder=$work/transforms/$name
    step "$name: configure" "$cmake" -S "$folder" -B "$folder/build" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_BUILD_TYPE=Release
    step "$name: build" "$cmake" --build "$folder/build"
    step "$name: cases" fmpipe plugin test "$folder/build/$name.so" "$folder"/cases/*.case
done
echo '{"formats": {"a": {"type": "A"}}, "rules": [{"from": 1, "to": 9, "format": "a"}]}' > "$work/rules.json"
step "rewrite_terms: check" fmpipe plugin check --with '{"rules":[{"name":"a","from":"o+","to":"<$0>"}]}' \
    "$work/transforms/rewrite_terms/build/rewrite_terms.so"
step "persona_system: check" fmpipe plugin check --with '{"personas":[{"locale":"*","text":"Be kind."}]}' \
    "$work/transforms/persona_system/build/persona_system.so"
step "schema_inject: check" fmpipe plugin check --with "{\"rules\":\"$work/rules.json\"}" \
    "$work/transforms/schema_inject/build/schema_inject.so"

# A new plugin, built by the one line that `plugin new` prints, without a note.
cd "$work" || exit 1
step "plugin new" fmpipe plugin new acme.shout
cd acme_shout || exit 1
step "gcc line" sh -c 'gcc -std=c11 -shared -fPIC -fvisibility=hidden $(pkg-config --cflags fmpipe) acme_shout.c -o acme_shout.so'
step "new: cases" fmpipe plugin test acme_shout.so cases/basic.case
step "new: check" fmpipe plugin check --with '{"prefix": "> "}' acme_shout.so
step "new: the note can be written twice" sh -c 'fmpipe plugin note acme_shout.so && cp acme_shout.so once.so &&
    fmpipe plugin note acme_shout.so && cmp once.so acme_shout.so'
cd "$work" || exit 1

cat > in.jsonl <<'DATA'
{"messages":[{"role":"user","content":"Hello  Foo"},{"role":"assistant","content":"Foo it is."}],"locale":"en"}
{"messages":[{"role":"user","content":"Hallo Foo"},{"role":"assistant","content":"Ja."}],"locale":"de-DE"}
DATA
cat > pipeline.yaml <<'PIPELINE'
fmpipe: 1
name: outside
stages:
  - {id: read, use: jsonl.read, with: {path: in.jsonl}}
  - id: terms
    use: ./transforms/rewrite_terms/build/rewrite_terms.so
    with: {rules: [{name: foo, from: Foo, to: Bar}]}
  - id: persona
    use: ./transforms/persona_system/build/persona_system.so
    isolation: process
    with: {personas: [{locale: de, text: Antworte kurz.}, {locale: "*", text: Be brief.}]}
  - {id: shout, use: ./acme_shout/acme_shout.so, with: {prefix: "> "}}
  - {id: write, use: jsonl.write, with: {name: out.jsonl}}
PIPELINE
cat > expected.jsonl <<'DATA'
{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"> Hello  Bar"},{"role":"assistant","content":"Bar it is."}],"locale":"en"}
{"messages":[{"role":"system","content":"Antworte kurz."},{"role":"user","content":"> Hallo Bar"},{"role":"assistant","content":"Ja."}],"locale":"de-DE"}
DATA
step "run a pipeline with them" fmpipe run pipeline.yaml
step "its output" sh -c 'cmp expected.jsonl "$(ls -d runs/*/write/out.jsonl | head -1)"'
