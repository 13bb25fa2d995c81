"""Weights from and to elsewhere: Hugging Face folders, OpenAI's names on the hub, nanoGPT's `ckpt.pt`.

A path or name comes in and a `GPT` with its tokenizer goes out, and back again for plain GPT-2. `gpt2.py` is what both
forms have in common. Read `pretrained.py` first.
"""
