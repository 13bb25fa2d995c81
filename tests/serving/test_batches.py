"""A batch is a run of the deployment complete-prompts on a real Prefect server."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect.flow_engine import run_flow

from flows.complete_prompts import complete_prompts
from gptcore.generation.complete import MOST_SLOTS, Wish, complete, engine_for
from gptcore.generation.sampling import Sampling
from gptcore.model.folder import save_export
from tests.support.cluster import Cluster
from tests.support.serving import served, serving

BODY: dict[str, Any] = {
    "source": "prompts.txt", "target": "texts.jsonl", "model": "model", "max_new_tokens": 6, "n": 2,
    "sampling": {"seed": 3},
}  # fmt: skip

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_batch_is_a_run_that_makes_a_file_of_texts(
    cluster: Cluster, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.txt").write_text("To be\nor not\n")
    model = served(1)
    save_export(tmp_path / "model", model.gpt, model.tokenizer)

    async def started(client: httpx.AsyncClient) -> Any:
        for address, said in (("", "PREFECT_API_URL"), ("http://127.0.0.1:9/api", "does not answer")):
            monkeypatch.setenv("PREFECT_API_URL", address)
            answer = await client.post("/batches", json=BODY)
            assert (answer.status_code, said in answer.text) == (503, True)
        monkeypatch.setenv("PREFECT_API_URL", server)
        answer = await client.post("/batches", json={**BODY, "tempreature": 1})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unknown_field")
        batch = (await client.post("/batches", json=BODY)).json()
        assert batch == (await client.get(f"/batches/{batch['id']}")).json()
        return batch

    batch = with_client(started)
    assert batch["status"] == "SCHEDULED"
    run = cluster.flow_run(UUID(batch["id"]))
    assert {name: run.parameters[name] for name in BODY} == BODY
    run_flow(complete_prompts, run)  # as the process does that a worker starts, which takes seconds
    engine, wish = engine_for(model.gpt, model.tokenizer, MOST_SLOTS), Wish(6, Sampling(seed=3), 2)
    expected = [each.text for each in complete(engine, model.tokenizer, ["To be", "or not"], wish)]
    assert [json.loads(line)["text"] for line in (tmp_path / "texts.jsonl").open()] == expected

    async def ended(client: httpx.AsyncClient) -> Any:
        status = (await client.get(f"/batches/{batch['id']}")).json()["status"]
        with cluster.client() as prefect:
            prefect.delete_flow_run(run.id)
        assert (await client.get(f"/batches/{batch['id']}")).status_code == 404
        return status

    assert with_client(ended) == "COMPLETED"


def with_client(ask: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
    async def asked() -> Any:
        async with serving() as (_, client):
            return await ask(client)

    return asyncio.run(asked())
