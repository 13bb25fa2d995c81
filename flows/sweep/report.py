"""The report of a sweep, as Markdown and as an artifact: the ranking, a plot of it, and the DVC command for it."""

import math
import re
import shlex
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import FlowRun
from prefect.utilities.urls import url_for

from flows.sweep.grid import Member
from flows.sweep.plot import RESULT, draw
from gptcore.errors import UserError
from gptcore.evaluation.runs import varied
from gptcore.evaluation.seeds import same_but_seeds, verdict_over_seeds
from tasks.dvc.experiments import METRICS, Experiment
from tasks.runs import measured
from tasks.show import described, harmless


@dataclass(frozen=True)
class Outcome:
    """The outcome of a member: an experiment if it succeeded; the run is None if the experiment existed before."""

    member: Member
    experiment: Experiment | None
    run: FlowRun | None

    @property
    def bits_per_byte(self) -> float:
        """What the sweep ranks by. Infinite for a member that failed, or whose loss is not a number."""
        found = self.experiment.metrics[f"{self.subject}.bits_per_byte"] if self.experiment else None
        return found if found is not None and math.isfinite(found) else math.inf

    @property
    def subject(self) -> str:
        """A sweep over values of the baseline alone looks for the best baseline; the model is always the same."""
        return "baseline" if all(name.split(".")[0] == "baseline" for name in self.member.values) else "model"

    @property
    def message(self) -> str:
        if self.run is None:
            return "was there already"
        assert self.run.state
        if self.run.state.is_completed():
            return "" if self.experiment else "its experiment is not in this checkout; `dvc exp pull` fetches it"
        said = re.sub(r"^Flow run encountered an exception: (\w+: )?", "", self.run.state.message or "")
        return f"{self.run.state.name}: {said}"


def rank(outcomes: list[Outcome]) -> list[Outcome]:
    """Sort them best first, as `dvc exp show --sort-by` does."""
    return sorted(outcomes, key=lambda outcome: outcome.bits_per_byte)


def report(outcomes: list[Outcome], promotion: str) -> str:
    """The text for the terminal; also creates an artifact, with a plot."""
    values = pd.DataFrame([outcome.member.values for outcome in outcomes], dtype=object)
    table = _table(outcomes, varied(values, values.columns))
    order = f"The same order: `{command(outcomes[0].subject)}`"
    end = "\n\n".join([*over_seeds(outcomes), *chosen(outcomes[0]), f"**{promotion}**", order])
    values[RESULT] = [outcome.bits_per_byte for outcome in outcomes]
    png = draw(values[values[RESULT] < math.inf])
    with harmless():
        create_markdown_artifact(
            key="sweep",
            description=described("the sweep's runs, ranked by bits per byte"),
            markdown=f"{table}\n\n![bits per byte](data:image/png;base64,{b64encode(png).decode()})\n\n{end}",
        )
    return f"{table}\n\n{end}"


def over_seeds(outcomes: list[Outcome]) -> Iterator[str]:
    """A sentence for each recipe that was trained from several seeds, and what its interval then covers."""
    done = [(outcome.member, outcome.experiment) for outcome in outcomes if outcome.experiment]
    for group in same_but_seeds(member.params for member, _ in done):
        seeds = ", ".join(str(done[each][0].params["train.seed"]) for each in group)
        try:
            found = [measured(experiment, Path.cwd()) for _, experiment in (done[each] for each in group)]
            yield f"Of train.seed {seeds}: {verdict_over_seeds(found)}"
        except UserError as error:
            yield f"Of train.seed {seeds} nothing is said together: {error}."


def chosen(best: Outcome) -> Iterator[str]:
    """How other runs take the best baseline of a sweep."""
    if best.subject == "baseline":
        overrides = " ".join(shlex.quote(each) for each in best.member.overrides)
        yield f"The best baseline, against which the model was judged: `gptcore configure {overrides}`"


def command(subject: str = "model") -> str:
    return f"dvc exp show --only-changed --sort-by {METRICS}:{subject}.bits_per_byte --sort-order asc"


def _table(outcomes: list[Outcome], swept: list[str]) -> str:
    subject = outcomes[0].subject
    heads = ["", "run", *swept, f"bits per byte of the {subject}", "training seconds", ""]
    rows = [heads, ["---:", ":---", *[":---"] * len(swept), "---:", "---:", ":---"]]
    for number, outcome in enumerate(outcomes, start=1):
        values = [str(outcome.member.values[name]) for name in swept]
        figures = ["", ""]
        if outcome.experiment:
            metrics = outcome.experiment.metrics
            seconds = metrics[f"{subject}.seconds"]  # None of a model that was not trained here
            figures = [f"{metrics[f'{subject}.bits_per_byte']:.4f}", "" if seconds is None else f"{seconds:,.1f}"]
        rows.append([str(number), _name(outcome), *values, *figures, outcome.message])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _name(outcome: Outcome) -> str:
    if outcome.run is None:
        return outcome.experiment.name if outcome.experiment else ""
    return f"[{outcome.run.name}]({url_for('flow-run', outcome.run.id)})"
