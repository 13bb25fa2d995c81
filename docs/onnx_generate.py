"""Generate with onnxruntime alone, from the folder that `gptcore export --to onnx` writes."""

import argparse

import numpy as np
import onnxruntime
from tokenizers import Tokenizer


def generate(path: str, ids: list[int], new: int) -> list[int]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    shapes = {each.name: each.shape for each in session.get_inputs()}  # of a cache: batch, heads, ids so far, width
    cached = [name for name in shapes if name.startswith("past_key_values")]
    past = [np.zeros((1, shapes[name][1], 0, shapes[name][3]), np.float32) for name in cached]
    given, before = ids, 0
    for _ in range(new):
        known = {"input_ids": np.array([given]), "previous_ids": np.array([[before]])}
        known |= zip(cached, past, strict=True)
        logits, *past = session.run(None, {name: known[name] for name in shapes})
        before, given = given[-1], [int(logits[0, -1].argmax())]
        ids = ids + given
    return ids


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("given", nargs=2, metavar=("FOLDER", "PROMPT"))
    folder, prompt = parser.parse_args().given
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    print(tokenizer.decode(generate(f"{folder}/model.onnx", tokenizer.encode(prompt).ids, new=50)))
