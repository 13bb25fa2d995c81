"""The gate: collects the measurements that a verdict needs. That of a run also makes those that are missing."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import get_run_logger

from gptcore.config.params import read_params, validate_section
from gptcore.errors import UserError
from gptcore.evaluation.config import EvaluateConfig
from gptcore.evaluation.gate import GateConfig
from gptcore.files import read_json
from gptcore.registry.judge import Ruling
from tasks.process.group import run_group
from tasks.stage import StageFailed, check
from tasks.workspace.slots import slot
from tasks.workspace.workspace import Workspace

if TYPE_CHECKING:  # numpy and MLflow: 2 s of imports that a run in which nothing changed does not pay
    from gptcore.evaluation.asked import Asked
    from gptcore.evaluation.measured import Measured
    from gptcore.registry.tracking import Registry, Version

# the tags of a version that say on which text it was measured, and on which text of its start
TEXT, RETAINED_TEXT = "validation_text_sha256", "retained_text_sha256"


def read_gate(params: Path) -> GateConfig:
    """Raises UserError, also for a condition on a task that `evaluate` does not ask."""
    values = read_params(params)
    gate = validate_section(values, "gate", GateConfig)
    gate.require(validate_section(values, "evaluate", EvaluateConfig).tasks)
    return gate


def check_tasks(params: Path) -> None:
    """Raises UserError if a file of `evaluate.tasks` does not ask any more what it asked when it was chosen.

    Those of the hub are named by a commit, and are read when they are asked.
    """
    tasks = validate_section(read_params(params), "evaluate", EvaluateConfig).tasks
    if files := [each for each in tasks if "://" not in each.source]:
        from gptcore.evaluation.benchmarks.chosen import opened

        for each in files:
            opened(each, params.parent)


def tasks_of(params: Path) -> dict[str, str]:
    """The tasks that `evaluate` asks, and the sha256 of what each asks. Raises UserError."""
    tasks = validate_section(read_params(params), "evaluate", EvaluateConfig).tasks
    return {each.task: each.sha256 for each in tasks}


class KeptGate:
    """Judges versions of `registry` by what it keeps of them: each with the champion on the text with the hash `text`,
    and by their answers to `tasks`, as `tasks_of` names them.

    It measures nothing, so it answers at once.
    """

    def __init__(self, registry: "Registry", config: GateConfig, text: str, tasks: Mapping[str, str]) -> None:
        self.registry, self.config, self.text, self.tasks = registry, config, text, tasks
        self.known: dict[tuple[int, str], Measured] = {}

    def __call__(self, version: "Version", champion: "Version | None") -> Ruling:
        """Raises UserError if one of the two was not, or cannot be, measured."""
        from gptcore.evaluation.verdict import Inputs, judge

        own = self._on(version, version.tags.get(TEXT, ""))
        theirs = beside = None
        if champion and any(each.against == "champion" and not each.task for each in self.config.conditions):
            theirs = self._on(champion, self.text)
            beside = self._on(version, self.text) if own.text_sha256 != self.text else None
        inputs = Inputs(
            version=version.number,
            own=own,
            champion_version=champion.number if champion else None,
            champion=theirs,
            beside=beside,
            retained=self._retained(version),
            tasks=self._asked(version, "baseline", "champion", "absolute"),
            champion_tasks=self._asked(champion, "champion") if champion else {},
        )
        verdict = judge(self.config, inputs)
        return Ruling(verdict.passed, verdict.because, verdict.record())

    def _retained(self, version: "Version") -> "Measured | None":
        """The version and its start on the start's text, if a condition is about that and the text is known."""
        from gptcore.evaluation.measured import Measured
        from gptcore.registry.tracking import retained_file

        text = version.tags.get(RETAINED_TEXT)
        if not text or all(each.against != "retained" for each in self.config.conditions):
            return None
        kept = self.registry.noted(version, retained_file(text))
        return None if kept is None else Measured.model_validate_json(kept)

    def _asked(self, version: "Version", *against: str) -> "dict[str, Asked]":
        """What a version answered to the tasks of such conditions, in their metrics alone."""
        from gptcore.evaluation.asked import Asked

        wanted: dict[str, set[str]] = {}
        for each in self.config.conditions:
            if each.task and each.against in against:
                wanted.setdefault(each.task, set()).add(each.name)
        kept = self._answers(version, list(wanted)) if wanted else {}
        return {
            task: Asked.model_validate_json(text).only(wanted[task]) for task, text in kept.items() if text is not None
        }

    def _answers(self, version: "Version", tasks: list[str]) -> dict[str, str | None]:
        """The file of each of `tasks` that is asked; None where the version keeps none."""
        from gptcore.registry.tracking import asked_file

        return {
            task: self.registry.noted(version, asked_file(self.tasks[task])) for task in tasks if task in self.tasks
        }

    def _on(self, version: "Version", text: str) -> "Measured":
        """The version measured on the text with this hash."""
        if (version.number, text) not in self.known:
            found = self._found(version, text)
            if found is None:
                raise UserError(f"gpt version {version.number} has no measurement on the text that it was tested on")
            self.known[version.number, text] = found
        return self.known[version.number, text]

    def _found(self, version: "Version", text: str) -> "Measured | None":
        from gptcore.evaluation.measured import Measured
        from gptcore.registry.tracking import measured_file

        kept = self.registry.noted(version, measured_file(text))
        return None if kept is None else Measured.model_validate(json.loads(kept))


