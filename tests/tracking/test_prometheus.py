"""What Prometheus finds of a training while it lasts."""

import re
from pathlib import Path
from urllib.request import urlopen

import pytest

from gptcore.config.settings import Settings
from gptcore.errors import Unavailable
from gptcore.tracking.prometheus import Prometheus
from gptcore.tracking.sending import Begin
from gptcore.tracking.trackers import open_tracker
from tests.support.cluster import free_port
from tests.support.told import tell


def figures(address: str) -> dict[str, dict[str, float]]:
    """By run and name."""
    with urlopen(f"http://{address}/metrics") as answer:
        lines = re.findall(r'^gptcore_training_(\w+)\{run="(.+)"\} (\S+)$', answer.read().decode(), re.MULTILINE)
    found: dict[str, dict[str, float]] = {}
    for name, run, value in lines:
        found.setdefault(run, {})[name] = float(value)
    return found


def test_the_newest_figures_are_there_while_it_trains() -> None:
    """A point without an evaluation leaves the last one's. Another training at that time is told later."""
    tracker = Prometheus(f"127.0.0.1:{free_port()}")
    tell(tracker)
    expected = {"step": 20.0, "loss": 3.5, "validation_loss": 4.25, "tokens": 1280.0, "tokens_per_second": 900.0,
                "mfu": 0.4, "gradient_norm": 0.7, "learning_rate": 0.01, "skipped_batches": 1.0}  # fmt: skip
    assert figures(tracker.address) == {"gentle-phoenix": expected}
    with pytest.raises(Unavailable, match=f"cannot listen on {tracker.address}: Address already in use; another"):
        tell(Prometheus(tracker.address))
    assert tracker.begin(Begin("0123", "", 0, {}, {}), "") == ("0123", None)
    assert figures(tracker.address) == {}


def test_an_address_that_is_none_is_refused(tmp_path: Path) -> None:
    for given in ("9108", ":9108", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:99999", "here:x"):
        with pytest.raises(ValueError, match=r"it is HOST:PORT, such as 127\.0\.0\.1:9108"):
            Settings(prometheus=given)
    opened = open_tracker("prometheus", tmp_path, "", tmp_path)
    assert isinstance(opened, Prometheus) and opened.page("") == "http://127.0.0.1:9108/metrics"
