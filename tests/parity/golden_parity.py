"""golden_parity.py MODEL_DIR DIR: transformers gives the text and the ids of DIR/golden.json (an adapter's or tokens')."""
import json, sys
from transformers import AutoTokenizer

golden = json.load(open(sys.argv[2] + "/golden.json"))
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
for pair in golden["pairs"]:
    variables = {k: pair[k] for k in ("tools", "response_format") if k in pair} | golden.get("variables", {})
    text = tokenizer.apply_chat_template(pair["messages"], tokenize=False, **variables)
    assert text == pair["text"], (text, pair["text"])
    assert tokenizer(text, add_special_tokens=False).input_ids == pair["ids"]
print(len(golden["pairs"]), "golden conversations: same text, same ids")
