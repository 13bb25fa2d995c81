"""Checkpoints: complete, verified, the best kept separately, written in the background, free of pickle."""

import io
import resource
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gptcore.errors import UserError
from gptcore.training.checkpoint import Checkpoints, Progressed
from gptcore.training.state_store import Folder, open_state_store
from tests.support.small_disk import fill

IDENTITY = {"model": {"n_layer": 2}, "seed": 1}


def checkpoints(folder: Path) -> Checkpoints:
    return Checkpoints(Folder(folder), IDENTITY)


def progressed(step: int) -> Progressed:
    return Progressed(step, 1.5, 0.1 + 0.2, [{"step": step, "val_loss": 1 / 3}], [])


def tensors(step: int, n: int = 3) -> dict[str, Tensor]:
    return {"w": torch.full((n,), float(step)), "rng": torch.get_rng_state()}


def save(into: Checkpoints, *steps: int) -> None:
    for step in steps:
        into.save(tensors(step), progressed(step), wait=True)


def entries(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def loaded_step(folder: Path) -> int:
    found = checkpoints(folder).load()
    assert found is not None
    assert found[0]["w"].tolist() == [float(found[1].step)] * len(found[0]["w"])
    return found[1].step


def test_state_comes_back_to_the_bit(tmp_path: Path) -> None:
    save(checkpoints(tmp_path), 10)
    loaded, here = checkpoints(tmp_path).load() or pytest.fail("nothing found")
    assert loaded["w"].tolist() == [10.0] * 3 and torch.equal(loaded["rng"], torch.get_rng_state())
    assert here == progressed(10)


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    (tmp_path / ".step-000000007.99.tmp").mkdir(parents=True)  # left by a killed process
    save(checkpoints(tmp_path), 8, 9, 10, 100)
    assert entries(tmp_path) == ["step-000000010", "step-000000100"]


def test_the_sums_are_those_of_sha256sum(tmp_path: Path) -> None:
    save(checkpoints(tmp_path), 1)
    checked = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path / "step-000000001", capture_output=True)
    assert checked.returncode == 0 and checked.stdout.count(b": OK") == 2


def test_the_best_are_kept_apart_and_belong_to_their_time(tmp_path: Path) -> None:
    """Each kept checkpoint has its best weights, however many saves came in between."""
    ours = checkpoints(tmp_path)
    for step, val_loss in enumerate([3.0, 2.0, 2.5, 2.0, 1.0, 1.5], 1):
        ours.keep_best(step, val_loss, tensors(step))
        save(ours, step)
    assert entries(tmp_path) == ["best-000000002", "best-000000005", "step-000000005", "step-000000006"]
    again = checkpoints(tmp_path)
    again.load()
    assert again.best is not None and (again.best.step, again.best.val_loss) == (5, 1.0)
    assert again.best.weights["w"].tolist() == [5.0] * 3


