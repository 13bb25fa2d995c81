"""Programs in this process, which saves imports. `python -m tests.support.command LINE LINE` runs several of ours."""

import shlex
import sys
from collections.abc import Callable

import pytest

from gptcore.cli import main as gptcore


def run_command(monkeypatch: pytest.MonkeyPatch, *words: str, main: Callable[[], object] = gptcore) -> int:
    """Run `gptcore WORDS`, or another program's `main` with these words; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["gptcore", *words])
    return _exit_code(main)


def _exit_code(main: Callable[[], object]) -> int:
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


if __name__ == "__main__":
    for line in sys.argv[1:]:
        sys.argv = ["gptcore", *shlex.split(line)]
        print(f"exit {_exit_code(gptcore)}", flush=True)
