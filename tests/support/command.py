"""`gptcore` in this process, which saves imports. `python -m tests.support.command LINE LINE` runs several in one."""

import shlex
import sys

import pytest

from gptcore.cli import main


def run_command(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run `gptcore WORDS`; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["gptcore", *words])
    return _exit_code()


def _exit_code() -> int:
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


if __name__ == "__main__":
    for line in sys.argv[1:]:
        sys.argv = ["gptcore", *shlex.split(line)]
        print(f"exit {_exit_code()}", flush=True)
