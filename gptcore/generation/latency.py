"""Microseconds per generated token of a model folder: `python -m gptcore.generation.latency FOLDER`, for the gate.

Measured with the engine that answers requests, one text at a time, in one thread; the median of a few texts. On a CPU
it is the time that the processor spends on it, as another program may take some of it meanwhile.
"""

import argparse
import sys
import time
from pathlib import Path
from statistics import median

import torch

from gptcore.config.settings import settings
from gptcore.errors import MISTAKE_EXIT_CODE, UserError
from gptcore.generation.complete import FEWEST_SLOTS
from gptcore.generation.engine import Engine
from gptcore.generation.sampling import Sampling
from gptcore.generation.sequence import Request
from gptcore.model.folder import load_export

TEXTS, TOKENS = 5, 64


def microseconds_per_token(export: Path) -> int:
    """Raises UserError for a model that cannot be read, or computes NaN or infinity."""
    model, _ = load_export(export, settings().torch_device())
    engine = Engine(model, FEWEST_SLOTS)
    request = Request((0,), min(TOKENS, engine.block_size), Sampling(temperature=0))
    _seconds_per_token(engine, request)  # the first text pays for what is made once
    return round(1e6 * median(_seconds_per_token(engine, request) for _ in range(TEXTS)))


def _seconds_per_token(engine: Engine, request: Request) -> float:
    clock = time.process_time if engine.model.device.type == "cpu" else time.perf_counter
    sequence, started = engine.submit(request), clock()
    while engine.busy:
        engine.step()
    if sequence.finish == "error":
        raise UserError("the model computes NaN or infinity, so that nobody can tell how fast it writes")
    return (clock() - started) / len(sequence.ids)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m gptcore.generation.latency", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="such as data/model/export")
    folder: Path = parser.parse_args().folder
    torch.set_num_threads(1)  # as a worker of the server does
    try:
        print(microseconds_per_token(folder))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(MISTAKE_EXIT_CODE) from None


if __name__ == "__main__":
    main()
