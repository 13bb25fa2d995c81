"""Continue every prompt of a file. `python -m flows.complete_prompts --help`."""

import argparse
import os
from functools import partial
from pathlib import Path

from prefect import flow

from flows.terminal import purpose, run, server
from gptcore.config.settings import settings
from gptcore.errors import UserError
from tasks.complete import complete_part
from tasks.stop import unless_stopped
from tasks.workspace.workspace import is_deployed


@flow(name="complete-prompts")
def complete_prompts(
    source: str, target: str, model: str = "gpt@champion", max_new_tokens: int = 200, n: int = 1,
    sampling: dict[str, int | float] | None = None, stop: list[str] | None = None, field: str = "prompt",
    rows: int = 256,
) -> str:  # fmt: skip
    """Continue every prompt of a file with one model, in parts; started again, it makes only what is missing.

    Args:
        source: Prompts: lines of .txt, or a field of .jsonl or .parquet.
        target: Becomes .jsonl or .parquet with the texts, in the order of the prompts.
        model: The one that has the name now, for all parts.
        max_new_tokens: The most of a text.
        n: Texts for each prompt.
        sampling: How ids are drawn, such as {"temperature": 0.7, "seed": 1}.
        stop: Texts that end a text.
        field: The field of a record that holds the prompt.
        rows: Prompts of a part.
    """
    from gptcore.generation.batch import Batch, engine_of, write_part
    from gptcore.generation.complete import Wish
    from gptcore.generation.sampling import Sampling
    from gptcore.generation.threads import one_thread
    from serving.model import open_served

    if is_deployed() and not settings().data_roots:
        _require_here(source, target)
    wish = Wish(max_new_tokens, Sampling.of(**(sampling or {})), n, tuple(stop or ()))
    served = open_served(model)
    batch = Batch(Path(source), Path(target), served.sha256, wish, field, rows)
    engine = engine_of(served.gpt, served.tokenizer)
    with one_thread():
        for part, prompts in batch.parts():
            write = partial(write_part, part, prompts, engine, served.tokenizer, wish)
            unless_stopped(complete_part(part, len(prompts), write))
    return f"{batch.gather():,} texts of {served.title} are in {target}"


def _require_here(*files: str) -> None:
    """Whoever started the run need not own this machine. Raises UserError."""
    here = os.path.realpath(".")
    if away := [each for each in files if not Path(os.path.realpath(each)).is_relative_to(here)]:
        raise UserError(f"{away[0]} is not in {here}, where runs of a deployment work; GPTCORE_DATA_ROOTS names others")


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m flows.complete_prompts", description=purpose(complete_prompts))
    parser.add_argument("source", help="prompts: .txt with one a line, .jsonl or .parquet")
    parser.add_argument("target", help="texts: .jsonl or .parquet")
    parser.add_argument("--model", default="gpt@champion", help="%(default)s if not given")
    parser.add_argument("--max-new-tokens", type=int, default=200, metavar="N", help="%(default)s if not given")
    parser.add_argument("-n", type=int, default=1, metavar="N", help="texts for each prompt")
    parser.add_argument("--temperature", type=float, default=0.8, help="%(default)s if not given")
    parser.add_argument("--seed", type=int, default=0, help="%(default)s if not given")
    parser.add_argument("--field", default="prompt", help="of a record; %(default)s if not given")
    given = parser.parse_args()
    sampling = {"temperature": given.temperature, "seed": given.seed}

    def start() -> str:
        with server():
            return complete_prompts(
                given.source, given.target, given.model, given.max_new_tokens, given.n, sampling, field=given.field
            )

    run(start)


if __name__ == "__main__":
    _main()
