"""Tokens: reads `documents.jsonl` and writes `train.bin`, `val.bin`, `meta.json` and `tokenizer.json`.

`encoding_plan.py` cuts the corpus into pieces and makes the tokenizer, `encode.py` turns one piece into ids,
`assemble.py` joins the pieces, and `token_files.py` maps the result into memory. `tokenizer.py` encodes text to ids
and decodes ids to text; `token_bytes.py` proves that ids give a text. Read `tokenizer.py` first, then
`encoding_plan.py`.
"""
