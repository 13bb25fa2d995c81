"""The trackers by name, and who sends to them: the process beside a trainer, and the promotion after it."""

import time
from contextlib import suppress
from pathlib import Path

from gptcore.config.paths import Paths
from gptcore.config.settings import settings
from gptcore.errors import UserError
from gptcore.tracking.outbox import SUFFIX, is_written
from gptcore.tracking.sending import Sending, Tracker, held

LOOK_SECONDS = 0.3
RETRY_SECONDS = 10.0  # after a tracker has not answered


def open_tracker(name: str, folder: Path, uri: str, artifacts: Path) -> Tracker:
    """Asks no server yet. `folder` holds its outboxes; `uri` and `artifacts` are those of the MLflow registry."""
    if name == "mlflow":
        from gptcore.tracking.mlflow import Mlflow

        return Mlflow(uri, artifacts)
    if name == "prometheus":
        from gptcore.tracking.prometheus import Prometheus

        return Prometheus(settings().prometheus)
    from gptcore.tracking.wandb import Wandb

    return Wandb(folder)


def follow(name: str, tracker: Tracker, outbox: Path) -> None:
    """Send what a trainer writes into `outbox`, and what trainings before it have left, until the trainer is done.

    A tracker that does not answer gets one warning, and is asked again every few seconds; at the end once more.
    """
    _send_left(tracker, outbox.parent.parent)
    with held(outbox.parent):  # the sender of a trainer that was killed a second ago may still be at work
        sending, retry, is_failing, is_shown = Sending(outbox.parent, tracker), 0.0, False, False
        while outbox.exists():  # else somebody has sent it
            is_over = not is_written(outbox)
            has_news = sending.look(outbox) or is_failing
            if is_over or (has_news and time.monotonic() >= retry):
                error = _failure(sending)
                if error and not is_failing:
                    print(f"warning: {name} is told later how this run goes: {error}", flush=True)
                if is_failing and not error:
                    print(f"{name} has been told now how this run went in the meantime", flush=True)
                if sending.sent.run and not (is_shown or error):
                    is_shown = True
                    if page := tracker.page(sending.sent.run):
                        print(f"{name}: {page}", flush=True)
                is_failing, retry = bool(error), time.monotonic() + (RETRY_SECONDS if error else 0)
            if is_over:
                return
            time.sleep(LOOK_SECONDS)


def send_left(name: str, paths: Paths, uri: str, artifacts: Path) -> None:
    """Send what trainings in this workspace have left for the tracker `name`; what fails stays there."""
    folder = paths.scratch / "tracking" / name
    if folder.is_dir() and any(folder.iterdir()):
        _send_left(open_tracker(name, folder, uri, artifacts), folder)


def _send_left(tracker: Tracker, folder: Path) -> None:
    """Silent, as are the outboxes that a trainer still writes: their own senders say what is wrong."""
    with suppress(FileNotFoundError):  # another process has just sent it
        for each in sorted(folder.iterdir()):
            outboxes = list(each.glob(f"*{SUFFIX}"))
            if outboxes and not any(map(is_written, outboxes)):
                with held(each, wait=False) as is_ours:
                    if is_ours and _failure(Sending(each, tracker)):
                        return


def _failure(sending: Sending) -> Exception | None:
    try:
        sending.send()
    except (UserError, OSError) as error:
        return error
    return None
