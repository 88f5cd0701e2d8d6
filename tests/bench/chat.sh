#!/bin/sh
# chat.sh: conversations a second from parsed record to token ids and loss weights on one thread, and beside it the same
# conversations by `transformers` (apply_chat_template to ids) in a throwaway environment outside the tree. Both run in turn,
# ROUNDS times, and the best of each counts. The tokenizer, the template and the conversations are those of the shared data.
#   ROUNDS=3   PEER="transformers jinja2"  pip requirements; PEER= skips it   PEER_PYTHON  a Python that has them
set -eu
build=${FMP_BUILD:-$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)/build/release}
data=${FMP_SHARED_DATA:-$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)/../shared/data}
rounds=${ROUNDS:-3}
peer=${PEER-transformers jinja2}
tokenizer=$data/tokenizers/hf-gpt2/gpt2.json
template=$data/chat-templates/llamacpp-2025-02/Qwen-Qwen2.5-7B-Instruct.jinja
rows=$data/sgd/train.openai.jsonl
for file in "$tokenizer" "$template" "$rows"; do
    [ -f "$file" ] || { echo "skipped: there is no $file"; exit 0; }
done
work=$(mktemp -d "${TMPDIR:-/tmp}/fmpipe-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
cmake --build "$build" --target chat_bench >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }

python=${PEER_PYTHON:-}
if [ -z "$python" ] && [ -n "$peer" ]; then
    # shellcheck disable=SC2086
    if python3 -m venv "$work/peer" && "$work/peer/bin/pip" -q install $peer; then
        python=$work/peer/bin/python
    else
        echo "the peer could not be installed: left out"
    fi
fi
cat >"$work/peer.py" <<'TEXT'
import json, os, sys, time
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
import transformers
tokenizer, template, rows = sys.argv[1:4]
tok = transformers.PreTrainedTokenizerFast(tokenizer_file=tokenizer, eos_token="<|im_end|>",
                                           additional_special_tokens=["<|im_start|>", "<|im_end|>"])
tok.chat_template = open(template, encoding="utf-8").read()
talks = [json.loads(line) for line in open(rows, encoding="utf-8")]
for talk in talks:
    for message in talk["messages"]:
        for call in message.get("tool_calls") or []:
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
n = 0
begin = time.perf_counter()
for talk in talks:
    n += len(tok.apply_chat_template(talk["messages"], tools=talk.get("tools"), tokenize=True, return_dict=False))
seconds = time.perf_counter() - begin
print(f"{len(talks) / seconds:.0f} {n} {transformers.__version__}")
TEXT
ours=0 theirs=0 i=0
while [ "$i" -lt "$rounds" ]; do
    rate=$("$build/bin/chat_bench" "$tokenizer" "$template" "$rows" | tee "$work/ours" | sed -n '1s/ .*//p')
    if [ "$rate" -gt "$ours" ]; then ours=$rate && cp "$work/ours" "$work/best"; fi
    if [ -n "$python" ]; then
        "$python" "$work/peer.py" "$tokenizer" "$template" "$rows" >"$work/peer.out" 2>"$work/peer.log" ||
            { tail -n 3 "$work/peer.log"; echo "the peer failed: left out"; python=; continue; }
        read -r rate tokens version <"$work/peer.out"
        if [ "$rate" -gt "$theirs" ]; then theirs=$rate; fi
    fi
    i=$((i + 1))
done
echo "fmpipe        $(cat "$work/best")"
[ -n "$python" ] || exit 0
echo "transformers  $theirs conversations/s to ids, without a mask ($tokens tokens in all, version $version)"
echo "ratio         $(awk -v a="$ours" -v b="$theirs" 'BEGIN { printf "%.1f", a / b }') to 1"
