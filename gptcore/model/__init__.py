"""The model: a `ModelConfig` and token ids come in; logits or a loss go out.

`gpt.py` is the one file to read. `config.py` names every field, `attention.py`, `norm.py`, `dropout.py` and `loss.py`
are its parts, and `folder.py` is the model folder (`model.safetensors`, `config.json`, `tokenizer.json`) that a
trained model travels as.
"""
