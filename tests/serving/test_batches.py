"""A batch is a run of the deployment complete-prompts on a real Prefect server."""

import asyncio
from uuid import UUID

import pytest

from tests.support.cluster import Cluster
from tests.support.serving import serving

BODY = {"source": "prompts.txt", "target": "texts.jsonl", "n": 2, "sampling": {"seed": 3}}


def test_a_batch_is_a_run_that_prefect_keeps(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    async def asked() -> None:
        async with serving() as (_, client):
            monkeypatch.delenv("PREFECT_API_URL", raising=False)
            answer = await client.post("/batches", json=BODY)
            assert (answer.status_code, "PREFECT_API_URL" in answer.text) == (503, True)
            monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
            answer = await client.post("/batches", json=BODY)
            assert (answer.status_code, "does not answer" in answer.text) == (503, True)
            monkeypatch.setenv("PREFECT_API_URL", cluster.address)
            answer = await client.post("/batches", json={**BODY, "tempreature": 1})
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unknown_field")
            batch = (await client.post("/batches", json=BODY)).json()
            with cluster.client() as prefect:
                run = prefect.read_flow_run(UUID(batch["id"]))
                assert {name: run.parameters[name] for name in BODY} == BODY
                assert batch["status"] == (await client.get(f"/batches/{batch['id']}")).json()["status"] == "SCHEDULED"
                prefect.delete_flow_run(run.id)
            assert (await client.get(f"/batches/{batch['id']}")).status_code == 404

    asyncio.run(asked())
