"""Progress read from the lines that stages log."""

import math

import pytest

from gptcore.progress import Progress
from gptcore.training.guard import SkippedBatch
from lab.read.log import Log, Point, Skip, parsed, skipped
from lab.read.prefect import Line


def test_a_line_of_progress_is_read_as_it_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("train", 2000, "step") as progress:
        progress.printed -= 10
        progress.update(900, "loss 3.211  val 3.402  19,806 tokens/s")
        progress.printed -= 10
        progress.update(901, "loss nan  5 tokens/s")
        progress.printed -= 10
        progress.update(902)
    first, second, third = (parsed(line.removeprefix("train ")) for line in capsys.readouterr().out.splitlines())
    assert first and second and third
    assert (first.done, first.total, first.unit, first.share) == (900, 2000, "step", 0.45)
    assert (first.loss, first.val_loss, first.tokens_per_second) == (3.211, 3.402, 19806.0)
    assert first.seconds_left is not None
    assert second.val_loss is None and second.loss != second.loss
    assert (third.loss, third.tokens_per_second) == (None, None)


@pytest.mark.parametrize("loss", [9.25, 12345.0, math.nan, math.inf])
def test_a_line_of_the_guard_is_read_as_it_is_written(loss: float) -> None:
    found = skipped(f"train: {SkippedBatch(step=1234, batch=1300, loss=loss, back_to=1200)}")
    assert found and (found.step, found.batch, found.back_to) == (1234, 1300, 1200)
    assert found.loss == pytest.approx(loss, rel=1e-3, nan_ok=True)


@pytest.mark.parametrize("text", ["", "to do: first run", "50% of nothing", "train: the loss is 9 at step 3"])
def test_other_lines_are_none(text: str) -> None:
    assert parsed(text) is None and skipped(text) is None


def test_a_log_knows_points_by_step_events_and_lines_once() -> None:
    lines = [
        Line("1", "10:00", 20, "45% |#  | step 9/20  loss 3.2  1:05 left", "a"),
        Line("2", "10:01", 20, "train: the loss is 9 at step 10: went back to step 1 and on without batch 9", "a"),
        Line("4", "10:01", 20, "train: resumed at step 9", "b"),
        Line("3", "10:01", 20, "50% |#  | step 10/20  loss 3.1  1:00 left", "b"),
    ]

    class Asked:
        """Prefect gives the lines of the moment `after` again."""

        def lines(self, run: str, after: str) -> list[Line]:
            return [each for each in lines if each.when >= after]

    log = Log("run")
    for _ in range(2):
        log.update(Asked())  # type: ignore[arg-type]
    assert log.points == {
        "a": [Point(9, 20, "step", 3.2, None, None, 65)],
        "b": [Point(10, 20, "step", 3.1, None, None, 60)],
    }
    assert log.skips == {"a": {9: Skip(10, 9.0, 1, 9)}}
    assert [each.id for each in log.events] == ["4"]
    assert [each.id for each in log.last] == ["1", "2", "4", "3"]
