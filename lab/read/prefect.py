"""Prefect's API over HTTP: runs, their stages, pages and logs; what starts and cancels runs."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from uuid import uuid4

import httpx

from gptcore.addresses import redacted
from gptcore.errors import Unavailable, UserError

FLOW, REBUILD = "train-gpt", "rebuild-gpt"
FINAL = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")
AT_ONCE = 200  # the most that Prefect gives
SECONDS = 5.0


@dataclass(frozen=True)
class Run:
    """A flow run. `seconds` is how long it has run, `state` a name such as AwaitingRetry, `kind` its type."""

    id: str
    name: str
    state: str
    kind: str
    message: str
    parameters: Mapping[str, Any]
    tags: Sequence[str]
    began: datetime | None
    seconds: float
    deployment: str | None

    @property
    def is_final(self) -> bool:
        return self.kind in FINAL

    @property
    def may_be_cancelled(self) -> bool:
        """A worker does it, which a run from a terminal does not have."""
        return bool(self.deployment) and not self.is_final and self.kind != "CANCELLING"


@dataclass(frozen=True)
class Step:
    """A task run: a stage, or a step such as `promote`."""

    id: str
    name: str
    state: str
    kind: str
    message: str
    seconds: float


@dataclass(frozen=True)
class Line:
    """A line of a log."""

    id: str
    when: str
    level: int
    text: str
    step: str | None


@dataclass(frozen=True)
class Deployment:
    id: str
    name: str
    description: str
    pool: str
    is_ready: bool


class Prefect:
    """The server at PREFECT_API_URL. Raises Unavailable while it does not answer."""

    def __init__(self, address: str | None = None) -> None:
        self.address = (address or os.environ.get("PREFECT_API_URL") or "http://127.0.0.1:4200/api").rstrip("/")

    @cached_property
    def http(self) -> httpx.Client:
        user, _, password = os.environ.get("PREFECT_API_AUTH_STRING", "").partition(":")
        key = os.environ.get("PREFECT_API_KEY")
        return httpx.Client(
            timeout=SECONDS, auth=(user, password) if user else None, trust_env=False,
            headers={"Authorization": f"Bearer {key}"} if key else {},
        )  # fmt: skip

    def page(self, run: str) -> str:
        """Of a run, in Prefect's own UI."""
        return f"{self.start_page()}/runs/flow-run/{run}"

    def start_page(self) -> str:
        """As a browser finds it, which may know the server by another name than this process."""
        return (os.environ.get("PREFECT_UI_URL") or self.address.removesuffix("/api")).rstrip("/")

    def runs(self, *flows: str) -> list[Run]:
        """Of these flows, train-gpt if none is named, the newest first."""
        named = {"name": {"any_": list(flows or (FLOW,))}}
        wanted = {"flows": named, "sort": "EXPECTED_START_TIME_DESC", "limit": AT_ONCE}
        return [_run(each) for each in self._ask("POST", "/flow_runs/filter", wanted)]

    def run(self, run: str) -> Run:
        """Raises UserError if there is none."""
        return _run(self._ask("GET", f"/flow_runs/{run}"))

    def steps(self, run: str) -> list[Step]:
        """In the order in which they began."""
        wanted = {"flow_runs": {"id": {"any_": [run]}}, "sort": "EXPECTED_START_TIME_ASC", "limit": AT_ONCE}
        return [_step(each) for each in self._ask("POST", "/task_runs/filter", wanted)]

    def artifacts(self, run: str) -> dict[str, str]:
        """key -> the newest text under it, such as why a stage ran."""
        wanted = {"artifacts": {"flow_run_id": {"any_": [run]}}, "sort": "CREATED_DESC", "limit": AT_ONCE}
        found = self._ask("POST", "/artifacts/filter", wanted)
        return {str(each["key"]): str(each["data"]) for each in reversed(found)}

    def lines(self, run: str, after: str = "") -> list[Line]:
        """Of a run's log, the oldest first: at most AT_ONCE of those from `after` on, that moment included."""
        since = {"timestamp": {"after_": after}} if after else {}
        wanted = {"logs": {"flow_run_id": {"any_": [run]}, **since}, "sort": "TIMESTAMP_ASC", "limit": AT_ONCE}
        found = self._ask("POST", "/logs/filter", wanted)
        return [
            Line(each["id"], each["timestamp"], each["level"], each["message"], each.get("task_run_id"))
            for each in found
        ]

    def deployments(self) -> list[Deployment]:
        """Of the flow train-gpt; those first that a worker serves."""
        wanted = {"flows": {"name": {"any_": [FLOW]}}, "limit": AT_ONCE}
        found = [_deployment(each) for each in self._ask("POST", "/deployments/filter", wanted)]
        return sorted(found, key=lambda each: (not each.is_ready, each.name != "train-local", each.name))

    def start(self, deployment: str, parameters: Mapping[str, Any]) -> Run:
        """A run of a deployment: by its id, or by a name such as `rebuild-gpt/rebuild-local`."""
        if "/" in deployment:
            deployment = self._ask("GET", f"/deployments/name/{deployment}")["id"]
        wanted = {"parameters": dict(parameters), "state": {"type": "SCHEDULED"}}
        return _run(self._ask("POST", f"/deployments/{deployment}/create_flow_run", wanted))

    def cancel(self, run: str) -> None:
        """Let it write a checkpoint and end; one that has not begun ends at once."""
        self._ask("POST", f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})

    def promoted(self, number: int, because: str) -> None:
        """Tell that a version has become champion, as flows do."""
        resource = {"prefect.resource.id": "gptcore.model.gpt", "prefect.resource.name": f"gpt version {number}"}
        event = {
            "occurred": datetime.now(UTC).isoformat(), "event": "gptcore.model.promoted", "id": str(uuid4()),
            "resource": resource, "payload": {"version": number, "because": because},
        }  # fmt: skip
        self._ask("POST", "/events", [event])

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        try:
            answer = self.http.request(method, self.address + path, json=body)
        except httpx.HTTPError as error:
            raise self._away(str(error) or type(error).__name__) from None
        if answer.status_code in (401, 403):
            raise UserError(f"Prefect at {redacted(self.address)} asks for a password; set PREFECT_API_AUTH_STRING")
        if answer.status_code == 404:
            raise UserError(f"Prefect at {redacted(self.address)} does not know {path}")
        if answer.is_server_error:
            raise self._away(f"HTTP {answer.status_code}")
        if answer.is_error:
            raise UserError(f"Prefect refuses {path}: {redacted(answer.text)[:300]}")
        return answer.json() if answer.content else None

    def _away(self, said: str) -> Unavailable:
        return Unavailable(f"Prefect at {redacted(self.address)} does not answer: {said}")


def _run(values: Mapping[str, Any]) -> Run:
    state = values.get("state") or {}
    began = values.get("start_time")
    return Run(
        id=values["id"], name=values["name"], state=state.get("name") or "", kind=state.get("type") or "",
        message=state.get("message") or "", parameters=values.get("parameters") or {}, tags=values.get("tags") or [],
        began=datetime.fromisoformat(began) if began else None, seconds=float(values.get("estimated_run_time") or 0.0),
        deployment=values.get("deployment_id"),
    )  # fmt: skip


def _step(values: Mapping[str, Any]) -> Step:
    state = values.get("state") or {}
    seconds = float(values.get("estimated_run_time") or 0.0)
    message = state.get("message") or ""
    return Step(values["id"], values["name"], state.get("name") or "", state.get("type") or "", message, seconds)


def _deployment(values: Mapping[str, Any]) -> Deployment:
    is_ready = values.get("status") == "READY"
    pool = values.get("work_pool_name") or ""
    return Deployment(values["id"], values["name"], values.get("description") or "", pool, is_ready)
