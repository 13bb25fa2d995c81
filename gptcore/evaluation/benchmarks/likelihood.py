"""How probable a model takes continuations to be."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from gptcore.evaluation.benchmarks.requests import Request
from gptcore.model.gpt import GPT
from gptcore.progress import Progress
from gptcore.ranks.distributed import gathered, share

TOKENS_AT_ONCE = {"cpu": 1 << 10}
ON_GPUS = 1 << 13  # with GPT-2's vocabulary, 1.6 GB of logits
MULTIPLE = 64  # of which the length of a batch's rows is one


class Answer(NamedTuple):
    """Log-probability in nats; whether each token is the most probable one; number of tokens."""

    logprob: float
    is_greedy: bool
    tokens: int


def shared_answers(model: GPT, requests: Sequence[Request], name: str) -> list[Answer]:
    """What `answers` gives, by all ranks together: each calls this, asks its share of the requests, and gets all."""
    mine = requests[share(len(requests))]
    with Progress(name, len(mine), "request") as progress:
        found = answers(model, mine, progress)
    logprobs = gathered(np.array([each.logprob for each in found], np.float64))
    are_greedy = gathered(np.array([each.is_greedy for each in found], np.int64))
    lengths = [len(each.continuation) for each in requests]
    return [Answer(one, bool(two), n) for one, two, n in zip(logprobs.tolist(), are_greedy, lengths, strict=True)]


@torch.inference_mode()
def answers(model: GPT, requests: Sequence[Request], progress: Progress | None = None) -> list[Answer]:
    """What the model, in evaluation mode, says to each request. Contexts that are too long lose their beginning.

    Matrix products round differently for different shapes, so the shape of a batch depends on nothing but a request's
    own length: a request has the same answer, to the bit, whatever else is asked.
    """
    block_size, device = model.config.block_size, model.wte.weight.device
    rows = [[*each.context, *each.continuation][-block_size - 1 :] for each in requests]
    alike = defaultdict(list)
    for index, row in enumerate(rows):
        alike[min(-(-(len(row) - 1) // MULTIPLE) * MULTIPLE, block_size)].append(index)
    found: dict[int, Answer] = {}
    for length in sorted(alike, reverse=True):
        size = max(TOKENS_AT_ONCE.get(device.type, ON_GPUS) // length, 1)
        for first in range(0, len(alike[length]), size):
            batch = alike[length][first : first + size]
            ids = torch.zeros(size, length + 1, dtype=torch.int64)
            for place, index in enumerate(batch):
                ids[place, : len(rows[index])] = torch.tensor(rows[index])
            logprobs, are_greedy = _each_token(model, ids.to(device))
            for place, index in enumerate(batch):
                end, n = len(rows[index]) - 1, len(requests[index].continuation)
                asked = place, slice(end - n, end)
                found[index] = Answer(float(logprobs[asked].sum()), bool(are_greedy[asked].all()), n)
            if progress:
                progress.update(len(found))
    return [found[index] for index in range(len(rows))]


def _each_token(model: GPT, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each id but the first of a row, on the CPU: log-probability (float64), and whether no id has a higher one."""
    logits, targets = model(ids[:, :-1]), ids[:, 1:]
    losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)
    return -losses.cpu().double(), (logits.argmax(-1) == targets).cpu()
