"""Evaluation: takes two models and token files, returns loss, perplexity, bits per byte and how sure they are.

`losses.py` scores windows, `tally.py` sums them, `intervals.py` makes errors of the sums, `pair.py` compares two models
on one text, `comparison.py` a model and its baseline, `checkpoints.py` those of a run. In `benchmarks/` models answer
questions, `continuations.py` compares what they write, `overlap.py` finds copies. `measured.py` keeps sums, `asked.py`
answers, `measure.py` makes sums of any model; `gate.py`, `conditions.py` and `verdict.py` say what is champion,
`rebuilt.py` if a model made again is the same. `positions.py` and `curves.py` draw,
`seeds.py` joins seeds, `runs.py` joins runs and versions into one table. Read `tally.py` first.
"""
