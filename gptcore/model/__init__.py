"""The model: takes a `ModelConfig` and token ids, returns logits or a loss.

Read `gpt.py` first. `config.py` defines every field; `attention.py`, `norm.py`, `dropout.py` and `loss.py` are the
model's parts. `lora.py` freezes it and adds an adapter. `folder.py` saves and loads the model folder
(`model.safetensors`, `config.json`, `tokenizer.json`) in which a trained model is passed on.
"""
