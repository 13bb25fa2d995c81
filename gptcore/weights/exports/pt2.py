"""A program of torch.export: torch runs it without our code. Any batch and length, the cache as inputs and outputs."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from gptcore.model.gpt import GPT
from gptcore.tokens.tokenizer import Tokenizer
from gptcore.weights.exports.target import EXACT, Consumer, Target, refuse_nothing, with_and_without_cache
from gptcore.weights.exports.traced import Traced, empty_cache, example, quiet

FILE = "model.pt2"
# asks for each list of inputs, in a process that has nothing of ours
FRESH = """
import sys, torch
program = torch.export.load(sys.argv[1]).module()
with torch.inference_mode():
    torch.save([program(**inputs)[0] for inputs in torch.load(sys.argv[2])], sys.argv[3])
assert not [name for name in sys.modules if name.startswith("gptcore")]
"""


def target(kind: str) -> Target:
    return Target((), EXACT, refuse_nothing, _write, _opened)


def _write(folder: Path, model: GPT, tokenizer: Tokenizer) -> None:
    any_size = torch.export.Dim.DYNAMIC
    inputs, sizes = example(model, any_size, any_size, any_size)
    with quiet():
        program = torch.export.export(Traced(model), (), inputs, dynamic_shapes=sizes)
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # where on this machine each operation came from
        torch.export.save(program, folder / FILE)
    tokenizer.save(folder / "tokenizer.json")


@contextmanager
def _opened(folder: Path, model: GPT) -> Iterator[Consumer]:
    program = torch.export.load(folder / FILE).module()

    def inputs(ids: Tensor, previous: Tensor, cache: Any) -> dict[str, Any]:
        given = {"input_ids": ids, "past": empty_cache(model, len(ids)) if cache is None else cache}
        return given | ({"previous_ids": previous} if model.config.bigram_buckets else {})

    def step(ids: Tensor, previous: Tensor, cache: Any) -> tuple[Tensor, Any]:
        logits, present = program(**inputs(ids, previous, cache))
        return logits, present

    def runs_alone(ids: Tensor) -> bool:
        """In a process without our code: a prompt, and an id after it."""
        first, last = ids[:, :-1], ids[:, -1:]
        _, cache = step(first, first[:, :1], None)
        asked = [inputs(first, first[:, :1], None), inputs(last, first[:, -1:], cache)]
        logits = torch.cat(_fresh(folder / FILE, asked), dim=1)
        return bool((logits - model(ids)).abs().max() <= (EXACT.logits or 0))

    yield Consumer(
        "torch", torch.__version__, with_and_without_cache(step),
        checks={"the same logits in a process without gptcore": runs_alone},
    )  # fmt: skip


def _fresh(program: Path, asked: list[dict[str, Any]]) -> list[Tensor]:
    with TemporaryDirectory() as temporary:
        questions, answers = Path(temporary) / "questions.pt", Path(temporary) / "answers.pt"
        torch.save([_owned(each) for each in asked], questions)
        command = [sys.executable, "-I", "-c", FRESH, str(program.absolute()), str(questions), str(answers)]
        subprocess.run(command, check=True, cwd=temporary, capture_output=True)
        told: list[Tensor] = torch.load(answers, weights_only=True)
        return told


def _owned(inputs: dict[str, Any]) -> dict[str, Any]:
    """Copies, as parts of a tensor are saved with all of it."""
    return {
        name: [part.clone() for part in each] if isinstance(each, list) else each.clone()
        for name, each in inputs.items()
    }
