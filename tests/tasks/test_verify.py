"""What DVC's cache and remote lack of a version, and what brings it back."""

import json
import shutil
from argparse import Namespace
from pathlib import Path

import pytest

from gptcore.commands import registry as command
from gptcore.errors import UserError
from gptcore.registry.lineage import outputs
from gptcore.registry.tracking import opened_in
from tests.support import scratch


def object_of(project: Path, path: str) -> Path:
    with opened_in(project) as registry:
        md5 = dict(outputs(registry.version(1)))[path]
    return project / ".dvc/cache/files/md5" / md5[:2] / md5[2:]


def verify(capsys: pytest.CaptureFixture[str]) -> list[str]:
    with pytest.raises(UserError, match=r"^damaged or gone: data in DVC's cache or remote$"):
        command.run(Namespace(action="verify", mend=False))
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("damaged")]


def mend(capsys: pytest.CaptureFixture[str]) -> str:
    command.run(Namespace(action="verify", mend=True))
    *_, journal, mended, rest = capsys.readouterr().out.splitlines()
    assert (journal, rest) == ("whole    the journal", "whole    DVC's cache and remote")
    return mended


def wear(file: Path) -> None:
    """Other bytes of the same length, in a file that nobody should write to."""
    file.chmod(0o644)
    file.write_bytes(b"#" + file.read_bytes()[1:])
    file.chmod(0o444)


def test_faults_are_named_with_what_mends_them(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scratch.dvc(finished, "remote", "add", "--default", "store", str(finished.parent / "store"))
    found = verify(capsys)  # nothing has been pushed
    advice = "`gptcore registry verify --mend`"
    assert len(found) > 10 and all(line.endswith(f"in DVC's remote; the cache has it: {advice}") for line in found)
    assert mend(capsys).endswith(" files, copied between DVC's cache and remote")

    (weights,) = (each for each in json.loads(object_of(finished, "data/model/export").read_text())
                  if each["relpath"] == "model.safetensors")  # fmt: skip
    damaged = object_of(finished, "data/tokens").parents[1] / weights["md5"][:2] / weights["md5"][2:]
    timing = object_of(finished, "data/baseline/timing.csv")
    there = finished.parent / "store" / timing.relative_to(finished / ".dvc/cache")
    wear(damaged)
    wear(there)
    object_of(finished, "data/baseline/curve.csv").unlink()
    of = "of gpt version 1: 1 file"
    assert {  # and of others that are the same files
        f"damaged  data/baseline/curve.csv {of} missing in DVC's cache; the remote has it: {advice}",
        f"damaged  data/baseline/timing.csv {of} damaged in DVC's remote; the cache has it: {advice}",
        f"damaged  data/model/export {of} damaged in DVC's cache; the remote has it: {advice}",
    } <= set(verify(capsys))
    assert mend(capsys) == "mended   3 files, copied between DVC's cache and remote"

    wear(damaged)
    shutil.rmtree(finished.parent / "store/files")
    found = verify(capsys)
    again = f"`rm -f {damaged}; gptcore rebuild 1`"
    assert f"damaged  data/model/export {of} damaged in DVC's cache; it must be made again: {again}" in found
    assert any(line.endswith(f"missing in DVC's remote; the cache has it: {advice}") for line in found)
