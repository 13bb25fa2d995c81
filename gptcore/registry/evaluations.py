"""Figures of the checkpoints of one training: an MLflow run with a point for each, logged once.

MLflow lets nobody overwrite a parameter, so a run's parameter for a step says for good which model its point is of.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

from gptcore.errors import UserError
from gptcore.registry.pages import EVALUATIONS_TAGS

if TYPE_CHECKING:
    from gptcore.registry.tracking import Registry

EXPERIMENT = "gpt-evaluations"
ALWAYS = "bits_per_byte"  # a metric that each point has
QUESTION = "question_sha256"


class Evaluations:
    """The points of one run; `models` are steps and the sha256 of their weights, `asked` says what they were asked."""

    def __init__(self, registry: "Registry", name: str, asked: Mapping[str, str], models: Mapping[int, str]) -> None:
        self.client, self.place, self.models = registry.client, registry.place, models
        question = hashlib.sha256(json.dumps([name, asked], sort_keys=True).encode()).hexdigest()
        self.run = self._same(question) or str(
            self.client.create_run(self._experiment(), run_name=name, tags={**asked, QUESTION: question}).info.run_id
        )

    def points(self) -> dict[int, dict[str, float]]:
        """The figures of each step that has been logged."""
        found: dict[int, dict[str, float]] = {}
        for name in self.client.get_run(self.run).data.metrics:
            for each in self.client.get_metric_history(self.run, name):
                found.setdefault(each.step, {})[name] = each.value
        return {step: each for step, each in sorted(found.items()) if ALWAYS in each}

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Log a point. Again after a kill, the same one is no second: it has the same time."""
        began = self.client.get_run(self.run).info.start_time
        self.client.log_param(self.run, _param(step), self.models[step])
        self.client.log_batch(self.run, [Metric(name, value, began, step) for name, value in figures.items()])
        if len(self.points()) == len(self.models):
            self.client.update_run(self.run, status="FINISHED")  # `set_terminated` prints lines

    def _same(self, question: str) -> str | None:
        """The newest run that asked this and has no point of another model at one of the steps."""
        asked = f"tags.{QUESTION} = '{question}'"
        for run in self.client.search_runs([self._experiment()], asked, order_by=["start_time DESC"]):
            known = run.data.params
            if all(known.get(_param(step), sha256) == sha256 for step, sha256 in self.models.items()):
                return str(run.info.run_id)
        return None

    def _experiment(self) -> str:
        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            try:
                return str(self.client.create_experiment(EXPERIMENT, self.place, tags=EVALUATIONS_TAGS))
            except MlflowException:  # another host was faster
                found = self.client.get_experiment_by_name(EXPERIMENT)
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            restore = f"mlflow experiments restore --experiment-id {found.experiment_id}"
            raise UserError(f"the experiment {EXPERIMENT} of the MLflow registry is deleted; restore it: `{restore}`")
        return str(found.experiment_id)


def _param(step: int) -> str:
    return f"model_sha256/step {step}"
