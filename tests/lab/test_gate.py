"""What the gate says of a version at this moment, from what the registry keeps."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from gptcore.errors import UserError
from gptcore.registry.judge import WITHDRAWN
from gptcore.registry.tracking import MODEL, Registry, Version, measured_file, opened
from lab.read.gate import now
from tasks.gate import TEXT
from tests.evaluation.test_verdict import CHAMPION, gate, on_text, scored
from tests.support.scratch import CHECKOUT


@pytest.fixture
def registry(mlflow_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """That of a checkout, with a model that has no version."""
    shutil.copy(mlflow_database, tmp_path)
    shutil.copy(CHECKOUT / "params.yaml", tmp_path)
    with opened(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "mlartifacts") as found:
        found.client.create_registered_model(MODEL)
        return found


def register(registry: Registry, bits: float, *texts: str) -> int:
    """A version with so many bits per byte on each text, the first of which is its own."""
    run, tags = registry.client.create_run(registry.experiment).info.run_id, {TEXT: texts[0]}
    made: Any = registry.client.create_model_version(MODEL, f"runs:/{run}/none", run_id=run, tags=tags)
    version = Version(int(made.version), tags, run)
    for text in texts:
        found = on_text(scored(bits), scored(2.5), text_sha256=text)
        registry.note(version, measured_file(text), json.dumps(found.model_dump()))
    return version.number


def test_each_version_is_compared_with_the_champion_of_this_moment(registry: Registry, tmp_path: Path) -> None:
    first = register(registry, 2.0, "a")
    ruling, champion = now(tmp_path, first)
    assert ruling.wins and champion is None and "there was no champion yet" in ruling.because
    registry.moves.move("champion", first, "the first")
    better, worse = register(registry, 1.9, "a"), register(registry, 2.1, "b", "a")
    assert [now(tmp_path, each)[0].wins for each in (better, worse)] == [True, False]
    strict = gate({**CHAMPION, "margin": 0.5})
    assert "it must be below -0.5000" in now(tmp_path, better, strict)[0].because
    registry.moves.move("champion", worse, "by hand")
    ruling, champion = now(tmp_path, first)
    assert ruling.wins and champion == worse
    assert f"its 2.0000 bits per byte beat version {worse}'s 2.1000" in ruling.because
    registry.tag(first, {WITHDRAWN: "it repeats itself"})
    assert now(tmp_path, first)[0].because == "it was rolled back: it repeats itself"


def test_without_a_text_that_both_were_measured_on_it_says_what_to_do(registry: Registry, tmp_path: Path) -> None:
    registry.moves.move("champion", register(registry, 2.0, "a"), "the first")
    with pytest.raises(UserError, match="versions 2 and 1 were never measured on one text; `gptcore registry measure"):
        now(tmp_path, register(registry, 1.9, "b"))
