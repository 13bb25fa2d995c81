"""ONNX, for every architecture: any batch and length, the cache as inputs and outputs; onnxruntime reads it back."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gptcore.model.gpt import GPT
from gptcore.tokens.huggingface_tokenizer import write_hugging_face_tokenizer
from gptcore.tokens.tokenizer import Tokenizer
from gptcore.weights.exports.target import EXACT, Consumer, Target, refuse_nothing, with_and_without_cache
from gptcore.weights.exports.traced import Traced, empty_cache, example, quiet

FILE = "model.onnx"


def target(kind: str) -> Target:
    return Target(("onnx", "onnxruntime", "onnxscript"), EXACT, refuse_nothing, _write, _opened)


def cache_names(model: GPT, prefix: str) -> list[str]:
    """As other exporters have them: `past_key_values.0.key` goes in, `present.0.key` comes out."""
    return [f"{prefix}.{layer}.{what}" for layer in range(model.config.n_layer) for what in ("key", "value")]


def _write(folder: Path, model: GPT, tokenizer: Tokenizer) -> None:
    inputs, sizes = example(model, "batch", "length", "past")
    more = ["previous_ids"] if "previous_ids" in inputs else []
    with quiet():
        program = torch.onnx.export(
            Traced(model), (), kwargs=inputs, dynamic_shapes=sizes, dynamo=True, verbose=False,
            input_names=["input_ids", *cache_names(model, "past_key_values"), *more],
            output_names=["logits", *cache_names(model, "present")],
        )  # fmt: skip
    assert program is not None
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # where on this machine each operation came from, in most of the file's bytes
    program.save(folder / FILE)
    write_hugging_face_tokenizer(folder, tokenizer)


@contextmanager
def _opened(folder: Path, model: GPT) -> Iterator[Consumer]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(folder / FILE, options, providers=["CPUExecutionProvider"])
    inputs = {each.name for each in session.get_inputs()}

    def step(ids: Tensor, previous: Tensor, cache: Any) -> tuple[Tensor, Any]:
        cache = empty_cache(model, len(ids)) if cache is None else cache
        given = {"input_ids": ids, "previous_ids": previous}
        given |= dict(zip(cache_names(model, "past_key_values"), cache, strict=True))
        told = session.run(None, {name: each.numpy() for name, each in given.items() if name in inputs})
        logits, *present = map(torch.from_numpy, told)
        return logits, present

    yield Consumer("onnxruntime", onnxruntime.__version__, with_and_without_cache(step))
