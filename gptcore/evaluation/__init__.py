"""Evaluation: takes a model and token files, returns loss and its standard error, perplexity and bits per byte.

`losses.py` evaluates a model on every window, `comparison.py` a model and its baseline side by side. `curves.py` reads
and plots the loss curves of training runs. `runs.py` joins experiments, flow runs and model versions into one table.
Read `losses.py` first.
"""
