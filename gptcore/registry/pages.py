"""What MLflow's pages show: descriptions, few tags, and the runs ranked by their metrics."""

import json
from collections.abc import Mapping

COLUMNS = ("model.bits_per_byte", "baseline.bits_per_byte", "model.loss", "model.perplexity", "model.tokens_per_second")
GROUPS = {"data.": "outputs_md5", "stage_key.": "stage_keys"}  # prefix of tags: the one tag that holds them, as JSON
NOTE = "mlflow.note.content"  # what MLflow shows as description of an experiment or run

MODEL_NOTE = "GPTs that the flow train-gpt has trained. `champion` is the best so far, `challenger` the newest."
EXPERIMENT_TAGS = {
    NOTE: "Trainings, followed while they train, and the versions of the model `gpt` that the flow made.",
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.experiment.primaryMetric.name": COLUMNS[0],
    "mlflow.sharedViewState.gptcore": json.dumps({
        "selectedColumns": ["attributes.`Models`", *(f"metrics.`{name}`" for name in COLUMNS)],
        "orderByKey": f"metrics.`{COLUMNS[0]}`",
        "orderByAsc": True,
    }),
}  # fmt: skip

JOURNAL_TAGS = {
    NOTE: "The run in here holds a line for each move of an alias of the model `gpt`: `gptcore registry history`.",
    "mlflow.experimentKind": "custom_model_development",
}

EVALUATIONS_TAGS = {
    NOTE: "Runs of the flow evaluate-checkpoints: a point for each checkpoint of a training.",
    "mlflow.experimentKind": "custom_model_development",
}


def experiment_page(address: str, experiment: str) -> str:
    """All runs, the best first. Without `workflowType`, MLflow opens the pages of its GenAI part."""
    view = "viewStateShareKey=gptcore&workflowType=machine_learning"
    return f"{address.rstrip('/')}/#/experiments/{experiment}/runs?{view}"


def run_page(address: str, experiment: str, run: str) -> str:
    return f"{address.rstrip('/')}/#/experiments/{experiment}/runs/{run}?workflowType=machine_learning"


def artifact_page(address: str, experiment: str, run: str, path: str) -> str:
    return f"{address.rstrip('/')}/#/experiments/{experiment}/runs/{run}/artifacts/{path}?workflowType=machine_learning"


def version_page(address: str, number: int) -> str:
    return f"{address.rstrip('/')}/#/models/gpt/versions/{number}"


def packed(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags as MLflow keeps them: those of a group in one, as its pages show each tag in a row of its own."""
    members: dict[str, dict[str, str]] = {}
    others = {}
    for name, value in tags.items():
        prefix = next((each for each in GROUPS if name.startswith(each)), None)
        if prefix:
            members.setdefault(GROUPS[prefix], {})[name.removeprefix(prefix)] = value
        else:
            others[name] = value
    return others | {group: json.dumps(each) for group, each in members.items()}


def unpacked(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that `packed` has packed; those of versions from before it are as they were."""
    found = {name: value for name, value in tags.items() if name not in GROUPS.values()}
    for prefix, group in GROUPS.items():
        found |= {f"{prefix}{name}": value for name, value in json.loads(tags.get(group, "{}")).items()}
    return found
