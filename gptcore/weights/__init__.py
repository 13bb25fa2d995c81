"""Import and export weights: Hugging Face folders, OpenAI's models on the hub, nanoGPT's `ckpt.pt`.

Import turns a path or name into a `GPT`; export supports plain GPT-2 only. `gpt2.py` holds what both formats share.
`open_model.py` opens what a command names, `adapter.py` adds an adapter to it, `lm_eval_model.py` is one for lm-eval.
Read `pretrained.py` first.
"""
