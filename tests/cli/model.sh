#!/bin/sh
# model.sh FMPIPE: `model new`, `inspect`, `convert` and `logits` from outside, on models made on the spot; and, where the data of
# others is there, a real llama2.c model converted.
set -u
fmpipe=$1
NO_COLOR=1
export NO_COLOR
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
failed=0

complain() {
    echo "FAILED: $*"
    cat out err
    failed=1
}

# expect NAME CODE PATTERN COMMAND...: exit code, and a line of stdout or stderr that matches.
expect() {
    name=$1 want=$2 pattern=$3
    shift 3
    "$@" >out 2>err
    code=$?
    [ "$code" -eq "$want" ] || complain "$name: expected exit code $want, found $code"
    cat out err | grep -q -e "$pattern" || complain "$name: expected a line with '$pattern', found:"
}

same() {
    cmp -s "$2" "$3" || { echo "FAILED: $1: $2 and $3 differ"; failed=1; }
}

# ---- every family: made, looked at, asked ----
printf '1 5 9\n2 2\n' >ids
for family in llama mistral qwen2 qwen3 smollm3 gemma gemma2 gemma3_text phi3 olmo2 fmpipe; do
    expect "new $family" 0 "wrote m/$family: $family, " "$fmpipe" model new "m/$family" --family "$family" --layers 4 --channels 32 \
        --heads 4 --kv-heads 2 --head-size 8 --ff 48 --vocab 40 --seed 3
    expect "inspect $family" 0 "weights    all there" "$fmpipe" model inspect "m/$family"
    expect "logits $family" 0 "logits (5, 40)" "$fmpipe" model logits --model "m/$family" --tokens ids --out logits.npy
    [ "$(wc -c <logits.npy)" -eq $((128 + 5 * 40 * 4)) ] || complain "logits $family: the size of the file"
done
expect "kinds of layers" 0 "layers     0-3: window of 4,096 tokens, RoPE base 10000, QK-norm" "$fmpipe" model inspect m/gemma3_text
expect "layers without RoPE" 0 "layers     3: full attention, no RoPE" "$fmpipe" model inspect m/smollm3

# ---- the forms of ids; texts do not see each other; threads ----
"$fmpipe" model logits -q --model m/qwen3 --tokens ids --out a.npy --threads 1
printf '[[1, 5, 9], [2, 2]]' >ids.json
"$fmpipe" model logits -q --model m/qwen3 --tokens ids.json --out b.npy --threads 3
same "ids as JSON, three threads" a.npy b.npy
printf '2 2' >second
"$fmpipe" model logits -q --model m/qwen3 --tokens second --out c.npy
tail -c $((2 * 40 * 4)) a.npy >a.tail
tail -c $((2 * 40 * 4)) c.npy >c.tail
same "a text alone" a.tail c.tail

# ---- copies: the same model, in another type, from a seed ----
expect "digest" 0 "digest     sha256:" "$fmpipe" model inspect m/gemma2 --digest
grep digest out >before
expect "convert" 0 "missing: tokenizer.json" "$fmpipe" model convert m/gemma2 copy
"$fmpipe" model inspect copy --digest | grep digest >after
same "a converted folder's digest" before after
expect "bf16" 0 "wrote half" "$fmpipe" model convert m/gemma2 half --dtype bf16
"$fmpipe" model inspect half --digest | grep digest >after
cmp -s before after && { echo "FAILED: weights rounded to bf16 have the digest of f32"; failed=1; }
"$fmpipe" model new again --family gemma2 --layers 4 --channels 32 --heads 4 --kv-heads 2 --head-size 8 --ff 48 --vocab 40 --seed 3 >out
same "the same seed" m/gemma2/model.safetensors again/model.safetensors
"$fmpipe" model new other --config again --seed 4 >out
cmp -s again/model.safetensors other/model.safetensors && { echo "FAILED: two seeds, one model"; failed=1; }

# ---- counts without weights ----
cat >toolkit.json <<'END'
{"model_type": "fmpipe", "hidden_size": 2048, "num_hidden_layers": 56, "num_attention_heads": 16, "num_key_value_heads": 2,
 "head_dim": 128, "intermediate_size": 6656, "vocab_size": 153600, "max_position_embeddings": 4096, "num_kv_shared_layers": 21}
END
expect "the toolkit's LoRA" 0 "lora       66,633,728 in 700 tensors, rank 32; with the model's 3,178,001,792" \
    "$fmpipe" model inspect toolkit.json --lora 32
expect "shared keys and values" 0 "layers     35-55: full attention, QK-norm, keys and values of layer 34" \
    "$fmpipe" model inspect toolkit.json
expect "counts as JSON" 0 '"params":3111368064.*"lora_params":66633728.*"weights":false' "$fmpipe" model inspect toolkit.json --lora 32 --json

