"""How the server runs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """`queue` sequences wait for a slot before others are refused. Seconds, bytes, requests per minute (0: any).

    `threads` share the slots and compute at the same time; 0: as `compute_threads` has it.
    """

    model: str = "gpt@champion"
    slots: int = 16
    queue: int = 64
    threads: int = 0
    deadline_seconds: float = 600.0
    poll_seconds: float = 5.0
    body_bytes: int = 1 << 20
    requests_per_minute: int = 0
    precision: str = "float32"
    int8: bool = False
    log_prompts: bool = False
