"""Programs in this process, which saves their imports."""

import signal
import sys
from collections.abc import Callable

import pytest

from gptcore.cli import main as gptcore


def run_command(monkeypatch: pytest.MonkeyPatch, *words: str, main: Callable[[], object] = gptcore) -> int:
    """Run `gptcore WORDS`, or another program's `main` with these words; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["gptcore", *words])
    stop = signal.getsignal(signal.SIGTERM)  # flows set it
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        signal.signal(signal.SIGTERM, stop)
    return 0
