"""Encode a corpus on a Dask cluster: `python -m flows.tokenize_fanout tcp://scheduler:8786`, then train as usual.

For a corpus that is too large for one machine. Each piece becomes a file in data/scratch/tokenize, on a file system
that the workers share with this checkout. The stage `tokenize` then finds the files, verifies and combines them.
"""

import argparse
from pathlib import Path
from typing import Any

from prefect import flow

from flows.terminal import end_with, server
from gptcore.config.params import read_params, validate_section
from gptcore.config.paths import Paths
from gptcore.corpus.split import TokenizeConfig
from gptcore.errors import UserError
from gptcore.tokens.encoding_plan import make_plan
from gptcore.tokens.workers import Workers
from tasks.encode import encode

PIECES_PER_TASK = 32  # about 100 MB of text: ten seconds on a core, and some hundred task runs for 10 GB


def fan_out(scheduler: str) -> str:
    """Encode the corpus of the current folder on the cluster of that address. Raises UserError."""
    try:
        from distributed import Client
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError:
        raise UserError("prefect-dask is not installed; `pip install 'gptcore[dask]'` does it") from None
    try:
        Client(scheduler).close()
    except Exception as error:  # an address may be wrong in many ways
        what = "start one, `dask scheduler`, or mend the address"
        raise UserError(f"no Dask scheduler answers at {scheduler}: {error}; {what}") from None
    runner: Any = DaskTaskRunner(address=scheduler)  # its types do not match Prefect's
    return tokenize_fanout.with_options(task_runner=runner)()


@flow(name="tokenize-fanout")
def tokenize_fanout() -> str:
    """Encode all pieces of data/raw according to params.yaml, in any order, on the flow's task runner."""
    paths = Paths(Path.cwd())
    config = validate_section(read_params(paths.params), "tokenize", TokenizeConfig)
    with Workers() as workers:
        plan = make_plan(config, paths, workers)
    plan.save_tokenizer()
    jobs = plan.jobs
    parts = [jobs[first : first + PIECES_PER_TASK] for first in range(0, len(jobs), PIECES_PER_TASK)]
    done = sum(encode.map(parts).result())
    return f"{done:,} pieces lie in {plan.folder.relative_to(paths.root)}; now run the stage `tokenize`"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m flows.tokenize_fanout", description=fan_out.__doc__)
    parser.add_argument("scheduler", help="its address, such as tcp://scheduler:8786")
    try:
        with server():
            print(fan_out(parser.parse_args().scheduler))
    except UserError as error:
        end_with(error)
