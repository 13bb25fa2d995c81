"""Weights from and to elsewhere: Hugging Face, OpenAI's names, nanoGPT's `ckpt.pt`; exports/ to other runtimes.

Import turns a path or name into a `GPT`. `open_model.py` opens what a command names, `adapter.py` adds an adapter to
it, `lm_eval_model.py` is a model for lm-eval. Read `pretrained.py` first.
"""
