"""The corpus: reads source addresses and writes `documents.jsonl`, one document per line.

A source (`sources.py`) lists files, `transfer.py` downloads them and `store.py` caches them. formats/ reads the texts
of each file, `selection.py` filters them and `documents.py` writes them. `split.py` assigns texts to training and
validation. `stream.py` does the same while training runs. Read `corpus.py` first.
"""
