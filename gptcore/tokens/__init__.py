"""Tokens: `documents.jsonl` comes in; `train.bin`, `val.bin`, `meta.json` and `tokenizer.json` go out.

`encoding_plan.py` cuts the corpus into pieces and makes the tokenizer, `encode.py` turns one piece into ids,
`assemble.py` joins the pieces, and `token_files.py` maps the result into memory. `tokenizer.py` is text to ids and
back. Read `tokenizer.py` first, then `encoding_plan.py`.
"""