# ---- mistakes ----
expect "no such command" 2 "expected inspect, convert, new or logits, found 'look'" "$fmpipe" model look
expect "logits without tokens" 2 "logits needs --model DIR, --tokens FILE and --out FILE.npy" "$fmpipe" model logits --model m/llama
expect "an unknown family" 3 "'model_type': expected one of llama, .*found 'gpt2'" "$fmpipe" model new x --family gpt2 --layers 2
[ ! -e x ] || { echo "FAILED: a refused model left something"; failed=1; }
expect "a missing size" 3 "'hidden_size' is missing" "$fmpipe" model new x --layers 2
expect "an odd type" 2 "expected f32 or bf16, found 'f16'" "$fmpipe" model convert m/llama x --dtype f16
printf '1 2 40\n' >high
expect "an id outside" 3 "token 2: id 40 is outside the vocabulary of 40" "$fmpipe" model logits --model m/llama --tokens high --out x.npy
printf '1 two\n' >word
expect "a word" 3 "line 1: expected token ids, found 'two" "$fmpipe" model logits --model m/llama --tokens word --out x.npy
printf '1 2\0 3\n' >nul
expect "a NUL among ids" 3 "line 1: expected token ids, found ''" "$fmpipe" model logits --model m/llama --tokens nul --out x.npy
printf '[1, [2, 3]]' >both
expect "ids and texts" 3 "expected numbers, or arrays of numbers, not both" "$fmpipe" model logits --model m/llama --tokens both --out x.npy
# the last tensor is the last norm's gain: 32 times the largest f32, so that products overflow
cp -R m/llama huge
size=$(wc -c <m/llama/model.safetensors)
head -c "$((size - 128))" m/llama/model.safetensors >huge/model.safetensors
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32; do printf '\377\377\177\177'; done \
    >>huge/model.safetensors
printf '1 2 3\n' >three
expect "logits beyond f32" 3 "the logits of token 0 are not finite numbers" "$fmpipe" model logits --model huge --tokens three --out huge.npy
[ ! -e huge.npy ] || { echo "FAILED: logits that are not finite were written"; failed=1; }
mkfifo pipe
printf '1 2\n' >two
expect "onto a pipe" 74 "cannot write pipe: it is not a regular file" "$fmpipe" model logits --model m/llama --tokens two --out pipe
[ -p pipe ] || { echo "FAILED: a file took the place of a pipe"; failed=1; }
printf 'not a model at all, but long enough to be looked at' >junk
expect "not a model" 3 "its header is not that of a llama2.c model" "$fmpipe" model convert junk x
printf '24ka\002\000\000\000' >v2
head -c 300 /dev/zero >>v2
expect "quantised llama2.c" 3 "llama2.c version 2 (quantised weights)" "$fmpipe" model inspect v2
expect "what to do about it" 3 "export.py --version 0 or 1" "$fmpipe" model inspect v2
expect "the tokenizer of another model" 3 "it ends at token 0; the model has 40" "$fmpipe" model convert m/llama x --tokenizer word
[ ! -e x ] || { echo "FAILED: convert wrote the weights before it looked at the tokenizer"; failed=1; }
expect "nothing there" 74 "nowhere" "$fmpipe" model inspect nowhere

# ---- a real one ----
stories=${FMP_SHARED_DATA:-}/stories260k
if [ -f "$stories/stories260K.bin" ]; then
    expect "llama2.c" 0 "wrote story: llama, 260,032 parameters" "$fmpipe" model convert "$stories/stories260K.bin" story \
        --tokenizer "$stories/tok512.bin"
    printf 'Once upon a time, there was a little girl' >text
    "$fmpipe" tokenizer encode --tokenizer story <text >a.ids
    "$fmpipe" tokenizer encode --tokenizer "$stories/tok512.bin" <text >b.ids
    same "the converted tokenizer" a.ids b.ids
    expect "the story" 0 "named Lily. She loved to play outside in the park" "$fmpipe" generate --model story --raw \
        --prompt "Once upon a time, there was a little girl" --max-new-tokens 40
    "$fmpipe" model logits -q --model story --tokens a.ids --out a.npy
    "$fmpipe" model logits -q --model "$stories/stories260K.bin" --tokens a.ids --out b.npy
    same "logits of the file and of the folder" a.npy b.npy
    "$fmpipe" generate -q --model "$stories/stories260K.bin" --tokenizer "$stories/tok512.bin" --raw --prompt "" --max-new-tokens 200 \
        >file.txt
    "$fmpipe" generate -q --model story --raw --prompt "" --max-new-tokens 200 >folder.txt
    same "200 tokens of the file and of the folder" file.txt folder.txt
    [ "$(cat file.txt)" = "$(cat "$stories/expected_greedy_200.txt")" ] || { echo "FAILED: not llama2.c's 200 tokens"; failed=1; }
    expect "the wrong vocabulary" 3 "it ends at token 512; the model has 600" sh -c \
        "'$fmpipe' model new big --layers 1 --channels 8 --heads 1 --ff 8 --vocab 600 && '$fmpipe' model convert big x --tokenizer '$stories/tok512.bin'"
else
    echo "no data/stories260k: a real llama2.c model is not converted here"
fi
[ "$failed" -eq 0 ] && echo "ok"
exit "$failed"
