"""The report at the end of a run, in Markdown, for the terminal and Prefect's UI."""

import math
import re
import shutil
import sys
from base64 import b64encode
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL
from prefect.utilities.urls import url_for

from flows.equal_size import EQUAL, Reached, by_a_benchmark, by_a_run, has_as_many
from flows.page.page import REPORT, Facts, Table, write_page
from gptcore.addresses import redacted
from gptcore.config.params import read_params
from gptcore.files import read_json
from gptcore.registry.address import embedded_uri, tracking_uri
from gptcore.registry.pages import artifact_page, experiment_page, run_page
from gptcore.stages.baseline import START, TRAIN
from tasks.dvc.experiments import experiments
from tasks.keep_page import keep_page
from tasks.promote import Promotion
from tasks.show import described, harmless
from tasks.stop import unless_stopped
from tasks.workspace.clone import git
from tasks.workspace.workspace import Workspace

FIGURES = {"loss": ".4f", "perplexity": ",.2f", "bits_per_byte": ".4f", "parameters": ",", "tokens": ",",
           "seconds": ",.1f", "tokens_per_second": ",.0f"}  # fmt: skip

LARGE = 1e6  # from here on, a figure is easier to read with an exponent


def report(
    workspace: Workspace, states: Mapping[str, State[Any]], promotion: State[Any], experiment: str | None
) -> str:
    """Stages, both models side by side, a sample, where to see more. Also an artifact, with the curves, and the page.

    It ends with a list of addresses and commands, which a terminal prints without wrapping them (terminal.py).
    """
    metrics = read_json(workspace.paths.evaluation / "metrics.json")
    intervals = read_json(workspace.paths.evaluation / "intervals.json")
    params = read_params(workspace.paths.params)
    start, baseline = str(params["train"]["start"]), str(params["baseline"]["source"])
    stages = _table(["stage", "state", ""], ([name, state.name, state.message] for name, state in states.items()))
    old, outputs = metrics["retained"], _outputs(workspace)
    equal = _at_equal_size(workspace, metrics, params, outputs)
    tables, heads = list(_tables(metrics, intervals, equal)), ("difference", "95 % interval")
    comparison = "\n\n".join(_table([f"on {each.on}", "model", each.other, *heads], each.rows) for each in tables)
    reached = " ".join(
        filter(None, (fairness(metrics, baseline, start, equal), forgotten(start, old, intervals.get("retained"))))
    )
    better, sure = verdict(intervals["difference"]), how_sure(metrics, intervals)
    facts = Facts(
        sentence=str(promotion.message), verdict=better, how_sure=sure, reached=reached, tables=tables,
        run=str(flow_run.name), commit=workspace.commit(), experiment=experiment,
        version=promotion.result().version if promotion.data else 0, start=start, outputs=outputs,
    )  # fmt: skip
    page = write_page(workspace.paths.root / "data", facts)
    if promotion.data and promotion.name != "Cached":
        unless_stopped(keep_page(workspace, promotion.result(), page, wait_for=[promotion]))
    results = [f"{better} {sure}", comparison, reached, f"**{promotion.message}**"]
    sample = f"A sample of its text:\n\n```text\n{_sample(workspace)}\n```"
    ways = list(_commands(workspace, promotion, experiment))
    links = "\n".join(f"- [{what}]({how})" if how.startswith("http") else f"- {what}: {how}" for what, how in ways)
    images = [image(workspace.paths.evaluation / f"{name}.png") for name in ("loss", "position")]
    with harmless():
        create_markdown_artifact(
            key="report",
            description=described(str(promotion.message)),
            markdown="\n\n".join([*results, *images, sample, stages, links]),
        )
    return "\n\n".join([stages, *results, sample, "\n".join(f"- {what}: {how}" for what, how in ways)])


def _at_equal_size(
    workspace: Workspace, metrics: dict[str, Any], params: Mapping[str, Any], outputs: Mapping[str, str]
) -> Reached | None:
    """None where the baseline has the model's size or is its start, or where nobody knows."""
    if params["baseline"]["source"] == START or has_as_many(metrics["baseline"]["parameters"], metrics):
        return None
    if found := by_a_run(experiments(workspace.checkout, every_commit=True), metrics, params, outputs):
        return found
    return by_a_benchmark(read_json(workspace.paths.tokens / "meta.json"), metrics, params)


def counted(metrics: Mapping[str, Any]) -> str:
    """What the losses are means over."""
    validation = metrics["validation"]
    if prompts := validation.get("prompt_tokens", 0):
        return f"token of the validation responses ({validation['tokens']:,}; of the prompts {prompts:,} do not count)"
    return "validation token"


def _outputs(workspace: Workspace) -> dict[str, str]:
    return {path: md5 for each in workspace.verdicts().values() for path, md5 in each.outputs.items()}


def image(path: Path) -> str:
    """A picture in Markdown, as a data URI: Prefect's UI shows it, while below an image artifact it prints the URI."""
    return f"![{path.stem}](data:image/png;base64,{b64encode(path.read_bytes()).decode()})"


