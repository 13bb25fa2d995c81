"""What `make ui` costs while nothing runs: CPU, locked databases, growth; then how soon a run starts.

It starts `flows.services.ui` in the tests' scratch project, with a database of its own. Each minute is measured; ten
hours are extrapolated from them. With `--faster 30`, workers poll and send heartbeats thirty times as often: twenty
minutes then have those of ten hours.
"""

import argparse
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from sqlite3 import connect
from statistics import median
from tempfile import TemporaryDirectory

import psutil
from figures import parser, told
from prefect.client.schemas.objects import State
from prefect.settings import get_current_settings

from tests.support import scratch
from tests.support.cluster import Cluster, free_port

HOURS = 10
QUERY_SECONDS = get_current_settings().worker.query_seconds
HEARTBEAT_SECONDS = get_current_settings().worker.heartbeat_seconds
SETTLE_SECONDS = 30.0  # the server's own services start, and the first checkpoint of the write-ahead log is written


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--minutes", type=float, default=5, help="how long to measure")
    arguments.add_argument("--faster", type=float, default=1, help="how many times as often workers ask the server")
    arguments.add_argument("--runs", type=int, default=5, help="runs whose start is timed afterwards")
    given = arguments.parse_args()
    told(_measured(given), given, "prefect", "mlflow")


def _measured(given: argparse.Namespace) -> Iterator[str]:
    yield f"two workers, polls every {QUERY_SECONDS / given.faster:g} s, SQLite"
    with TemporaryDirectory(prefix="gptcore-benchmark-") as folder, _ui(Path(folder), given.faster) as (cluster, ui):
        yield from _idle(cluster, ui, given.minutes)
        yield from _starts(cluster, given.runs)


@contextmanager
def _ui(home: Path, faster: float) -> Iterator[tuple[Cluster, psutil.Process]]:
    """`make ui` in a project named `project`, as it is by default but for `faster` workers and logs of each poll."""
    root = scratch.make(home / "project")
    cluster = Cluster(home, {"UI_PORT": str(free_port()), "MLFLOW_TRACKING_URI": ""})
    cluster.environment["PREFECT_WORKER_QUERY_SECONDS"] = str(QUERY_SECONDS / faster)
    heartbeat_seconds = max(1, round(HEARTBEAT_SECONDS / faster))  # a worker ends if it is no integer
    cluster.environment["PREFECT_WORKER_HEARTBEAT_SECONDS"] = str(heartbeat_seconds)
    cluster.environment["PREFECT_LOGGING_LEVEL"] = "DEBUG"  # a worker then logs each poll
    ui = cluster.launch(root, "flows.services.ui", log="ui.log")
    try:
        scratch.wait_until(lambda: "Ctrl-C" in (home / "ui.log").read_text(), 120)
        yield cluster, psutil.Process(ui.pid)
    finally:
        ui.send_signal(signal.SIGINT)
        ui.wait(60)


def _idle(cluster: Cluster, ui: psutil.Process, minutes: float) -> Iterator[str]:
    time.sleep(SETTLE_SECONDS)
    began, before = time.monotonic(), _cpu(ui)
    size, rows, locked, polls = _size(cluster), _rows(cluster), _locked(cluster), _polls(cluster)
    time.sleep(60 * minutes)
    seconds, after = time.monotonic() - began, _cpu(ui)
    yield f"measured {seconds / 60:.1f} minutes; all for {HOURS} hours is extrapolated from them"
    polls = _polls(cluster) - polls
    yield f"  {polls} polls by two workers: those of {polls * QUERY_SECONDS / 2 / 3600:.1f} hours"
    for name, used in after.items():
        yield f"  {name}: {100 * (used - before[name]) / seconds:.1f} % of a core"
    yield f"  together: {100 * (after.total() - before.total()) / seconds:.1f} % of a core"
    yield f"  lines with `database is locked`: {len(_locked(cluster)) - len(locked)}, and {len(locked)} at its start"
    grown = (_size(cluster) - size) / 2**10
    yield f"  the database grew by {grown:.0f} KiB; {HOURS} hours: {grown * 3600 * HOURS / seconds / 2**10:.1f} MiB"
    for table, more in (_rows(cluster) - rows).items():
        yield f"    {table}: {more} new rows; {HOURS} hours: {more * 3600 * HOURS / seconds:.0f}"


def _starts(cluster: Cluster, runs: int) -> Iterator[str]:
    taken: list[float] = []
    running: list[float] = []
    for _ in range(runs):
        run = cluster.submit("train-gpt/train-local")
        cluster.wait(run, "Completed", seconds=300)
        with cluster.client() as client:
            states = client.read_flow_run_states(run)
        submitted = states[0].timestamp
        for since, is_there in ((taken, State.is_pending), (running, State.is_running)):
            since.append((next(filter(is_there, states)).timestamp - submitted).total_seconds())
    yield f"{runs} runs, one after the other: a worker took each within {max(taken):.1f} s (median {median(taken):.1f})"
    yield f"  Running, with the start of their process: within {max(running):.1f} s (median {median(running):.1f})"
    yield f"  lines with `database is locked`, all in all: {len(_locked(cluster))}"
    yield from sorted({f"    {line[:110]}" for line in _locked(cluster)})


def _cpu(ui: psutil.Process) -> Counter[str]:
    """Seconds of CPU so far of each service, with its children."""
    used: Counter[str] = Counter()
    for service in ui.children():
        words = service.cmdline()  # of `python -m prefect ...`
        name = f"worker {words[words.index('--pool') + 1]}" if "--pool" in words else words[2]
        for process in (service, *service.children(recursive=True)):
            times = process.cpu_times()
            used[name] += times.user + times.system
    return used


def _locked(cluster: Cluster) -> list[str]:
    return _logged(cluster, "database is locked")


def _polls(cluster: Cluster) -> int:
    return len(_logged(cluster, "Discovered"))


def _logged(cluster: Cluster, words: str) -> list[str]:
    lines = []
    for log in (cluster.home / "project/data/scratch/ui").glob("*.log"):
        lines += log.read_text(errors="replace").splitlines()
    return [line for line in lines if words in line]


def _size(cluster: Cluster) -> int:
    """Bytes of the pages in use. The write-ahead log stays at a few MiB, which are written over and over."""
    with closing(connect(cluster.home / "prefect.db")) as database:
        pages, free, size = (
            database.execute(f"PRAGMA {each}").fetchone()[0] for each in ("page_count", "freelist_count", "page_size")
        )
    return int((pages - free) * size)


def _rows(cluster: Cluster) -> Counter[str]:
    with closing(connect(cluster.home / "prefect.db")) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return Counter({each: database.execute(f'SELECT count(*) FROM "{each}"').fetchone()[0] for each in tables})


if __name__ == "__main__":
    main()
