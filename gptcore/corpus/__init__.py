"""The corpus: addresses come in; `documents.jsonl`, one text a line, goes out.

A source (`sources.py`) lists files, `transfer.py` brings them here whole and `store.py` keeps them, `unpack.py` and
`records.py` turn each into texts, `selection.py` picks, `documents.py` writes, `split.py` says which text trains and
which validates. `stream.py` does the same while training runs. Read `corpus.py` first.
"""
