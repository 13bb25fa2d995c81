"""Pieces of a corpus as tokens, on whatever machine the task runs: a part of the stage `tokenize`."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from gptcore.tokens.encode import EncodeJob, encode_piece


@task(name="encode", task_run_name="encode from byte {jobs[0].piece.start}", cache_policy=NO_CACHE, retries=2)
def encode(jobs: list[EncodeJob]) -> int:
    """How many pieces lie in the folder of the jobs then; those that are there already are only looked at."""
    for job in jobs:
        encode_piece(job)
    return len(jobs)
