"""Draw the next id of each row. A row's draw depends on its own logits and request alone, not on the rows beside it.

Rows that are filtered alike go through torch together, where the logits are. On a CPU it computes row by row the same
bits for one row and for many; on a GPU, where it does not, weights are integers, whose sums are the same in any order.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Sequence as Rows

import torch
from torch import Tensor

from gptcore.generation.sequence import Sequence

BROKEN = -1  # instead of an id, where the logits hold NaN or infinity
LIKELIEST = 2.0**44  # the weight of the likeliest id: a sum of as many as there are ids in any vocabulary fits in int64


def choose(logits: Tensor, sequences: Rows[Sequence]) -> list[int]:
    """`logits` (rows, V) in float32; they may be overwritten."""
    asked = [each.request.sampling for each in sequences]
    if not any(each.temperature or each.adjusts for each in asked):
        return _likeliest(logits)
    if any(each.adjusts for each in asked):
        _adjust(logits, sequences)
    groups: dict[tuple[bool, int, bool], list[int]] = defaultdict(list)
    for row, sampling in enumerate(asked):
        greedy = sampling.temperature == 0
        groups[(True, 0, False) if greedy else (False, sampling.top_k, sampling.top_p < 1)].append(row)
    chosen = [BROKEN] * len(sequences)
    for (greedy, top_k, nucleus), rows in groups.items():
        each = logits if len(rows) == len(sequences) else logits[rows]
        drawn = _likeliest(each) if greedy else _drawn(each, [sequences[row] for row in rows], top_k, nucleus)
        for row, choice in zip(rows, drawn, strict=True):
            chosen[row] = choice
    return chosen


def _likeliest(logits: Tensor) -> list[int]:
    if logits.is_cuda:
        highest, choices = logits.max(1)
        return _unbroken(choices.tolist(), map(math.isfinite, highest.tolist()))
    values = logits.numpy()  # which finds the highest of few in half of torch's time
    choice: list[int] = values.argmax(1).tolist()
    return _unbroken(choice, (math.isfinite(values[row, at]) for row, at in enumerate(choice)))


def _drawn(logits: Tensor, sequences: list[Sequence], top_k: int, nucleus: bool) -> list[int]:
    wanted, device = [each.request.sampling for each in sequences], logits.device
    z, order = logits / _column([of.temperature for of in wanted], device, torch.float32), None
    if top_k or nucleus:
        z, order = _highest(z, min(top_k or z.size(1), z.size(1)))
    p = _weights(z)
    exact = torch.float64 if p.is_floating_point() else torch.int64
    if nucleus:
        reached = p.cumsum(-1, dtype=exact)
        p = p.masked_fill(reached - p >= _column([of.top_p for of in wanted], device) * reached[:, -1:], 0)
    if any(of.min_p for of in wanted):
        p = p.masked_fill(p < _column([of.min_p for of in wanted], device) * p.amax(-1, keepdim=True), 0)
    reached = p.cumsum(-1, dtype=exact).double()
    total = reached[:, -1:]
    # the first id at which the sum reaches a share in (0, 1]: an id of weight 0 adds nothing and is never it
    share = _column([1 - each.random.random() for each in sequences], device)
    at = torch.searchsorted(reached, total * share).clamp_(max=p.size(1) - 1)
    choice = at if order is None else order.gather(1, at)
    return _unbroken(choice[:, 0].tolist(), (0 < each < math.inf for each in total[:, 0].tolist()))


def _highest(z: Tensor, count: int) -> tuple[Tensor, Tensor]:
    if not z.is_cuda:
        return z.topk(count)
    values, order = z.sort(stable=True, descending=True)  # of equal ones, topk takes others among other rows
    return values[:, :count], order[:, :count]


def _weights(z: Tensor) -> Tensor:
    return _integers(z) if z.is_cuda else z.softmax(-1)


def _integers(z: Tensor) -> Tensor:
    """In proportion to the probabilities; all 0 in a row that holds NaN or infinity."""
    shares = (z - z.amax(-1, keepdim=True)).exp_()
    return (shares * LIKELIEST).nan_to_num_(0.0).long()


def _unbroken(choice: list[int], finite: Iterable[bool]) -> list[int]:
    return [token if each else BROKEN for token, each in zip(choice, finite, strict=True)]


def _column(values: list[float], device: torch.device, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor(values, dtype=dtype, device=device).unsqueeze(1)


def _adjust(logits: Tensor, sequences: Rows[Sequence]) -> None:
    """Penalties row by row, then the biases of all rows at once: in torch, each id of each row would be a call."""
    biases: list[tuple[int, int, float]] = []
    for row, sequence in enumerate(sequences):
        sampling = sequence.request.sampling
        if sampling.repetition_penalty != 1 or sampling.presence_penalty or sampling.frequency_penalty:
            _penalize(logits[row], sequence)
        biases += [(row, token, bias) for token, bias in sampling.logit_bias.items()]
    if biases:
        rows, tokens, values = zip(*biases, strict=True)
        logits[rows, tokens] += torch.tensor(values, device=logits.device)


def _penalize(logits: Tensor, sequence: Sequence) -> None:
    """Repetition as in CTRL (Keskar et al. 2019), presence and frequency as in OpenAI's interface."""
    sampling = sequence.request.sampling
    text = torch.tensor(sequence.ids, dtype=torch.long, device=logits.device)
    if sampling.repetition_penalty != 1:
        seen = torch.cat((text.new_tensor(sequence.request.prompt), text)).unique()
        each, factor = logits[seen], sampling.repetition_penalty
        logits[seen] = torch.where(each > 0, each / factor, each * factor)
    if sampling.presence_penalty or sampling.frequency_penalty:
        ids, counts = text.unique(return_counts=True)
        logits[ids] -= sampling.presence_penalty + sampling.frequency_penalty * counts
