"""Files are written atomically: complete or not at all."""

import subprocess
from pathlib import Path

import pytest

from gptcore.errors import UserError
from gptcore.files import atomic_path


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    (tmp_path / f".tokens.{gone.pid}.tmp").mkdir()
    (tmp_path / f".tokens.{gone.pid}.tmp/part").write_text("half")
    (tmp_path / ".tokens.1.tmp").write_text("of a process that lives")
    (tmp_path / f".other.{gone.pid}.tmp").write_text("of another path")
    with atomic_path(tmp_path / "tokens") as temporary:
        temporary.write_text("whole")
    assert {path.name for path in tmp_path.iterdir()} == {"tokens", ".tokens.1.tmp", f".other.{gone.pid}.tmp"}


def test_a_file_replaces_no_folder(tmp_path: Path) -> None:
    (tmp_path / "data/precious").mkdir(parents=True)
    with pytest.raises(UserError, match=r"data is a folder"), atomic_path(tmp_path / "data") as temporary:
        temporary.write_text("a file")
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "precious"]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("before")
    with pytest.raises(ValueError, match="half way"), atomic_path(tmp_path / "a") as temporary:
        temporary.write_text("half")
        raise ValueError("half way")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]
