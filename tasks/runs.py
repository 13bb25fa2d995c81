"""Every run of a checkout as pandas tables, from DVC, Prefect and MLflow: `runs()` and `curves(names)`."""

from pathlib import Path

import pandas as pd
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_API_URL

import gptcore.evaluation.curves
import gptcore.evaluation.measured
import gptcore.evaluation.runs
from gptcore.errors import UserError
from gptcore.evaluation.runs import Measured, Registered, Started
from gptcore.files import read_json
from gptcore.registry.address import sqlite_file, tracking_uri
from tasks.dvc.experiments import Experiment, experiments
from tasks.dvc.repository import cache_folder, cached_file
from tasks.workspace.workspace import plain_name

FLOW_RUNS = 200  # as many as Prefect gives at once, the newest


def runs(checkout: Path | None = None) -> pd.DataFrame:
    """A row for each DVC experiment, flow run and model version, joined by name; see `gptcore.evaluation.runs.runs`.

    Flow runs are those of the Prefect server at PREFECT_API_URL, none without one. Raises UserError.
    """
    checkout = checkout or Path.cwd()
    measured = {each.name: Measured(each.params, each.metrics) for each in experiments(checkout, every_commit=True)}
    return gptcore.evaluation.runs.runs(measured, _flow_runs(), _versions(checkout))


def curves(names: list[str], checkout: Path | None = None, of: str = "model") -> pd.DataFrame:
    """The loss curves of experiments, or of their baselines with `of="baseline"`. Raises UserError."""
    checkout = checkout or Path.cwd()
    known = {each.name: each for each in experiments(checkout, every_commit=True)}
    if missing := [name for name in names if name not in known]:
        raise UserError(f"there is no experiment {missing[0]} in {checkout}; `dvc exp list --all` lists them")
    files = {}
    for name in names:
        curve, timing = (cached(known[name], f"data/{of}/{file}", checkout) for file in ("curve.csv", "timing.csv"))
        files[name] = (curve, timing)
    return gptcore.evaluation.curves.curves(files)


def measured(experiment: Experiment, checkout: Path) -> gptcore.evaluation.measured.Measured:
    """What an experiment measured. Raises UserError."""
    values = read_json(cached(experiment, "data/evaluation/measured.json", checkout))
    return gptcore.evaluation.measured.Measured.model_validate(values)


def cached(experiment: Experiment, path: str, checkout: Path) -> Path:
    """The file that an experiment has made at `path`, in DVC's cache. Raises UserError if it is not there."""
    found = cached_file(cache_folder(checkout), experiment.outputs[path])
    if not found.exists():
        name = experiment.name
        raise UserError(f"{path} of {name} is not in DVC's cache; `dvc exp pull origin {name}` fetches it")
    return found


def _flow_runs() -> dict[str, Started]:
    """The newest run of each name."""
    if not PREFECT_API_URL.value():
        return {}
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(limit=FLOW_RUNS, sort=FlowRunSort.START_TIME_DESC)
    return {plain_name(run.name): _started(run) for run in reversed(found)}


def _started(run: FlowRun) -> Started:
    state = (run.state.name or "") if run.state else ""
    return Started(str(run.id), state, run.total_run_time.total_seconds())


def _versions(checkout: Path) -> dict[str, Registered]:
    uri = tracking_uri(checkout)
    database = sqlite_file(uri)
    if database and not database.exists():
        return {}
    from gptcore.registry.tracking import opened

    found = {}
    with opened(uri, checkout / "mlartifacts") as registry:
        for version, aliases in registry.versions():
            name = version.tags.get("dvc_experiment") or plain_name(version.tags["flow_run_name"])
            found[name] = Registered(version.number, aliases, version.tags)
    return found