class Gate(KeptGate):
    """Judges on the validation text of `workspace`; what was measured on other text is measured again on that."""

    def __init__(self, workspace: Workspace, registry: "Registry") -> None:
        meta: dict[str, Any] = read_json(workspace.paths.tokens / "meta.json")
        params = workspace.paths.params
        super().__init__(registry, read_gate(params), str(meta["val"]["text_sha256"]), tasks_of(params))
        self.workspace = workspace

    def note(self, version: "Version") -> None:
        """Keep what the run has measured with the version that it has made."""
        from gptcore.evaluation.measured import Measured
        from gptcore.registry.tracking import asked_file, measured_file, retained_file

        paths = self.workspace.paths
        values: dict[str, Any] = read_json(paths.evaluation / "measured.json")
        found = Measured.model_validate({**values, "facts": self._facts()})
        self.known[version.number, found.text_sha256] = found
        self.registry.note(version, measured_file(found.text_sha256), json.dumps(found.model_dump()))
        if (retained := read_json(paths.evaluation / "retained.json")) is not None:
            text = Measured.model_validate(retained)
            self.registry.note(version, retained_file(text.text_sha256), json.dumps(text.model_dump()))
        for each in read_json(paths.evaluation / "tasks.json"):
            self.registry.note(version, asked_file(each["sha256"]), json.dumps(each))

    def _facts(self) -> dict[str, int]:
        """What the limits of the gate are about."""
        export = self.workspace.paths.model / "export"
        counted = {
            "bytes": sum(each.stat().st_size for each in export.iterdir()),
            "parameters": self.workspace.metrics("evaluate").get("model.parameters"),
            "skipped_batches": self.workspace.metrics("train").get("skipped_batches"),
            "latency": None if self.config.limits.latency is None else self._latency(export),
        }
        return {name: value for name, value in counted.items() if value is not None}

    def _latency(self, export: Path) -> int:
        """Microseconds per generated token. It takes as long as some hundred tokens, so only where a limit asks."""
        get_run_logger().info("measures the microseconds per generated token, of which the gate has a limit")
        lines = self._run("gptcore.generation.latency", str(export))
        return int(next(each for each in reversed(lines) if each.isdigit()))

    def _found(self, version: "Version", text: str) -> "Measured | None":
        """As it was kept, or measured now."""
        kept = super()._found(version, text)
        if kept is None and text == self.text:
            self._measure(version)
            kept = super()._found(version, text)
        return kept

    def _answers(self, version: "Version", tasks: list[str]) -> dict[str, str | None]:
        """As they were kept, or asked now."""
        kept = super()._answers(version, tasks)
        if None in kept.values():
            self._measure(version)
            kept = super()._answers(version, tasks)
        return kept

    def _measure(self, version: "Version") -> None:
        """Raises UserError."""
        get_run_logger().info(f"measures gpt version {version.number} as this run's model was, to compare with it")
        try:
            self._run("gptcore", "registry", "measure", str(version.number))
        except StageFailed as error:
            remedy = "`gptcore registry verify` says how to get files back, `gptcore registry rollback` takes another"
            raise UserError(
                f"nothing can be compared with gpt version {version.number}: {error}; no alias was moved; {remedy}"
            ) from None

    def _run(self, *module: str) -> list[str]:
        """The lines of a process of its own, which imports torch and takes all cores. Raises StageFailed."""
        lines: list[str] = []

        def on_line(line: str) -> None:
            lines.append(line)
            get_run_logger().info(line)

        settings = {**self.workspace.settings, "MLFLOW_TRACKING_URI": self.registry.uri}
        with slot("measure"):
            code = run_group([sys.executable, "-m", *module], self.workspace.root, on_line, settings)
        check("measure", code, lines)
        return lines
