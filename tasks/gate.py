"""The gate: collects the measurements that a verdict needs. That of a run also makes those that are missing."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import get_run_logger

from gptcore.config.params import read_params, validate_section
from gptcore.errors import UserError
from gptcore.evaluation.gate import GateConfig
from gptcore.files import read_json
from gptcore.registry.judge import Ruling
from tasks.process.group import run_group
from tasks.stage import StageFailed, check
from tasks.workspace.slots import slot
from tasks.workspace.workspace import Workspace

if TYPE_CHECKING:  # numpy and MLflow: 2 s of imports that a run in which nothing changed does not pay
    from gptcore.evaluation.measured import Measured
    from gptcore.registry.tracking import Registry, Version

# the tags of a version that say on which text it was measured, and on which text of its start
TEXT, RETAINED_TEXT = "validation_text_sha256", "retained_text_sha256"


def read_gate(params: Path) -> GateConfig:
    """Raises UserError."""
    return validate_section(read_params(params), "gate", GateConfig)


class KeptGate:
    """Judges versions of `registry` by what it keeps of them: each with the champion on the text with the hash `text`.

    It measures nothing, so it answers at once.
    """

    def __init__(self, registry: "Registry", config: GateConfig, text: str) -> None:
        self.registry, self.config, self.text = registry, config, text
        self.known: dict[tuple[int, str], Measured] = {}

    def __call__(self, version: "Version", champion: "Version | None") -> Ruling:
        """Raises UserError if one of the two was not, or cannot be, measured."""
        from gptcore.evaluation.verdict import Inputs, judge

        own = self._on(version, version.tags.get(TEXT, ""))
        theirs = beside = None
        if champion and any(each.against == "champion" for each in self.config.conditions):
            theirs = self._on(champion, self.text)
            beside = self._on(version, self.text) if own.text_sha256 != self.text else None
        inputs = Inputs(
            version=version.number,
            own=own,
            champion_version=champion.number if champion else None,
            champion=theirs,
            beside=beside,
            retained=self._retained(version),
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
        super().__init__(registry, read_gate(workspace.paths.params), str(meta["val"]["text_sha256"]))
        self.workspace = workspace

    def note(self, version: "Version") -> None:
        """Keep what the run has measured with the version that it has made."""
        from gptcore.evaluation.measured import Measured
        from gptcore.registry.tracking import measured_file, retained_file

        paths = self.workspace.paths
        values: dict[str, Any] = read_json(paths.evaluation / "measured.json")
        found = Measured.model_validate({**values, "facts": self._facts()})
        self.known[version.number, found.text_sha256] = found
        self.registry.note(version, measured_file(found.text_sha256), json.dumps(found.model_dump()))

        if (retained := read_json(paths.evaluation / "retained.json")) is not None:
            text = Measured.model_validate(retained)
            self.registry.note(version, retained_file(text.text_sha256), json.dumps(text.model_dump()))

    def _facts(self) -> dict[str, int]:
        """What the limits of the gate are about."""
        export = self.workspace.paths.model / "export"
        counted = {
            "bytes": sum(each.stat().st_size for each in export.iterdir()),
            "parameters": self.workspace.metrics("evaluate").get("model.parameters"),
            "skipped_batches": self.workspace.metrics("train").get("skipped_batches"),
        }
        return {name: value for name, value in counted.items() if value is not None}

    def _found(self, version: "Version", text: str) -> "Measured | None":
        """As it was kept, or measured now."""
        kept = super()._found(version, text)
        if kept is None and text == self.text:
            self._measure(version)
            kept = super()._found(version, text)
        return kept

    def _measure(self, version: "Version") -> None:
        """In a process of its own, which imports torch and takes all cores. Raises UserError."""
        get_run_logger().info(f"measures gpt version {version.number} on this validation text, to compare with it")
        lines: list[str] = []

        def on_line(line: str) -> None:
            lines.append(line)
            get_run_logger().info(line)

        command = [sys.executable, "-m", "gptcore", "registry", "measure", str(version.number)]
        settings = {**self.workspace.settings, "MLFLOW_TRACKING_URI": self.registry.uri}
        with slot("measure"):
            code = run_group(command, self.workspace.root, on_line, settings)
        try:
            check("measure", code, lines)
        except StageFailed as error:
            remedy = "`gptcore registry verify` says how to get files back, `gptcore registry rollback` takes another"
            raise UserError(
                f"nothing can be compared with gpt version {version.number}: {error}; no alias was moved; {remedy}"
            ) from None
