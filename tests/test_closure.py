"""A module's closure is the code that it runs, and no other: an edit to any of it invalidates the stage."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import gptcore.closure
from gptcore.closure import closure, code_sha256


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An editable copy of gptcore."""
    copy = shutil.copytree(gptcore.closure.PACKAGE, tmp_path / "gptcore")
    monkeypatch.setattr(gptcore.closure, "PACKAGE", copy)
    yield copy
    code_sha256.cache_clear()


def sha256() -> str:
    code_sha256.cache_clear()  # what was parsed stays: the edits import nothing
    return code_sha256("gptcore.training.run")


IMPORTED = ("training/optim.py", "model/attention.py", "training/micro_batch.py", "files.py")
OTHERS = ("registry/tracking.py", "corpus/fetch.py", "weights/nanogpt.py", "stages/evaluate.py")


def test_an_edit_changes_the_hash_if_training_imports_it(package: Path) -> None:
    before = sha256()
    for name in (*IMPORTED, *OTHERS):
        text = (package / name).read_text()
        (package / name).write_text(f"{text}\nEDITED = True\n")
        assert (sha256() != before) == (name in IMPORTED), name
        (package / name).write_text(text)
    assert sha256() == before


def test_a_tour_is_no_code() -> None:
    assert "gptcore/training/__init__.py" not in closure("gptcore.training.run")
    assert "gptcore/stages/__init__.py" in closure("gptcore.stages.train")