def _table(heads: list[str], rows: Iterable[Iterable[str | None]]) -> str:
    lines = [heads, [":---", *["---:" if len(heads) > 3 else ":---"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cell or '' for cell in line)} |" for line in lines)


def verdict(difference: dict[str, dict[str, float]] | None, other: str = "the baseline") -> str:
    """Whether the model is better, by the paired interval of bits per byte."""
    if difference is None:
        return "The validation text is a single window, too short for intervals."
    low, high = difference["bits_per_byte"]["low"], difference["bits_per_byte"]["high"]
    if not math.isfinite(low + high):
        return "The losses are not finite, so there is no verdict."
    if low <= 0 <= high:
        return f"No difference from {other} is shown: it is {low:+.4f} to {high:+.4f} bits per byte (95 %)."
    word, least, most = ("better", -high, -low) if high < 0 else ("worse", low, high)
    return f"The model is {word} than {other} by {least:.4f} to {most:.4f} bits per byte (95 %)."


def how_sure(metrics: dict[str, Any], intervals: dict[str, Any]) -> str:
    """What the intervals resample, and what they would miss with windows as independent."""
    if intervals["difference"] is None:
        return ""
    by = f"the {metrics['validation']['documents']:,} validation documents"
    if length := intervals["windows_per_block"]:
        by = f"blocks of {length} consecutive windows, as the text is mostly one document or two"
    covers = f"Intervals resample {by}; they cover the text, not the seed of the training."
    if intervals["difference"]["loss"] is None:
        return f"{covers} The baseline has another tokenizer, so only bits per byte compare."
    return (
        f"{covers} The standard error of the loss "
        f"difference is {intervals['difference']['loss']['standard_error']:.4f}; windows taken as independent would "
        f"give {metrics['difference']['loss_standard_error']:.4f}."
    )


def _tables(metrics: dict[str, Any], intervals: dict[str, Any], equal: Reached | None) -> Iterable[Table]:
    """On the validation text; on equal terms; on the text of the start, if it is known; on the tasks, if any."""
    yield Table(f"every {counted(metrics)}", "baseline", list(_comparison(metrics, intervals)))
    if rows := list(_on_equal_terms(metrics, equal)):
        yield Table("equal terms", "nanoGPT", rows)
    if old := metrics["retained"]:
        rows = list(_comparison({**old, "baseline": old["start"]}, intervals["retained"]))
        yield Table("the start's text", "start", rows)
    if tasks := metrics["tasks"]:
        yield Table("tasks", "baseline", list(_on_tasks(tasks, intervals["tasks"])))


def _on_equal_terms(metrics: dict[str, Any], equal: Reached | None) -> Iterable[list[str]]:
    """The losses after equal time are those of the two curves, on their windows."""
    time = metrics["at_equal_time"]
    if None not in (time["model"], time["baseline"]):
        yield _beside(f"loss after {time['seconds']:,.1f} s each", time["model"], time["baseline"])
    if equal:
        model = metrics["model"]
        yield _beside(f"loss, {equal.parameters:,} parameters", model["loss"], equal.loss)
        yield _beside("bits per byte, likewise", model["bits_per_byte"], equal.bits_per_byte)


def _beside(name: str, ours: float, theirs: float) -> list[str]:
    return [name, f"{ours:.4f}", f"{theirs:.4f}", f"{ours - theirs:+.4f}", ""]


def _on_tasks(tasks: dict[str, Any], intervals: dict[str, Any]) -> Iterable[list[str]]:
    """An end of an interval that items without a grade leave open is a question mark."""
    for task, metrics in tasks.items():
        for name, each in metrics.items():
            ours, theirs, bounds = each["model"], each["baseline"], intervals[task][name]
            unknown = f" ({each['ungraded']:,} not asked)" if each["ungraded"] else ""
            yield [
                f"{task} {name}{unknown}",
                *(_shown(figure) for figure in (ours, theirs)),
                "" if None in (ours, theirs) else _shown(ours - theirs, "+"),
                " to ".join(_shown(end, "+") for end in (bounds or {}).values()),
            ]


def _shown(figure: float | None, sign: str = "") -> str:
    """Perplexities may be huge."""
    return "?" if figure is None else f"{figure:{sign}{'.4f' if abs(figure) < LARGE else '.2e'}}"


def _comparison(metrics: dict[str, Any], intervals: dict[str, Any]) -> Iterable[list[str]]:
    ours, theirs = metrics["model"], metrics["baseline"]
    for name, shape in ((name, shape) for name, shape in FIGURES.items() if name in ours):
        interval = (intervals["difference"] or {}).get(name)
        is_apart = metrics["difference"].get(name, 0) is None  # their tokens are not the same
        yield [
            name.replace("_", " "),
            f"{ours[name]:{shape}}",
            "" if theirs[name] is None else f"{theirs[name]:{shape}}",
            "" if is_apart or theirs[name] is None else f"{ours[name] - theirs[name]:+{shape}}",
            f"{interval['low']:+{shape}} to {interval['high']:+{shape}}" if interval else "",
        ]


def _reached(reached: dict[str, Any]) -> str:
    if reached["steps"] is None:
        return "The model did not reach the baseline's final loss."
    when = f"at step {reached['steps']:,}, after {reached['seconds']:.1f} s of training"
    return f"The model reached the baseline's final loss {when}: {reached['speedup']:.1f} times as fast."


def fairness(metrics: dict[str, Any], source: str, start: str = "", equal: Reached | None = None) -> str:
    """What the baseline is, and what it reaches in the same seconds and with as many parameters: `equal`, if known."""
    if source == START:
        return f"The baseline is {start} itself, which the training went on from."
    return f"{_in_time(metrics, source)} {_in_size(metrics, source, equal)}"


def forgotten(start: str, old: Mapping[str, Any] | None, intervals: Mapping[str, Any] | None) -> str:
    """What a model that went on from `start` has lost on its start's text; empty if it began with random weights."""
    if not start:
        return ""
    if old is None or intervals is None:
        return f"Nothing is known of the text of its start, {start}, so what the model has forgotten is not measured."
    return f"On the text of its start, {start}: {verdict(intervals['difference'], 'the start')}"


def _in_time(metrics: dict[str, Any], source: str) -> str:
    if source != TRAIN:
        return f"The baseline is {source}, which was not trained here: nobody knows what it reaches in equal time."
    equal = metrics["at_equal_time"]
    reached = f"The baseline is nanoGPT's recipe. {_reached(metrics['baseline_loss_reached'])}"
    if equal["model"] is None or equal["baseline"] is None:
        return f"{reached} At equal time the two cannot be compared."
    return (
        f"{reached} At equal time, after {equal['seconds']:,.1f} s of training each, the model's validation loss is "
        f"{equal['model']:.4f} and the baseline's {equal['baseline']:.4f}."
    )


def _in_size(metrics: dict[str, Any], source: str, equal: Reached | None) -> str:
    ours, theirs = metrics["model"]["parameters"], metrics["baseline"]["parameters"]
    if has_as_many(theirs, metrics):
        return "Both have about as many parameters."
    if equal:
        return equal.said
    remedy = f" {EQUAL} gives the baseline as many." if source == TRAIN else ""
    return f"At equal parameters they were not compared: the model has {ours:,} and the baseline {theirs:,}.{remedy}"


def _sample(workspace: Workspace) -> str:
    """The last sample of data/model/samples.md, without its fence."""
    samples = (workspace.paths.model / "samples.md").read_text(encoding="utf-8")
    return whole_words(samples.split("```text\n")[-1].rsplit("\n```", 1)[0])


def whole_words(sample: str) -> str:
    """A sample ends after some number of tokens, often within a word: leave that word out, with an ellipsis."""
    if sample.rstrip().endswith((".", "!", "?")):
        return sample
    words = re.match(r".*\S(?=\s)", sample, re.DOTALL)
    return f"{words[0] if words else sample} …"


def _commands(workspace: Workspace, promotion: State[Any], experiment: str | None) -> Iterable[tuple[str, str]]:
    prefect, dvc = _program("prefect", workspace.checkout), _program("dvc", workspace.checkout)
    page = url_for("flow-run", flow_run.id) if PREFECT_API_URL.value() else None
    yield "this run (Prefect)", page or f"`{prefect} --no-prompt server start`"
    if workspace.root == workspace.checkout:
        yield "its report", f"`{workspace.paths.evaluation.relative_to(workspace.root) / REPORT}`"
    if promotion.data is not None:  # None if promotion was off
        yield from _model_pages(workspace.checkout, promotion.result())
    commit = workspace.commit()[:10]
    yield "its code", f"`git show {commit}`"
    if experiment and git(["ls-tree", "--name-only", commit, "dvc.lock"], workspace.root):  # else it has no metrics
        yield "its parameters and metrics", f"`{dvc} exp diff {commit} {experiment}`"
    if experiment:
        yield "all experiments", f"`{dvc} exp show`"
    is_apart = workspace.root != workspace.checkout
    curves = f"plots diff workspace {experiment}" if is_apart else "plots show"
    yield "loss curves", f"`{dvc} {curves} --open`"


def _model_pages(checkout: Path, promotion: Promotion) -> Iterable[tuple[str, str]]:
    """The model's page on an MLflow server, and that of all models; or the command that starts one."""
    uri, run = redacted(tracking_uri(checkout)), promotion.mlflow_run_id
    if uri.startswith("http"):
        yield "its model (MLflow)", run_page(uri, promotion.mlflow_experiment_id, run)
        yield "its report (MLflow)", artifact_page(uri, promotion.mlflow_experiment_id, run, REPORT)
        yield "all models (MLflow)", experiment_page(uri, promotion.mlflow_experiment_id)
        return
    database = "sqlite:///mlflow.db" if uri == embedded_uri(checkout) else '"$MLFLOW_TRACKING_URI"'
    yield "its model (MLflow)", f"`{_program('mlflow', checkout)} ui --backend-store-uri {database}`, run {run}"


def _program(name: str, checkout: Path) -> str:
    """How to call `name` from the checkout, whether or not the environment is activated."""
    program = Path(sys.executable).with_name(name)
    if shutil.which(name) == str(program):
        return name
    return str(program.relative_to(checkout) if program.is_relative_to(checkout) else program)
