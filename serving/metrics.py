"""What Prometheus reads at /metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
TOKEN_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


class Metrics:
    """A registry of its own, so that one process can have several servers."""

    def __init__(self) -> None:
        own = self.registry = CollectorRegistry()
        self.requests = Counter("gptcore_requests", "Answers by route and status", ["route", "status"], registry=own)
        self.ended = Counter("gptcore_requests_ended", "Requests by how they ended", ["how"], registry=own)
        self.waiting = Gauge("gptcore_queue_sequences", "Sequences that wait for a slot", registry=own)
        self.open = Gauge("gptcore_open_sequences", "Sequences that run or wait", registry=own)
        self.busy = Gauge("gptcore_slots_busy", "Slots that a sequence has, of all versions", registry=own)
        self.slots = Gauge("gptcore_slots", "Slots of a version", registry=own)
        self.first = Histogram(
            "gptcore_time_to_first_token_seconds", "From a request to its first token", buckets=SECONDS, registry=own
        )
        self.token = Histogram(
            "gptcore_time_per_token_seconds",
            "Between two tokens, each sequence's mean",
            buckets=TOKEN_SECONDS,
            registry=own,
        )
        self.prefill = Counter("gptcore_prefill_tokens", "Tokens of prompts that were read", registry=own)
        self.decode = Counter("gptcore_decode_tokens", "Tokens that were made", registry=own)
        self.steps = Gauge("gptcore_steps", "Steps of the engines so far", registry=own)
        self.version = Gauge("gptcore_served_version", "1 for the version that new requests get", ["version", "sha256"],
                             registry=own)  # fmt: skip
        self.swaps = Counter("gptcore_swaps", "Versions that took the place of another", registry=own)
        self.refused = Gauge("gptcore_candidate_refused", "The version that has the alias and cannot be served, or 0",
                             registry=own)  # fmt: skip
        self.registry_up = Gauge("gptcore_registry_up", "Whether the registry answered the last time", registry=own)

    def text(self) -> bytes:
        return generate_latest(self.registry)
