"""Several threads that compute: they share slots and weights, and one that fails hurts no other."""

import asyncio

import pytest
import torch
from httpx import Response

from gptcore.generation.threads import compute_threads
from gptcore.model.gpt import GPT
from serving.options import Options
from serving.service import Service
from tests.support.engine import GPT2, model_config
from tests.support.serving import Gate, served, serving

BODY = {"prompt": "a", "max_tokens": 8, "temperature": 0}

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(("width", "slots", "expected"), [(256, 16, 3), (64, 16, 1), (64, 31, 1), (64, 32, 2)])
def test_a_core_each_and_at_most_two_for_a_small_model(
    monkeypatch: pytest.MonkeyPatch, width: int, slots: int, expected: int
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert compute_threads(GPT(model_config(GPT2, n_embd=width), 40), slots) == expected


@pytest.mark.parametrize(
    ("slots", "threads", "expected"), [(4, 2, [4]), (9, 2, [5, 5]), (9, 8, [5, 5]), (12, 3, [4, 4, 4]), (16, 0, [16])]
)
def test_every_thread_has_as_many_slots_and_at_least_four(slots: int, threads: int, expected: list[int]) -> None:
    service = Service(Options(slots=slots, threads=threads), served(1))
    assert [len(lane.engine.slots) for lane in service.lanes] == expected
    assert len({id(lane.engine.model.blocks) for lane in service.lanes}) == 1  # packed once
    assert len({lane.engine.model.cache.data_ptr() for lane in service.lanes}) == len(expected)
    assert f"\ngptcore_slots {sum(expected)}.0\n" in service.metrics.text().decode()


def test_threads_of_a_small_model_are_filled_one_after_the_other() -> None:
    async def asked() -> None:
        async with serving(Options(slots=24, queue=8, threads=2)) as (service, client):
            gates = [Gate(lane) for lane in service.lanes]
            asked = list[asyncio.Task[Response]]()
            for n, expected in ((8, [8, 0]), (3, [11, 0]), (4, [11, 4]), (1, [12, 4]), (10, [12, 14]), (1, [13, 14])):
                asked.append(asyncio.create_task(client.post("/v1/completions", json={**BODY, "n": n})))
                while service.open < sum(expected):
                    await asyncio.sleep(0.01)
                assert [service._texts(lane) for lane in service.lanes] == expected
            for gate in gates:
                gate.open()
            answers = [each["text"] for done in await asyncio.gather(*asked) for each in done.json()["choices"]]
            assert len(answers) == 27 and len(set(answers)) == 1

    asyncio.run(asked())


def test_requests_go_where_the_fewest_are_and_a_thread_that_fails_hurts_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serving.service.is_small", lambda model: False)

    async def asked() -> None:
        async with serving(Options(slots=8, queue=0, threads=2)) as (service, client):
            expected = (await client.post("/v1/completions", json=BODY)).json()["choices"]
            gates = [Gate(lane) for lane in service.lanes]

            def broken() -> None:
                raise RuntimeError("out of memory")

            service.lanes[1].engine.step = broken  # type: ignore[method-assign]
            large = asyncio.create_task(client.post("/v1/completions", json={**BODY, "n": 3}))
            while service.open < 3:
                await asyncio.sleep(0.01)
            failed = await client.post("/v1/completions", json=BODY)
            assert (failed.status_code, service._texts(service.lanes[0])) == (500, 3)
            again = (await client.post("/v1/completions", json=BODY)).json()["choices"]
            gates[0].open()
            assert [each["text"] for each in (await large).json()["choices"]] == [expected[0]["text"]] * 3
            assert again == expected and service.computes

    asyncio.run(asked())
