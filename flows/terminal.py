"""A flow as a command: overrides from the command line, the running server, and one clear line when it fails."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from httpx import HTTPStatusError
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_SERVER_API_HOST,
    PREFECT_SERVER_API_PORT,
    temporary_settings,
)
from prefect.settings.legacy import Setting
from rich.console import Console
from rich.markdown import Markdown

from gptcore.addresses import redacted
from gptcore.config.environment import check_environment
from gptcore.errors import MISTAKE_EXIT_CODE, STOPPED_EXIT_CODE, UNAVAILABLE_EXIT_CODE, Unavailable, UserError

UNAUTHORIZED = 401
HEALTH_SECONDS = (1.0, 2.0, 4.0, 8.0)  # how long a busy server is given to answer, question by question

EPILOG = """\
examples:
  python -m flows.train_gpt                               in this checkout, by params.yaml
  python -m flows.train_gpt model=baby train.steps=2000   in a workspace of its own; `dvc exp show` lists it

`gptcore configure --help` lists the presets. Exit codes: 0 done, 2 a mistake to mend, 69 a server does not
answer now, 75 stopped, run it again."""


def main(flow: Flow[[Sequence[str]], str]) -> None:
    """Run `flow` with the overrides from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.train_gpt", description=purpose(flow), epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("overrides", nargs="*", metavar="override", help="a preset or a value, for this run alone")
    overrides = parser.parse_args().overrides
    run(lambda: _train(flow, overrides))


def purpose(flow: Flow[..., Any]) -> str:
    """The first paragraph of the flow's docstring."""
    return (flow.description or "").split("\n\n")[0]


def run(start: Callable[[], str]) -> None:
    """Print the Markdown that `start` returns, or one line that says why it failed, with a matching exit code."""
    signal.signal(signal.SIGTERM, _stop)  # Prefect calls this after it has ended the run
    try:
        report = start()
    except UserError as error:
        end_with(error)
    except KeyboardInterrupt:
        _end("stopped; run it again and it goes on from the last checkpoint", STOPPED_EXIT_CODE)
    except Exception as error:  # unexpected; Prefect has logged the traceback
        _end(redacted(f"error: {type(error).__name__}: {error}"), 1)
    show(report)


def show(report: str) -> None:
    """Print Markdown. A list at its end is printed without wrapping: addresses and commands are copied from it."""
    text, _, end = report.rpartition("\n\n")
    if not end.startswith("- "):
        text, end = report, ""
    console = Console()
    console.print(Markdown(text), end="\n\n" if end else "\n")
    console.print(end.replace("`", ""), soft_wrap=True, markup=False, highlight=False)


def _train(flow: Flow[[Sequence[str]], str], overrides: list[str]) -> str:
    _check(overrides)
    with server():
        return flow(overrides)


def _check(overrides: list[str]) -> None:
    """Report a mistake in an override at once, before a server starts."""
    if overrides:
        from gptcore.config.presets import compose

        compose(overrides, Path("params.yaml"))


@contextmanager
def server() -> Iterator[None]:
    """Settings that lead to the server that is up, if there is one. Raises UserError where no run can start.

    Without one, Prefect starts a server for the run alone.
    """
    check_environment()
    with temporary_settings(running_server()):
        if PREFECT_API_URL.value():
            check_server()
        else:
            check_home()
            from flows.services.embedded import EmbeddedServer  # imports Prefect's server (1 s)

            EmbeddedServer()
        yield


def check_server() -> None:
    """Raises UserError if the server that the settings lead to does not answer, or not to this user."""
    try:
        with get_client(sync_client=True) as client:
            error = client.api_healthcheck()
            if not error:
                client.api_version()  # unlike its health, known only to those who may use it
    except HTTPStatusError as refusal:
        if refusal.response.status_code != UNAUTHORIZED:
            raise
        raise UserError(
            f"the Prefect server at {PREFECT_API_URL.value()} asks for a password; set PREFECT_API_AUTH_STRING to what "
            "its PREFECT_SERVER_API_AUTH_STRING is"
        ) from None
    except Exception as raised:  # of Prefect or of httpx, as the address may be no address
        error = raised
    if error:
        what = "`make ui` starts one on this machine, and PREFECT_API_URL may lead to another"
        raise UserError(f"no Prefect server answers at {PREFECT_API_URL.value()}: {error}; {what}")


def check_home() -> None:
    """Raises UserError if Prefect cannot write where a server on this machine keeps its database."""
    home: Path = PREFECT_HOME.value()
    there = next(each for each in (home, *home.parents) if each.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        what = "set HOME to a folder that can, or PREFECT_HOME, or PREFECT_API_URL to a server elsewhere"
        raise UserError(f"Prefect keeps its database in {home}, which cannot be written; {what}")


def running_server() -> dict[Setting, str]:
    """Settings for the server that `prefect server start` has started, unless the user has named one."""
    if PREFECT_API_URL.value():
        return {}
    return {PREFECT_API_URL: f"{local_server()}/api"} if is_local_server_up() else {}


def local_server() -> str:
    """The address at which `prefect server start` listens."""
    return f"http://{PREFECT_SERVER_API_HOST.value()}:{PREFECT_SERVER_API_PORT.value()}"


def is_local_server_up() -> bool:
    """Whether it answers there; no if nothing listens, or another program does. Raises Unavailable if none can say."""
    said = ""
    for seconds in HEALTH_SECONDS:
        give_up = time.monotonic() + seconds
        try:
            status, answer = _health(seconds)
            if status < 500:
                return answer == b"true"
            said = f"HTTP {status}"
        except ConnectionRefusedError:
            return False
        except (OSError, HTTPException) as error:
            said = str(error) or type(error).__name__
        time.sleep(max(0.0, give_up - time.monotonic()))
    raise Unavailable(
        f"something listens at {local_server()} but does not say whether it is a Prefect server ({said}); try again "
        "when it answers, end it, or set PREFECT_API_URL"
    )


def _health(seconds: float) -> tuple[int, bytes]:
    address = PREFECT_SERVER_API_HOST.value(), PREFECT_SERVER_API_PORT.value()
    with closing(HTTPConnection(*address, timeout=seconds)) as connection:
        connection.request("GET", "/api/health")
        answer = connection.getresponse()
        return answer.status, answer.read()


def end_with(error: UserError) -> NoReturn:
    """Print its one line and exit with the code for a mistake, or for what may succeed later."""
    code = UNAVAILABLE_EXIT_CODE if isinstance(error, Unavailable) else MISTAKE_EXIT_CODE
    _end(f"error: {error}", code)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _end(line: str, code: int) -> NoReturn:
    print(line, file=sys.stderr, flush=True)
    raise SystemExit(code)
