"""Export a model to the form of another program, which then has to compute the same: `gptcore export`.

A file for each target: what it cannot say, how it is written, and the program that reads it back. `export.py` is the
common course, `parity.py` the comparison that decides whether a result is kept. Read `target.py` first.
"""
