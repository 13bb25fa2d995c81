"""Evaluation: takes two models and token files, returns loss, perplexity, bits per byte and how sure they are.

`losses.py` scores windows, `tally.py` sums them, `intervals.py` makes errors of the sums. `pair.py` compares two models
on a text, `comparison.py` a model and its baseline; in `benchmarks/` models answer questions. `measured.py` and
`asked.py` are what is kept of that; `gate.py`, `conditions.py` and `verdict.py` say what is champion, `rebuilt.py` if a
model made again is the same. `checkpoints.py` measures those of a run, `runs.py` joins runs and versions. Start with
`tally.py`.
"""
