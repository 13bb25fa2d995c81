"""A tracker is told of a training whose points have, taken together, every figure that there can be."""

from gptcore.tracking.sending import Begin, Point, Tracker

NAME = "gentle-phoenix"
FIRST = {
    "loss": 4.0, "tokens": 640.0, "learning_rate": 0.02, "gradient_norm": 0.9, "tokens_per_second": 800.0, "mfu": 0.3,
    "skipped_batches": 0.0, "peak_memory_megabytes": 100.0, "train_loss": 4.0, "val_loss": 4.25,
}  # fmt: skip
SECOND = {
    "loss": 3.5, "tokens": 1280.0, "learning_rate": 0.01, "gradient_norm": 0.7, "tokens_per_second": 900.0, "mfu": 0.4,
    "skipped_batches": 1.0, "peak_memory_megabytes": 100.0,
}  # fmt: skip


def tell(tracker: Tracker) -> None:
    """Raises UserError."""
    run, _ = tracker.begin(Begin("0123456789abcdef", NAME, 0, {}, {}), "")
    tracker.log(run, [Point(10, 1_000, FIRST, "To be"), Point(20, 2_000, SECOND)])
