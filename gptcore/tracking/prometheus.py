"""Prometheus as a tracker: while a training lasts, its newest figures are at the address `GPTCORE_PROMETHEUS`.

Prometheus comes for them. What changes between two of its visits it does not see; MLflow has every point.
"""

from prometheus_client import CollectorRegistry, Gauge, start_http_server

from gptcore.errors import Unavailable
from gptcore.tracking.sending import Begin, Point

PREFIX = "gptcore_training"
FIGURES = {  # of a point: the end of its metric's name, and what it is
    "loss": ("loss", "Mean training loss since the last point, nats per token"),
    "val_loss": ("validation_loss", "Loss on the windows of the curve, nats per token"),
    "tokens": ("tokens", "Tokens trained on"),
    "tokens_per_second": ("tokens_per_second", "Of all ranks"),
    "mfu": ("mfu", "Share of the peak of a known GPU"),
    "gradient_norm": ("gradient_norm", "Before it is clipped"),
    "learning_rate": ("learning_rate", "Of the matrices"),
    "skipped_batches": ("skipped_batches", "Batches with a loss that was NaN, infinite or a spike"),
}


class Prometheus:
    def __init__(self, address: str) -> None:
        self.address, self.is_listening = address, False
        self.registry = CollectorRegistry()
        self.step = Gauge(f"{PREFIX}_step", "Steps done", ["run"], registry=self.registry)
        self.gauges = {
            figure: Gauge(f"{PREFIX}_{name}", meaning, ["run"], registry=self.registry)
            for figure, (name, meaning) in FIGURES.items()
        }
        self.title = ""

    def begin(self, begin: Begin, run: str) -> tuple[str, int | None]:
        """Of trainings at the same time, the first has the address; raises Unavailable for another."""
        self._listen()
        for each in (self.step, *self.gauges.values()):
            each.clear()
        self.title = begin.title() or begin.fingerprint
        return begin.fingerprint, None

    def log(self, run: str, points: list[Point]) -> None:
        for point in points:
            self.step.labels(self.title).set(point.step)
            for figure in point.values.keys() & self.gauges.keys():
                self.gauges[figure].labels(self.title).set(point.values[figure])

    def end(self, run: str, status: str, tags: dict[str, str]) -> None:
        """The last figures stay until this process ends, a moment later."""

    def page(self, run: str) -> str:
        return f"http://{self.address}/metrics"

    def system(self) -> dict[str, float]:
        return {}

    def _listen(self) -> None:
        if self.is_listening:
            return
        host, _, port = self.address.rpartition(":")
        try:
            start_http_server(int(port), host.strip("[]"), self.registry)
        except OSError as error:
            what = f"cannot listen on {self.address}: {error.strerror}"
            raise Unavailable(f"{what}; another training may have it, or set GPTCORE_PROMETHEUS") from error
        self.is_listening = True
