"""Other programs on the machine, by the system's count of running threads."""

from pathlib import Path

import pytest

from gptcore.stages import neighbours


@pytest.mark.parametrize(
    ("running", "cores", "busy"), [(1, 2, False), (2, 2, True), (2, 8, False), (3, 8, True), (16, 64, False)]
)
def test_a_quarter_of_the_cores_is_busy(tmp_path: Path, running: int, cores: int, busy: bool) -> None:
    load = tmp_path / "loadavg"
    load.write_text(f"9.20 0.18 0.12 {running}/80 11206\n")
    assert neighbours.are_busy(load, cores) == busy
    assert not neighbours.are_busy(tmp_path / "absent", cores)


def test_this_system_says_it_or_does_not() -> None:
    assert neighbours.are_busy() in (True, False) and not neighbours.are_busy(cores=1 << 20)
