"""Who answers: Prefect, MLflow and gptcore's own server. Those that the environment names must; others need not."""

import os
from pathlib import Path

import requests

from gptcore.addresses import redacted
from gptcore.doctor.finding import Finding
from gptcore.registry.address import tracking_uri

SECONDS = 2.0
SERVING = "http://127.0.0.1:8000"  # where `make serve` listens


def prefect() -> Finding:
    """At PREFECT_API_URL, or where `make ui` starts it."""
    named = os.environ.get("PREFECT_API_URL")
    host, port = (
        os.environ.get("PREFECT_SERVER_API_HOST", "127.0.0.1"),
        os.environ.get("PREFECT_SERVER_API_PORT", "4200"),
    )
    address = (named or f"http://{host}:{port}/api").rstrip("/")
    answered, said = _ask(f"{address}/health")
    if answered:
        return Finding("Prefect", "ok", f"answers at {redacted(address)}")
    if named:
        remedy = "start it, or unset PREFECT_API_URL: a run then has a server of its own"
        return Finding("Prefect", "missing", f"no answer at {redacted(address)}: {said}", remedy)
    return Finding("Prefect", "ok", f"no server at {address}; a run has its own while it lasts", "`make ui` starts one")


def mlflow(checkout: Path) -> Finding:
    """At MLFLOW_TRACKING_URI, or a database in the checkout."""
    uri = tracking_uri(checkout)
    if uri.startswith(("http://", "https://")):
        answered, said = _ask(f"{uri.rstrip('/')}/health")
        if answered:
            return Finding("MLflow", "ok", f"answers at {redacted(uri)}")
        remedy = "start it, or unset MLFLOW_TRACKING_URI: models are then kept in mlflow.db here"
        return Finding("MLflow", "missing", f"no answer at {redacted(uri)}: {said}", remedy)
    if os.environ.get("MLFLOW_TRACKING_URI"):
        return Finding("MLflow", "ok", f"keeps models at {redacted(uri)}")
    answered, _ = _ask(f"http://127.0.0.1:{os.environ.get('UI_PORT', '5000')}/health")
    is_there = "" if (checkout / "mlflow.db").is_file() else ", which the first run makes"
    found = f"keeps models in mlflow.db here{is_there}; its pages are {'up' if answered else 'not up'}"
    return Finding("MLflow", "ok", found, "" if answered else "`make ui` opens them")


def serving() -> Finding:
    answered, said = _ask(f"{SERVING}/ready")
    if answered:
        return Finding("serving", "ok", f"answers at {SERVING}")
    if said.startswith("HTTP"):
        return Finding("serving", "note", f"{SERVING} is not ready: {said}", f"curl {SERVING}/ready says why")
    return Finding("serving", "ok", f"no server at {SERVING}", "`make serve` answers with the champion")


def _ask(address: str) -> tuple[bool, str]:
    """Whether a server answers there, and if not, why."""
    try:
        answer = requests.get(address, timeout=SECONDS)
    except (requests.RequestException, ValueError) as error:
        return False, _reason(error)
    return answer.ok, f"HTTP {answer.status_code}"


def _reason(error: Exception) -> str:
    if isinstance(error, requests.Timeout):
        return f"silent for {SECONDS:.0f} s"
    return "nothing listens there" if "refused" in str(error) else redacted(str(error))[:200]
