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
        command.run(Namespace(action="verify"))
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("damaged")]


def test_faults_are_named_with_what_mends_them(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.run(Namespace(action="verify"))
    assert capsys.readouterr().out.endswith("whole    the journal\nwhole    DVC's cache and remote\n")
    scratch.dvc(finished, "remote", "add", "--default", "store", str(finished.parent / "store"))
    found = verify(capsys)  # nothing has been pushed
    assert len(found) > 10 and all(
        "missing in DVC's remote; the cache has it: `dvc exp push orig" in line for line in found
    )
    shutil.copytree(finished / ".dvc/cache", finished.parent / "store")
    (weights,) = (each for each in json.loads(object_of(finished, "data/model/export").read_text())
                  if each["relpath"] == "model.safetensors")  # fmt: skip
    damaged = object_of(finished, "data/tokens").parents[1] / weights["md5"][:2] / weights["md5"][2:]
    damaged.chmod(0o644)
    damaged.write_text("worn")
    damaged.chmod(0o444)
    object_of(finished, "data/baseline/curve.csv").unlink()
    found = verify(capsys)
    (export,) = (line for line in found if "data/model/export" in line)
    said = f"1 file damaged in DVC's cache; the remote has it: `rm -f {damaged}; gptcore rebuild 1`"
    assert export == f"damaged  data/model/export of gpt version 1: {said}"
    assert "curve.csv of gpt version 1: 1 file missing in DVC's cache; the remote has it: `gptcore rebuild 1`" in str(
        found
    )
    tokens = object_of(finished, "data/baseline/timing.csv")
    there = finished.parent / "store" / tokens.relative_to(finished / ".dvc/cache")
    there.chmod(0o644)
    there.write_bytes(b"#" + tokens.read_bytes()[1:])  # of the same length
    (timing,) = (line for line in verify(capsys) if "timing.csv" in line and "baseline" in line)
    said = f"1 file damaged in DVC's remote; the cache has it: remove {there} there, then `dvc exp push origin "
    assert timing.startswith(f"damaged  data/baseline/timing.csv of gpt version 1: {said}")
    shutil.rmtree(finished.parent / "store/files")
    found = verify(capsys)
    assert any("1 file damaged in DVC's cache; it must be made again: `rm" in line for line in found)
    assert any("missing in DVC's remote; the cache has it: `dvc exp push origin" in line for line in found)
