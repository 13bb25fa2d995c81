"""Evaluation: a model and token files come in; losses, perplexity and bits per byte with their errors go out.

`losses.py` measures a model on every window. `curves.py` reads and draws the loss curves that trainings leave behind.
`runs.py` joins experiments, flow runs and model versions into one table. Read `losses.py` first.
"""
