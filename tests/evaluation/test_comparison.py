"""What the two curves say of each other."""

import pandas as pd

from gptcore.evaluation.comparison import at_equal_time


def curve(**columns: list[float]) -> pd.DataFrame:
    return pd.DataFrame(columns)


def test_at_equal_time_is_when_the_shorter_training_ended() -> None:
    model = curve(seconds=[2.0, 4.0], val_loss=[3.0, 2.0])
    baseline = curve(seconds=[3.0, 5.0, 9.0], val_loss=[4.0, 3.0, 2.5])
    assert at_equal_time(model, baseline).model_dump() == {"seconds": 4.0, "model": 2.0, "baseline": 3.5}
    assert at_equal_time(baseline, model).model_dump() == {"seconds": 4.0, "model": 3.5, "baseline": 2.0}


def test_before_its_first_evaluation_a_training_has_no_loss() -> None:
    model, baseline = curve(seconds=[1.0], val_loss=[3.0]), curve(seconds=[3.0, 5.0], val_loss=[4.0, 3.0])
    assert at_equal_time(model, baseline).model_dump() == {"seconds": 1.0, "model": 3.0, "baseline": None}
