"""`gptcore` in this process, which saves its imports."""

import sys

import pytest

from gptcore.cli import main


def run_command(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run `gptcore WORDS`; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["gptcore", *words])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0