def test_best_weights_of_later_than_the_checkpoint_are_not_its_best(tmp_path: Path) -> None:
    ours = checkpoints(tmp_path)
    for step, val_loss in ((1, 3.0), (2, 2.0)):
        ours.keep_best(step, val_loss, tensors(step))
        save(ours, step)
    (tmp_path / "step-000000002/state.json").write_text("{}")
    again = checkpoints(tmp_path)
    assert again.load() is not None and again.best is not None and again.best.step == 1
    save(again, 2)
    assert loaded_step(tmp_path) == 2


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the checkpoints of steps 1 and 2."""
    folder = tmp_path_factory.mktemp("two")
    save(checkpoints(folder), 1, 2)
    return folder


FILES = ("state.safetensors", "state.json", "SHA256SUMS")


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(FILES), at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
def test_torn_or_edited_it_is_passed_over_and_said(two: Path, name: str, at: float, bit: int, cut: bool) -> None:
    with tempfile.TemporaryDirectory() as root, redirect_stdout(io.StringIO()) as said:
        folder = shutil.copytree(two, Path(root, "run"))
        path = folder / "step-000000002" / name
        content = bytearray(path.read_bytes())
        place = int(at * len(content))
        content[place] ^= 1 << bit
        path.write_bytes(content[:place] if cut else content)
        assert loaded_step(folder) == 1
        assert len(said.getvalue().splitlines()) == 1 and "step-000000002 is damaged (" in said.getvalue()


@pytest.mark.parametrize("name", FILES)
def test_without_one_of_its_files_it_is_passed_over(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save(checkpoints(tmp_path), 1, 2)
    (tmp_path / "step-000000002" / name).unlink()
    assert loaded_step(tmp_path) == 1
    assert "step-000000002 is damaged (" in capsys.readouterr().out


def test_a_save_after_damage_is_not_taken_for_the_older_one(tmp_path: Path) -> None:
    """A damaged entry of a later step must not evict new checkpoints."""
    save(checkpoints(tmp_path), 1, 5)
    (tmp_path / "step-000000005/state.json").write_text("{")
    again = checkpoints(tmp_path)
    again.load()
    save(again, 2, 3)
    assert entries(tmp_path) == ["step-000000002", "step-000000003"]


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    save(checkpoints(tmp_path), 1)
    with pytest.raises(UserError, match=r"another run \(its model.n_layer is 2, this run's is 4\); delete"):
        Checkpoints(Folder(tmp_path), {"model": {"n_layer": 4}, "seed": 1}).load()


class SlowFolder(Folder):
    """Finishes entries when `go` is set, like slow remote storage."""

    go = threading.Event()

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        with super().writing(name) as folder:
            yield folder
            assert self.go.wait(20)


def test_training_does_not_wait_for_a_slow_place(tmp_path: Path) -> None:
    place = SlowFolder(tmp_path)
    ours = Checkpoints(place, IDENTITY)
    weights = torch.ones(3)
    ours.save({"w": weights}, progressed(1))
    weights.zero_()  # training continues
    ours.save({"w": weights}, progressed(2))  # the previous one is still being written
    assert not [each for each in entries(tmp_path) if not each.startswith(".")]
    place.go.set()
    ours.save({"w": weights * 3}, progressed(3), wait=True)
    assert entries(tmp_path) == ["step-000000001", "step-000000003"]
    assert torch.equal(checkpoints(tmp_path)._read("step-000000001")[0]["w"], torch.ones(3))


def test_at_the_end_nothing_is_left(tmp_path: Path) -> None:
    ours = checkpoints(tmp_path / "run")
    save(ours, 1)
    ours.clear()
    assert entries(tmp_path) == [] and checkpoints(tmp_path / "run").load() is None


@pytest.mark.parametrize("place", ["gs://bucket/prefix", "file/run"])
def test_a_place_that_cannot_be_gets_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(UserError, match=f"^checkpoints cannot .* {place}.*GPTCORE_CHECKPOINTS"):
        open_state_store(place)


def test_a_full_disk_costs_a_warning_and_no_checkpoint_that_was_there(
    small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = checkpoints(small_disk / "run")
    save(ours, 1)
    fill(small_disk)
    for step in (2, 3):  # warned once
        ours.save(tensors(step, n=1_000_000), progressed(step), wait=True)
    (warning,) = capsys.readouterr().out.splitlines()
    assert warning.startswith(f"warning: step 2 could not be written to {small_disk}/run: ")
    assert "No space left on device" in warning and "training goes on" in warning
    assert entries(small_disk / "run") == ["step-000000001"]
    assert loaded_step(small_disk / "run") == 1
    (small_disk / "filler").unlink()
    save(ours, 4)
    assert loaded_step(small_disk / "run") == 4
    assert capsys.readouterr().out == f"checkpoints are written to {small_disk}/run again, from step 4 on\n"


def test_a_file_that_may_not_grow_costs_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same without a separate file system: the kernel refuses further writes."""
    ours = checkpoints(tmp_path)
    save(ours, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        ours.save(tensors(2, n=1_000_000), progressed(2), wait=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "warning: step 2 could not be written" in capsys.readouterr().out
    assert entries(tmp_path) == ["step-000000001"] and loaded_step(tmp_path) == 1
