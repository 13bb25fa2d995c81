"""The end of a run, as people read it in the terminal and in Prefect's UI: Markdown."""

import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL

from gptcore.files import read_json
from tasks.promote import tracking_uri
from tasks.workspace import Workspace

FIGURES = {"loss": ".4f", "perplexity": ",.2f", "bits_per_byte": ".4f", "parameters": ",", "tokens": ",",
           "seconds": ",.1f", "tokens_per_second": ",.0f"}  # fmt: skip


def report(
    workspace: Workspace, states: Mapping[str, State[Any]], promotion: State[Any], experiment: str | None
) -> str:
    """Both models side by side, how each stage went, a sample, and the commands that show more. Also an artifact."""
    metrics = read_json(workspace.paths.evaluation / "metrics.json")
    text = "\n\n".join(
        [
            _table(["stage", "state", ""], ([name, state.name, state.message] for name, state in states.items())),
            _table(["on every validation token", "model", "nanoGPT baseline", "difference"], _comparison(metrics)),
            _reached(metrics["baseline_loss_reached"]),
            f"**{promotion.message}**",
            f"A sample of its text:\n\n```text\n{_sample(workspace)}\n```",
            _table(["to see", "run"], _commands(workspace, experiment)),
        ]
    )
    create_markdown_artifact(key="report", description="Model and baseline, promotion, sample", markdown=text)
    return text


def _table(heads: list[str], rows: Iterable[Iterable[str | None]]) -> str:
    lines = [heads, [":---", *["---:" if len(heads) == 4 else ":---"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cell or '' for cell in line)} |" for line in lines)


def _comparison(metrics: dict[str, Any]) -> Iterable[list[str]]:
    ours, theirs = metrics["model"], metrics["baseline"]
    for name, shape in FIGURES.items():
        difference = ours[name] - theirs[name]
        yield [name.replace("_", " "), f"{ours[name]:{shape}}", f"{theirs[name]:{shape}}", f"{difference:+{shape}}"]


def _reached(reached: dict[str, Any]) -> str:
    if reached["steps"] is None:
        return "The model did not reach the baseline's final loss."
    when = f"at step {reached['steps']:,}, after {reached['seconds']:.1f} s of training"
    return f"The model reached the baseline's final loss {when}: {reached['speedup']:.1f} times as fast."


def _sample(workspace: Workspace) -> str:
    """The last one of data/model/samples.md, its fence taken off."""
    samples = (workspace.paths.model / "samples.md").read_text(encoding="utf-8")
    return samples.split("```text\n")[-1].rsplit("\n```", 1)[0]


def _commands(workspace: Workspace, experiment: str | None) -> Iterable[list[str]]:
    prefect, mlflow, dvc = (_program(name, workspace.checkout) for name in ("prefect", "mlflow", "dvc"))
    served = str(PREFECT_API_URL.value() or "").removesuffix("/api")
    yield ["runs and logs (Prefect)", served or f"`{prefect} --no-prompt server start`"]
    uri = tracking_uri(workspace.checkout)
    database = uri.replace(f"{workspace.checkout}/", "")
    yield ["models (MLflow)", uri if uri.startswith("http") else f"`{mlflow} ui --backend-store-uri {database}`"]
    yield ["experiments", f"`{dvc} exp show`"]
    is_apart = workspace.root != workspace.checkout
    yield [
        "loss curves",
        f"`{dvc} plots diff workspace {experiment} --open`" if is_apart else f"`{dvc} plots show --open`",
    ]


def _program(name: str, checkout: Path) -> str:
    """What to type for `name` in the checkout, whether or not the environment is activated."""
    program = Path(sys.executable).with_name(name)
    if shutil.which(name) == str(program):
        return name
    return str(program.relative_to(checkout) if program.is_relative_to(checkout) else program)
