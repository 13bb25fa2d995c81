"""The engine against the model without a cache, and a request against itself among others."""

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gptcore.errors import UserError
from gptcore.generation.cached_model import Pass, Views, root_mean_square
from gptcore.generation.engine import PREFILL, Engine
from gptcore.generation.sampling import Sampling
from gptcore.generation.sequence import Request, Sequence
from gptcore.generation.threads import suited_to
from gptcore.generation.traced import Traced
from gptcore.model.gpt import GPT
from tests.support.engine import GPT2, MODERN, model_config
from tests.support.weights import random_model

VOCAB = 40
GREEDY = Sampling(temperature=0)
either = {name: st.sampled_from(sorted({GPT2[name], MODERN[name]}, key=str)) for name in GPT2}
architectures = st.fixed_dictionaries(
    {
        **either, "n_layer": st.integers(1, 5), "sliding_window": st.sampled_from([0, 0, 1, 5, 70]),
        "attention_scale": st.sampled_from([0.0, 0.12]), "block_size": st.sampled_from([16, 100, 170]),
    }
)  # fmt: skip


pytestmark = pytest.mark.usefixtures("one_thread")


def model_of(values: dict[str, Any], size: float = 0.3) -> GPT:
    """Weights so large that a key more or less, or in another place, shows."""
    model = GPT(model_config(values), VOCAB).eval()
    generator = torch.Generator().manual_seed(1)
    for each in model.parameters():
        each.data.normal_(0.0, size, generator=generator)
    return model


def run(engine: Engine, *requests: Request) -> list[Sequence]:
    sequences = [engine.submit(each) for each in requests]
    while engine.busy:
        engine.step()
    return sequences


def prompt(length: int, seed: int = 0) -> tuple[int, ...]:
    return tuple(torch.randint(0, VOCAB, (length,), generator=torch.Generator().manual_seed(seed)).tolist())


@settings(max_examples=25, deadline=None)
@given(
    values=architectures, lengths=st.lists(st.integers(1, 150), min_size=1, max_size=8), slots=st.integers(1, 7),
    uses=st.sampled_from([0, 3]),
)  # fmt: skip
def test_the_cache_gives_the_logits_of_the_whole_text(
    values: dict[str, Any], lengths: list[int], slots: int, uses: int
) -> None:
    """Ragged prompts, more of them than slots, prompts of several chunks, up to the end of the context.

    With steps that are traced at once, and after so many uses.
    """
    model = model_of(values)
    requests = [
        Request(prompt(min(length, model.config.block_size), number), 3 * number + 1, Sampling(seed=number),
                logprobs=2, echo=True)
        for number, length in enumerate(lengths)
    ]  # fmt: skip
    with patch("gptcore.generation.traced.USES", uses):
        assert_logits_of_the_whole_text(Engine(model, slots), model, requests)


