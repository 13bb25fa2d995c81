"""Run a stage as a command: read its sections of params.yaml, write its metrics, exit with a code for the outcome."""

import argparse
import errno
import os
import sys
from collections.abc import Callable
from inspect import getmodule
from pathlib import Path

from gptcore.config.environment import check_environment
from gptcore.config.params import Metrics, read_params, stage_sections, validate_section
from gptcore.config.paths import Paths
from gptcore.errors import (
    MISTAKE_EXIT_CODE,
    STOPPED_EXIT_CODE,
    UNAVAILABLE_EXIT_CODE,
    Stopped,
    Unavailable,
    UserError,
)
from gptcore.files import write_json

FULL = (errno.ENOSPC, errno.EDQUOT)
# what no retry changes; other errors of the operating system may pass
NO_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)


def run_stage(stage: Callable[..., Metrics], start_ranks: Callable[[str], None] = lambda stage: None) -> None:
    """Run a stage in the current folder. Exits with 2 on a user error, 69 when an external service does not respond,
    75 when stopped.

    `start_ranks` (ranks/start.py) makes this process one of several ranks; the first one writes the metrics.
    """
    paths = Paths(Path.cwd())
    name = stage.__name__
    _read_command_line(stage)
    try:
        check_environment()
        values = read_params(paths.params)
        sections = {key: validate_section(values, key, kind) for key, kind in stage_sections(stage).items()}
        start_ranks(name)
        metrics = stage(**sections, paths=paths)
        if os.environ.get("RANK", "0") == "0":
            write_json(paths.of(name) / "metrics.json", metrics.model_dump(mode="json"))
    except Unavailable as error:
        _exit(f"error: {name}: {error}", UNAVAILABLE_EXIT_CODE)
    except UserError as error:
        _exit(f"error: {name}: {error}", MISTAKE_EXIT_CODE)
    except Stopped as stopped:
        _exit(f"{name}: {stopped}", STOPPED_EXIT_CODE)
    except OSError as error:
        where = error.filename or paths.of(name)
        if error.errno in FULL:
            _exit(f"error: {name}: the disk is full at {where}; free some space and run it again", MISTAKE_EXIT_CODE)
        if error.errno in NO_PLACE:
            _exit(f"error: {name}: {where}: {error.strerror}", MISTAKE_EXIT_CODE)
        raise


def _read_command_line(stage: Callable[..., Metrics]) -> None:
    """A stage takes no arguments: `--help` says what it does, and any other is refused."""
    argparse.ArgumentParser(
        prog=f"python -m gptcore.stages.{stage.__name__}", description=getmodule(stage).__doc__,
        epilog="It takes no arguments: params.yaml says what to compute, and GPTCORE_* variables say how.",
    ).parse_args()  # fmt: skip


def _exit(line: str, code: int) -> None:
    if os.environ.get("LOCAL_RANK", "0") == "0":  # once per machine
        print(line, file=sys.stderr, flush=True)
    raise SystemExit(code)
