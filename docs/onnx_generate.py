"""Generate with onnxruntime alone, from the folder that `gptcore export --to onnx` writes.

`generate` goes from ids to ids; the package tokenizers makes them of text and text of them.
"""

import argparse

import numpy as np
import onnxruntime


def generate(path: str, ids: list[int], new: int) -> list[int]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    cached = {each.name: each for each in session.get_inputs() if each.name.startswith("past_key_values")}
    reads_pairs = "previous_ids" in {each.name for each in session.get_inputs()}
    # (batch, heads, ids so far, width of a head)
    past = [np.zeros((1, each.shape[1], 0, each.shape[3]), np.float32) for each in cached.values()]
    given, previous = ids, 0
    for _ in range(new):
        inputs = {"input_ids": np.array([given], np.int64), **dict(zip(cached, past, strict=True))}
        if reads_pairs:  # the id before the given ones
            inputs["previous_ids"] = np.array([[previous]], np.int64)
        logits, *past = session.run(None, inputs)
        previous, given = given[-1], [int(logits[0, -1].argmax())]
        ids = ids + given
    return ids


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("prompt")
    parser.add_argument("--new", type=int, default=50)
    given = parser.parse_args()

    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(f"{given.folder}/tokenizer.json")
    print(tokenizer.decode(generate(f"{given.folder}/model.onnx", tokenizer.encode(given.prompt).ids, given.new)))
