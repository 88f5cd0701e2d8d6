# train_pipelines.sh: base.yaml and adapter.yaml of train.sh and train_matrix.sh, written where this is sourced: a base model
# trained from nothing (stage 'tiny') and an adapter for it (stage
# 'lora'), exported.
cat >base.yaml <<'TEXT'
fmpipe: 1
name: e2e-base
seed: 3
stages:
  - {id: texts, use: synth.chat, with: {corpus: base, version: "1.1", count: 200, seed: 1}}
  - {id: tok, use: tokenizer.train, from: texts, with: {vocab_size: 600}}
  - {id: tokens, use: chat.tokenize, from: {records: texts, tokenizer: tok},
     with: {max_tokens: 1024, overflow: drop, supervise: all, context_weight: 0.1}}
  - {id: tiny, use: train.full, from: {tokens: tokens},
     with: {name: tiny-1, new: {layers: 2, channels: 64, heads: 4, kv_heads: 2, ff: 128}, max_steps: 24, epochs: 24, batch: 2,
            checkpoint_every: 2}}
TEXT
cat >adapter.yaml <<'TEXT'
fmpipe: 1
name: e2e-adapter
seed: 5
base: base
stages:
  - {id: texts, use: synth.chat, with: {corpus: adapt, version: "1.1", count: 60, seed: 2}}
  - {id: split, use: data.split, with: {eval: 0.3}}
  - {id: tokens, use: chat.tokenize, from: split.train, with: {max_tokens: 1024, overflow: drop}}
  - {id: eval_tokens, use: chat.tokenize, from: split.eval, with: {max_tokens: 1024, overflow: drop}}
  - {id: lora, use: train.lora, from: {tokens: tokens, eval: eval_tokens},
     with: {rank: 4, max_steps: 48, epochs: 48, batch: 1, learning_rate: 2e-3, precision: bf16, keep: best, eval_every: 7, log_every: 4,
            checkpoint_every: 3}}
  - {id: export, use: export.peft, from: {adapter: lora}, with: {name: tiny_tools}}
TEXT
