"""A real server: clients that vanish, and a champion that changes, in MLflow on a server of its own."""

import asyncio
import json
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import mlflow
import pytest

from gptcore.files import sha256_file
from gptcore.generation.complete import Wish, complete, engine_for
from gptcore.generation.sampling import Sampling
from gptcore.model.folder import save_export
from serving.follow import Follower
from serving.model import Served, open_served
from serving.options import Options
from serving.service import Service
from tests.support.mlflow_server import mlflow_server
from tests.support.serving import Gate, listening, served, until

STREAMS = 16
REFUSED = {3: "damaged", 4: "not those that its tag", 5: "files of gpt version 5 are gone"}
BODY = {"max_tokens": 20, "seed": 5, "stream": True}

# a server closes a connection that is idle for long, as while a registry is slow, just when a client uses it again
FRESH = httpx.Limits(max_keepalive_connections=0)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def registry(mlflow_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[mlflow.MlflowClient]:
    """Versions 1 and 2 of gpt, 3 that is damaged, 4 with the weights of another, 5 without files."""
    shutil.copy(mlflow_database, tmp_path)
    monkeypatch.chdir(tmp_path)
    with mlflow_server(tmp_path / "mlflow.db", tmp_path / "served") as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        client = mlflow.MlflowClient(address)
        client.create_registered_model("gpt")
        for number in (1, 2, 3, 4):
            model = served(number)
            save_export(tmp_path / f"export-{number}", model.gpt, model.tokenizer)
            register(client, tmp_path / f"export-{number}", number)
        run = client.create_run("0").info
        client.create_model_version("gpt", run.artifact_uri, run.run_id)
        client.set_registered_model_alias("gpt", "champion", "1")
        yield client


def register(client: mlflow.MlflowClient, export: Path, number: int) -> None:
    weights = export / "model.safetensors"
    tags = {"model_sha256": sha256_file(weights) if number != 4 else "0" * 64}
    if number == 3:
        damaged = bytearray(weights.read_bytes())
        damaged[-1] ^= 1
        weights.write_bytes(damaged)
    run = client.create_run("0")
    client.log_artifacts(run.info.run_id, str(export), "artifacts/export")
    client.create_model_version("gpt", run.info.artifact_uri, run.info.run_id, tags=tags)


def alone(model: Served, prompts: list[str]) -> list[str]:
    done = complete(engine_for(model.gpt, model.tokenizer, 4), model.tokenizer, prompts,
                    Wish(20, Sampling(seed=5, temperature=1.0)))  # fmt: skip
    return [each.text for each in done]


async def stream(client: httpx.AsyncClient, prompt: str, begun: asyncio.Event) -> tuple[str, set[str]]:
    """The text and the fingerprints of its chunks. `begun` is set by the first of them."""
    text, prints = "", set()
    async with client.stream("POST", "/v1/completions", json={**BODY, "prompt": prompt}) as answer:
        prints.add(f"gpt/{answer.headers['x-gptcore-version']}-{answer.headers['x-gptcore-sha256']}")
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                chunk: Any = json.loads(line[6:])
                text += chunk["choices"][0]["text"]
                prints.add(chunk["system_fingerprint"])
                begun.set()
    assert line == "" or line == "data: [DONE]"
    return text, prints


def test_a_champion_changes_under_open_streams(registry: mlflow.MlflowClient) -> None:
    """Each response is of one version alone, and what that version gives offline; a bad candidate is refused.

    Two threads compute, each with half of the streams.
    The first change is found by polling, the others by a hint.
    """
    models = {number: open_served(f"gpt@{number}") for number in (1, 2)}
    prompts = [f"{place} to be" for place in range(STREAMS)]
    expected = {number: alone(model, prompts) for number, model in models.items()}
    assert expected[1] != expected[2]
    options = Options(slots=STREAMS, queue=STREAMS, threads=2, poll_seconds=0.1)
    service = Service(options, open_served("gpt@champion"))

    async def move(number: int) -> None:
        await asyncio.to_thread(registry.set_registered_model_alias, "gpt", "champion", str(number))

    async def asked() -> None:
        gates = [Gate(lane) for lane in service.lanes]
        async with (
            listening(service, Follower("champion")) as (_, address),
            httpx.AsyncClient(base_url=address, timeout=60, limits=FRESH) as client,
        ):

            async def all_of(number: int) -> None:
                found = await asyncio.gather(*(stream(client, each, asyncio.Event()) for each in prompts))
                assert found == [(text, {models[number].fingerprint}) for text in expected[number]]

            async def promote(number: int) -> None:
                await move(number)
                assert (await client.post("/follow", content=b"as it comes")).json() == {"follows": "champion"}

            begun = [asyncio.Event() for _ in prompts]
            old = [asyncio.create_task(stream(client, *each)) for each in zip(prompts, begun, strict=True)]
            await until(lambda: service.open == STREAMS)
            assert [len(gates), *map(service._texts, service.lanes)] == [2, STREAMS // 2, STREAMS // 2]
            for gate in gates:
                gate.open(3)  # all have begun after the second, none has ended
            await asyncio.gather(*(each.wait() for each in begun))
            await move(2)
            await until(lambda: service.served.number == 2)
            service.options = replace(service.options, poll_seconds=600)
            for gate in gates:
                gate.open()
            await all_of(2)
            assert await asyncio.gather(*old) == [(text, {models[1].fingerprint}) for text in expected[1]]
            for number, why in (
                (3, "damaged"),
                (4, "not those that its tag"),
                (5, "files of gpt version 5 are gone"),
            ):
                await promote(number)
                await until(lambda number=number: service.refused.number == number)
                ready = (await client.get("/ready")).json()
                assert (ready["ready"], ready["version"]) == (True, 2)
                assert why in ready["refused"]["why"], ready
                assert f"\ngptcore_candidate_refused {number}.0\n" in (await client.get("/metrics")).text
            await all_of(2)
            await promote(1)
            await until(lambda: service.served.number == 1)
            await all_of(1)
            assert (await client.get("/ready")).json()["refused"] is None
            assert "\ngptcore_swaps_total 2.0\n" in (await client.get("/metrics")).text

    asyncio.run(asked())


def test_a_client_that_vanishes_frees_its_slot_within_a_step_and_an_open_stream_outlives_the_shutdown() -> None:
    service = Service(Options(slots=4, queue=4), served(1))
    whole = {"prompt": "a", "n": 3, "max_tokens": 20}

    async def asked() -> None:
        gate = Gate(service.lanes[0], 1)
        async with (
            listening(service) as (server, address),
            httpx.AsyncClient(base_url=address, timeout=60, limits=FRESH) as client,
            httpx.AsyncClient(limits=FRESH) as other,
        ):
            begun = asyncio.Event()
            streaming = asyncio.create_task(stream(client, "a", begun))
            await begun.wait()
            waiting = asyncio.create_task(client.post("/v1/completions", json=whole))
            queued = asyncio.create_task(client.post("/v1/completions", json=whole))
            await until(lambda: service.open == 7)
            gate.open(2)  # three more have slots then; three wait
            await until(lambda: service.busy_slots == 4)
            for each in (streaming, waiting, queued):
                each.cancel()
            await until(lambda: service.open == 0)
            gate.open(1)  # it was begun before
            await until(lambda: service.busy_slots == 0)
            assert service.workers[0].waiting == 0
            metrics = (await other.get(f"{address}/metrics")).text
            assert '\ngptcore_requests_ended_total{how="vanished"} 3.0\n' in metrics
            last = asyncio.create_task(stream(client, "a", begun := asyncio.Event()))
            gate.open(1)
            await begun.wait()
            server.should_exit = True
            await until(lambda: not server.servers[0].is_serving())
            with pytest.raises(httpx.ConnectError):
                await other.get(f"{address}/ready")
            gate.open()
            assert (await last)[0] == alone(served(1), ["a"])[0]

    asyncio.run(asked())


def test_a_stream_that_is_still_open_after_the_grace_is_cut() -> None:
    service = Service(Options(slots=4, queue=4), served(1))
    gate = Gate(service.lanes[0], 1)

    def end_the_step() -> None:
        while service.workers[0].inbox.empty():
            time.sleep(0.01)
        gate.open()

    async def asked() -> None:
        async with listening(service) as (server, address), httpx.AsyncClient(base_url=address, timeout=60) as client:
            begun = asyncio.Event()
            last = asyncio.create_task(stream(client, "a", begun))
            await begun.wait()
            server.config.timeout_graceful_shutdown = 0.1  # the seconds of --grace
            server.should_exit = True
            threading.Thread(target=end_the_step).start()  # for which the server waits, when it has cut the stream
            with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message"):
                await last

    asyncio.run(asked())


def test_a_body_of_100_megabytes_is_refused_before_it_comes() -> None:
    """Whether its length is told or not; and the server answers others."""

    async def asked() -> None:
        async with listening(Service(Options(slots=4, queue=4, body_bytes=100_000), served(1))) as (_, address):
            chunk = b"20000\r\n" + bytes(0x20000)
            for told, sent in ((b"Content-Length: 104857600", b""), (b"Transfer-Encoding: chunked", chunk)):
                reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
                writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: server\r\n" + told + b"\r\n\r\n" + sent)
                async with asyncio.timeout(20):
                    assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
                writer.close()
            async with httpx.AsyncClient(base_url=address) as client:
                assert (await client.get("/ready")).status_code == 200

    asyncio.run(asked())
