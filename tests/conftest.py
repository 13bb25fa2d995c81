"""Isolate the tests: they write to their own folders only and do not depend on the environment."""

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import certifi
import hypothesis
import pytest

from tasks import ENVIRONMENT
from tests.support import scratch
from tests.support.cluster import Cluster, shared_cluster
from tests.support.once import once
from tests.support.process_state import no_registry, restored
from tests.support.small_disk import mounted

# on a busy machine an example may take long: no test is a measurement
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")

FOLDER = pytest.StashKey[tempfile.TemporaryDirectory[str]]()
NOT_OURS = ("AWS_", "GPTCORE_", "PREFECT_", "MLFLOW_", "DVC_", "GIT_")


def pytest_configure(config: pytest.Config) -> None:
    """Prefect, MLflow, DVC and git read these when they start: before any test module is imported."""
    gc.disable()  # until all test modules are imported
    config.stash[FOLDER] = tempfile.TemporaryDirectory(prefix="gptcore-tests-")
    home = Path(config.stash[FOLDER].name)
    for name in [each for each in os.environ if each.startswith(NOT_OURS)]:
        del os.environ[name]
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each of some hundred processes compiles our modules
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a script's background jobs ignore SIGINT
    home.chmod(0o711)  # PostgreSQL does not run as root, and its folder is inside
    (home / "tmp").mkdir()
    (home / "gitconfig").write_text("[user]\n\tname = test\n\temail = test@example.org\n")
    one, end, _ = certifi.contents().partition("-----END CERTIFICATE-----\n")
    (home / "certificates.pem").write_text(one + end)  # each of some thousand clients would read all, which takes 20 ms
    os.environ |= {
        **ENVIRONMENT,
        "PREFECT_API_SSL_CERT_FILE": str(home / "certificates.pem"),
        "GPTCORE_SLOTS": "8",  # the stages of the tests cost next to nothing
        "PREFECT_HOME": str(home / "prefect"),
        "GIT_CONFIG_GLOBAL": str(home / "gitconfig"),
        "DVC_GLOBAL_CONFIG_DIR": str(home / "dvc"),
        "DVC_SITE_CACHE_DIR": str(home / "dvc-site"),
        "TMPDIR": str(home / "tmp"),
        "HF_MODULES_CACHE": str(home / "transformers"),
    }
    tempfile.tempdir = None  # reread TMPDIR: some tests count the files left there
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ["OMP_NUM_THREADS"] = "1"  # one test process per core, one thread each


def pytest_collection_finish(session: pytest.Session) -> None:
    gc.freeze()  # what was imported stays: each collection of garbage need not go through torch, Prefect and MLflow
    gc.enable()


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[FOLDER].cleanup()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    slow = {each.path for each in items if each.get_closest_marker("slow")}
    waiting = {each.path for each in items if "cluster" in getattr(each, "fixturenames", ())}
    places = spread(items, waiting)
    # slow files first: at the end, one would run alone. Those that wait for the cluster begin beside others
    items.sort(key=lambda item: (item.path not in slow, item.path in slow & waiting, places[item.path]))
    needing = [item for item in items if item.get_closest_marker("gpu")]
    if not needing:
        return
    import torch

    if not torch.cuda.is_available():
        for item in needing:
            item.add_marker(pytest.mark.skip(reason="torch finds no GPU"))


def spread(items: list[pytest.Item], waiting: set[Path]) -> dict[Path, float]:
    """A place for each file, so that those that wait lie evenly among those that compute: no core is idle for long.

    Backwards, because the folders whose tests take longer are the last of the alphabet.
    """
    files = dict.fromkeys(each.path for each in reversed(items))
    kinds = [[file for file in files if (file in waiting) == waits] for waits in (True, False)]
    return {file: (number + 0.5) / len(kind) for kind in kinds for number, file in enumerate(kind)}


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes do not name a test: those of an archive hold the second it was made in, so that test processes differ."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="module", autouse=True)
def given_back_by_the_module() -> Iterator[None]:
    """What the fixtures of a module change of this process is as before in the next module."""
    with restored():
        yield


@pytest.fixture(autouse=True)
def given_back() -> Iterator[None]:
    """What a test changes of this process is as before in the next test."""
    with restored():
        no_registry()
        yield


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all test processes, for what the first of them makes and nobody changes."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def cluster(
    shared: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """A real Prefect server with everything deployed; tests start the workers they need.

    The first test process migrates the database, deploys and runs the flow once, if a test needs that; the others
    start from a copy.
    """

    def begin(cluster: Cluster) -> None:
        if any("finished_template" in each.fixturenames for each in request.session.items):
            root = shutil.copytree(request.getfixturevalue("template"), shared / "finished", symlinks=True)
            cluster.command(root, *scratch.flow_command())

    with shared_cluster(tmp_path_factory.mktemp("cluster"), shared / "prefect.db", begin) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def server(cluster: Cluster) -> Iterator[str]:
    """The address of that server; flows called in this process report to it."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: cluster.address}):
        yield cluster.address
    EventsWorker.drain_all()  # else this process tries for four minutes to send the rest to a server that has stopped
    APILogWorker.drain_all()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A separate file system of 8 MB."""
    with mounted(tmp_path / "small-disk") as folder:
        yield folder


@pytest.fixture(scope="session")
def mlflow_database(shared: Path) -> Path:
    """An MLflow database with empty tables, to be copied: making one takes seconds."""

    def make(path: Path) -> None:
        import mlflow

        mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()

    return once(shared / "mlflow.db", make)


@pytest.fixture(scope="session")
def template(mlflow_database: Path, shared: Path) -> Path:
    """A scratch project in which no stage has run, with an MLflow database that has empty tables."""

    def make(root: Path) -> None:
        scratch.make(root)
        shutil.copy(mlflow_database, root)

    return once(shared / "template", make)


@pytest.fixture(scope="session")
def finished_template(cluster: Cluster, shared: Path) -> Path:
    """A scratch project in which the flow has run once."""
    return shared / "finished"


@pytest.fixture
def queues(cluster: Cluster, server: str) -> str:
    """The address of that server, on which no run waits for a worker."""
    cluster.empty_queues()
    return server


@pytest.fixture
def project(template: Path, tmp_path: Path, queues: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the scratch project in which nothing has run, the current folder of the test; its name is a name.

    To run deployments, start a worker of the cluster in it.
    """
    return settle(shutil.copytree(template, tmp_path / "a 100%?#jörg", symlinks=True), queues, monkeypatch)


@pytest.fixture
def finished(finished_template: Path, tmp_path: Path, queues: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the scratch project in which the flow has run once, as the test's working directory."""
    return settle(shutil.copytree(finished_template, tmp_path / "project", symlinks=True), queues, monkeypatch)


def settle(root: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(root)
    monkeypatch.setenv("PREFECT_API_URL", server)
    monkeypatch.setenv("PYTHONPATH", str(scratch.CHECKOUT))
    return root


@pytest.fixture
def one_thread() -> None:
    """Equal bytes of generation are promised for one thread."""
    import torch  # takes seconds, which not every test process needs

    torch.set_num_threads(1)