def assert_logits_of_the_whole_text(engine: Engine, model: GPT, requests: list[Request]) -> None:
    for sequence in run(engine, *requests):
        ids = [*sequence.request.prompt, *sequence.ids]
        assert sequence.full == (len(ids) > model.config.block_size and len(sequence.ids) < sequence.request.max_new)
        with torch.no_grad():
            right = model(torch.tensor([ids[:-1]], device=engine.model.device))[0].log_softmax(-1).cpu()
        found = [*sequence.prompt_logprobs, *sequence.logprobs]
        assert [each.token for each in found] == ids[1:]
        taken = torch.tensor([each.logprob for each in found])
        torch.testing.assert_close(taken, right[range(len(found)), ids[1:]], rtol=1e-4, atol=2e-4)
        highest = torch.tensor([[logprob for _, logprob in each.top] for each in found])
        torch.testing.assert_close(highest, right.topk(2).values, rtol=1e-4, atol=2e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("compiles", [True, False])
@pytest.mark.parametrize("values", [GPT2, {**MODERN, "sliding_window": 20}], ids=["gpt2", "modern"])
def test_a_gpu_gives_the_logits_of_the_whole_text(
    values: dict[str, Any], compiles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In slots that others have had before; also where there is no compiler for Triton."""
    if not compiles:
        from gptcore.generation import one_query  # needs Triton, as a GPU's torch does

        monkeypatch.setattr(one_query._attend, "run", no_compiler)
    model = model_of({**values, "block_size": 300}, 0.1).cuda()
    lengths = [1, 130, 250, 7, 126, 90]
    requests = [
        Request(prompt(length, number), 60, Sampling(seed=number, top_k=7 * (number % 2)), logprobs=2, echo=True)
        for number, length in enumerate(lengths)
    ]
    engine = Engine(model, 4)
    assert bool(engine.model.attend) == compiles
    assert_logits_of_the_whole_text(engine, model, requests)


def no_compiler(*_: Any, **__: Any) -> None:
    raise RuntimeError("Failed to find C compiler")


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize(
    ("values", "dtype", "count"),
    [(GPT2, torch.float32, 32), ({**MODERN, "sliding_window": 20}, torch.float32, 8), (GPT2, torch.bfloat16, 8)],
    ids=["gpt2", "modern", "bfloat16"],
)
def test_a_request_gives_the_same_bytes_alone_and_among_others(
    values: dict[str, Any], dtype: torch.dtype, count: int, device: str
) -> None:
    """In any slot and order of arrival; packed layers are among these, as one has 1 << 18 elements."""
    model = model_of({**values, "n_embd": 256, "block_size": 200}, 0.05).to(device)
    requests = [
        Request(prompt(1 + 5 * number, number), 9 + number % 7, Sampling(seed=number, top_k=number % 3), logprobs=1)
        for number in range(count)
    ]
    engine = Engine(model, count, dtype=dtype)
    together, backwards = run(engine, *requests), run(engine, *reversed(requests))[::-1]
    alone = [run(engine, each)[0] for each in requests[:: count // 8]]
    for some, others in ((alone, together[:: count // 8]), (together, backwards)):
        assert [each.ids for each in some] == [each.ids for each in others]
        assert [each.logprobs for each in some] == [each.logprobs for each in others]  # every bit
    assert len({tuple(each.ids) for each in alone}) == len(alone)


@pytest.mark.parametrize("values", [GPT2, {**MODERN, "sliding_window": 20}], ids=["gpt2", "modern"])
def test_a_traced_step_gives_the_same_bytes(values: dict[str, Any]) -> None:
    model = model_of({**values, "block_size": 100}, 0.1)
    requests = [
        Request(prompt(1 + 9 * number, number), 30, Sampling(seed=number, top_k=number % 3), logprobs=1)
        for number in range(6)
    ]
    found = []
    for uses in (0, 1_000):
        with patch("gptcore.generation.traced.USES", uses):
            engine = Engine(model, 4)
            made = run(engine, *requests)
        assert isinstance(engine.next_logits, Traced) and bool(engine.next_logits.steps) == (uses == 0)
        found.append([(each.ids, each.logprobs) for each in made])
    assert found[0] == found[1]


@pytest.mark.gpu
def test_engines_are_made_while_another_answers() -> None:
    """As where a server tries the next version: a capture must not disturb what another thread computes."""
    model = model_of({**MODERN, "block_size": 200}).cuda()
    request = Request(prompt(20), 150, Sampling(seed=1))
    (alone,) = run(Engine(model, 4), request)
    with ThreadPoolExecutor(1) as pool:
        made, answered = pool.submit(lambda: [Engine(model, 2) for _ in range(20)]), 0
        while not made.done():
            assert run(Engine(model, 4), request)[0].ids == alone.ids
            answered += 1
    assert len(made.result()) == 20 and answered


def test_fewer_rows_are_computed_only_where_a_row_has_the_same_bits_among_them() -> None:
    engine = Engine(model_of(MODERN), 6)
    computed, forward, head = list[int](), engine.model.forward, engine.model.head

    def watched(new: Pass, views: Views | None = None) -> torch.Tensor:
        computed.append(new.rows)
        return forward(new, views)

    engine.model.forward = watched  # type: ignore[method-assign]
    for sizes in ([2, 6], [6]):
        engine.sizes = sizes
        computed.clear()
        run(engine, Request(prompt(3), 4, GREEDY))
        assert computed == [1, *sizes[:1] * 3]
    engine.model.head = lambda x: head(x) + 1e-6 * (len(x) == 4)
    engine._try_shapes()
    assert 4 not in engine.sizes and engine.sizes[-1] == 6
    engine.model.head = lambda x: head(x) * (1 + 1e-6 * len(x))
    engine._try_shapes()
    assert engine.sizes == [6]


@pytest.mark.parametrize("width", [32, 100, 384])
def test_a_row_is_normalized_alike_alone_and_among_others(width: int) -> None:
    """To the last bit; a few ids, as an engine tries them, would not show what differs once in a thousand rows."""
    root, x = root_mean_square(width, torch.device("cpu")), torch.randn(2_000, width)
    among = root(x)
    torch.testing.assert_close(x / among, torch.rms_norm(x, (width,)))
    for rows in (1, 3, 16, 40):
        apart = torch.cat([root(each) for each in x.split(rows)])
        assert torch.equal(apart, among)


def test_bfloat16_is_near() -> None:
    model = model_of({**MODERN, "n_embd": 256}, 0.05)
    request = Request(prompt(16), 0, GREEDY, logprobs=0, echo=True)
    exact, near = (run(Engine(model, 2, dtype=dtype), request)[0] for dtype in (torch.float32, torch.bfloat16))
    differences = [abs(one.logprob - other.logprob)
                   for one, other in zip(exact.prompt_logprobs, near.prompt_logprobs, strict=True)]  # fmt: skip
    assert 0 < max(differences) < 0.1


@pytest.mark.parametrize("values", [GPT2, MODERN], ids=["gpt2", "modern"])
def test_sliding_recomputes_the_last_context_for_every_id(values: dict[str, Any]) -> None:
    model = model_of(values)
    for length in (3, 20):
        ids = list(prompt(length))
        with torch.no_grad():
            for _ in range(25):
                ids.append(int(model(torch.tensor([ids[-16:]]))[0, -1].argmax()))
        (found,) = run(Engine(model, 2), Request(tuple(ids[:length]), 25, GREEDY, slides=True))
        assert (found.ids, found.finish, found.full) == (ids[length:], "length", False)


def test_how_a_text_ends() -> None:
    model = model_of(GPT2)
    engine = Engine(model, 2)
    (long,) = run(engine, Request(prompt(4), 50, GREEDY))
    assert (long.finish, long.full, len(long.ids)) == ("length", True, 16 - 4 + 1)
    stop = long.ids[5]
    (stopped,) = run(engine, Request(prompt(4), 50, GREEDY, frozenset([stop])))
    assert (stopped.finish, stopped.ids) == ("stop", long.ids[: long.ids.index(stop)])
    none, echoed = run(engine, Request(prompt(4), 0, GREEDY), Request(prompt(4), 0, GREEDY, logprobs=0, echo=True))
    assert (none.finish, none.ids, echoed.finish, len(echoed.prompt_logprobs)) == ("length", [], "length", 3)
    for wrong, said in (((), "no token"), ((VOCAB,), "40 is no id"), (prompt(17), "17 tokens, the model's context 16")):
        with pytest.raises(UserError, match=said):
            engine.submit(Request(wrong, 1, GREEDY))


def test_a_slot_is_free_at_once_and_nothing_of_its_text_is_left() -> None:
    model = model_of({**MODERN, "block_size": 100})
    engine = Engine(model, 1)
    first, second = engine.submit(Request(prompt(90), 9, GREEDY)), engine.submit(Request(prompt(3), 6, GREEDY))
    engine.step()
    engine.cancel(first)
    count = len(first.ids)
    while engine.busy:
        engine.step()
    assert len(first.ids) == count > 0 and first.finish is None
    assert second.ids == run(Engine(model, 1), second.request)[0].ids
    waits = [engine.submit(Request(prompt(3), 6, GREEDY)) for _ in range(3)]
    engine.cancel(waits[2])
    engine.step()
    assert [each.slot for each in waits] == [0, None, None]


@pytest.mark.parametrize("slots", [1, 2])
def test_a_model_that_computes_nan_ends_with_an_error_and_hurts_no_other(slots: int) -> None:
    model = model_of(GPT2)
    with torch.no_grad():
        model.wte.weight[7] = math.nan
        model.lm_head.weight = torch.nn.Parameter(model.wte.weight.nan_to_num())
    engine = Engine(model, slots, unsayable=[7])
    good = Request(prompt(1, 5), 8, Sampling(seed=2))
    assert 7 not in good.prompt
    expected = run(Engine(model, slots, unsayable=[7]), good)[0].ids
    bad, other = run(engine, Request((1, 7, 3), 8, GREEDY), good)
    assert (bad.finish, bad.ids) == ("error", [])
    assert (other.finish, other.ids) == ("length", expected)
    for again in run(engine, *[good] * slots):  # also in the slot that held NaN
        assert again.ids == expected


def test_a_long_prompt_does_not_make_others_wait_nor_do_they_write_into_it() -> None:
    model = model_of({**GPT2, "block_size": 2 * PREFILL})
    engine = Engine(model, 2)
    quick = engine.submit(Request(prompt(1), 20, GREEDY))
    engine.step()
    long = engine.submit(Request(prompt(2 * PREFILL - 5), 3, GREEDY, logprobs=0))
    before = len(quick.ids)
    engine.step()
    assert (len(quick.ids), long.cached) == (before + 1, PREFILL)
    while engine.busy:
        engine.step()
    (alone,) = run(Engine(model, 2), long.request)
    assert (long.ids, long.logprobs) == (alone.ids, alone.logprobs)


def test_a_model_that_has_sampled_can_be_trained() -> None:
    """Sampling makes inference tensors; a backward pass can make no use of one that is kept."""
    model = random_model({**MODERN, "sliding_window": 4}, 50)
    run(Engine(model, 1), Request(tuple(range(16)), 4, Sampling(), slides=True))
    rows = torch.randint(0, 50, (2, 17))
    model(rows[:, :-1], rows[:, 1:]).backward()
    assert all(each.grad is not None for each in model.parameters())


def test_a_small_model_takes_one_thread_and_the_others_are_there_again_afterwards() -> None:
    torch.set_num_threads(3)
    with suited_to(model_of({**GPT2, "n_embd": 256})):
        assert torch.get_num_threads() == 3
    with suited_to(model_of(GPT2)):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3
