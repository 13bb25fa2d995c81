"""Batches: a file of prompts is a run of the deployment complete-prompts, which Prefect's server starts and keeps."""

import os
from typing import Annotated, Any, Literal
from urllib.parse import quote
from uuid import UUID

import httpx
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

from serving.refusals import Error, Json, Refusal
from serving.shapes import ERRORS

DEPLOYMENT = "complete-prompts/complete-local"
SECONDS = 10.0
ABSENT: dict[int | str, dict[str, Any]] = {
    503: {"model": Error, "description": "Prefect's server cannot be asked"},
}
PlaceName = Annotated[str, Field(min_length=1, max_length=4096)]


class BatchRequest(BaseModel):
    """Fields that are not given are those of the flow."""

    model_config = ConfigDict(extra="forbid", strict=True)

    source: PlaceName = Field(
        description="Prompts on the worker's disk: lines of .txt, or a field of .jsonl or .parquet"
    )
    target: PlaceName = Field(description="Becomes .jsonl or .parquet with the texts")
    model: str = Field(default="gpt@champion", max_length=1000, description="The one that has the name at the start")
    max_new_tokens: int = Field(default=200, ge=0, le=1_000_000, description="The most of a text")
    n: int = Field(default=1, ge=1, le=128, description="Texts for each prompt")
    sampling: dict[str, int | float] = Field(default={}, description='Such as {"temperature": 0.7, "seed": 1}')
    stop: list[str] = Field(default=[], max_length=16, description="Texts that end a text")
    field: str = Field(default="prompt", max_length=1000, description="The field of a record that holds the prompt")


class Batch(BaseModel):
    id: str = Field(description="Of the flow run")
    name: str
    object: Literal["batch"]
    status: str = Field(description="Prefect's type of the run's state: SCHEDULED, RUNNING, COMPLETED, FAILED, ...")
    message: str


def install(app: FastAPI) -> None:
    @app.post("/batches", status_code=201, responses={201: {"model": Batch}, **ERRORS, **ABSENT})
    async def start(body: BatchRequest) -> Json:
        """Start a run that continues every prompt of a file."""
        async with _prefect() as prefect:
            where = "/".join(quote(each, safe="") for each in DEPLOYMENT.split("/"))
            found = await _answer(prefect, "GET", f"/deployments/name/{where}")
            if found is None:
                said = f"Prefect has no deployment {DEPLOYMENT}: run `make deploy`"
                raise Refusal(503, said, "unavailable")
            run = await _answer(
                prefect, "POST", f"/deployments/{found['id']}/create_flow_run", {"parameters": body.model_dump()}
            )
        return Json(_shown(run), 201)

    @app.get("/batches/{id}", responses={200: {"model": Batch}, **ERRORS, **ABSENT})
    async def status(id: UUID) -> Json:
        """How a batch stands."""
        async with _prefect() as prefect:
            run = await _answer(prefect, "GET", f"/flow_runs/{id}")
        if run is None:
            raise Refusal(404, f"there is no batch {id}", "not_found", "id")
        return Json(_shown(run))


def _prefect() -> httpx.AsyncClient:
    """Raises Refusal if no server is set."""
    address, secret = os.environ.get("PREFECT_API_URL", ""), os.environ.get("PREFECT_API_AUTH_STRING", "")
    if not address:
        said = "batches are runs on a Prefect server, and this server knows none: start it with PREFECT_API_URL"
        raise Refusal(503, said, "unavailable")
    user, _, password = secret.partition(":")
    return httpx.AsyncClient(base_url=address, timeout=SECONDS, auth=(user, password) if secret else None)


async def _answer(prefect: httpx.AsyncClient, method: str, path: str, body: Any = None) -> Any:
    """What Prefect says, None if it has no such thing. Raises Refusal if it cannot be asked."""
    try:
        answer = await prefect.request(method, path, json=body)
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        return answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        said = f"Prefect's server does not answer: {type(error).__name__}; try again later"
        raise Refusal(503, said, "unavailable") from None


def _shown(run: Any) -> dict[str, str]:
    state = run["state"] or {}
    kind, message = str(state.get("type", "")), str(state.get("message") or "")
    return {"id": run["id"], "name": run["name"], "object": "batch", "status": kind, "message": message}
