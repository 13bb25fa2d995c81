"""Encode pieces of a corpus on the machine that runs the task: a part of the stage `tokenize`."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from gptcore.tokens.encode import EncodeJob, encode_piece


@task(name="encode", task_run_name="encode from byte {jobs[0].piece.start}", cache_policy=NO_CACHE, retries=2)
def encode(jobs: list[EncodeJob]) -> int:
    """Encode the pieces and return how many there are; pieces that exist already are only verified."""
    for job in jobs:
        encode_piece(job)
    return len(jobs)
