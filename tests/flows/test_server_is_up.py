"""Is a Prefect server up on this machine? Only a refused connection, or another program's answer, is a no."""

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_API_PORT, temporary_settings

from flows.terminal import check_server, end_with, is_local_server_up, running_server
from gptcore.doctor import servers
from gptcore.doctor.finding import Finding
from gptcore.errors import Unavailable, UserError
from tests.support.cluster import Cluster, free_port
from tests.support.faulty_proxy import faulty_proxy


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.terminal.HEALTH_SECONDS", (0.1, 5.0))


@contextmanager
def listening(port: int) -> Iterator[None]:
    """The Prefect server of this machine would be at `port`."""
    with temporary_settings({PREFECT_SERVER_API_PORT: port}, restore_defaults=[PREFECT_API_URL]):
        yield


def test_refused_is_no() -> None:
    with listening(free_port()):
        assert not is_local_server_up()
        assert running_server() == {}


@pytest.mark.parametrize("fault", ["500", "503", "drop"])
def test_one_failure_is_no_no(cluster: Cluster, fault: str) -> None:
    with faulty_proxy(cluster.address.removesuffix("/api")) as (address, plan), listening(int(address.split(":")[-1])):
        plan.set(fault, "GET /api/health", times=1)
        assert is_local_server_up()
        assert len(plan.struck) == 1


def test_the_doctor_finds_it(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", cluster.address)
    assert servers.prefect() == Finding("Prefect", "ok", f"answers at {cluster.address}")


def test_server_that_wants_a_password_says_where_to_put_it(cluster: Cluster) -> None:
    with cluster.failing("401", "GET /api/admin/version"), pytest.raises(UserError) as raised:
        check_server()
    assert "asks for a password; set PREFECT_API_AUTH_STRING to what" in str(raised.value)


def test_silence_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.terminal.HEALTH_SECONDS", (0.1, 0.2))
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        port = silent.getsockname()[1]
        said = rf"^something listens at http://127.0.0.1:{port} but does not say .* \(timed out\); .* PREFECT_API_URL$"
        with listening(port), pytest.raises(Unavailable, match=said):
            is_local_server_up()


def test_another_program_is_no(tmp_path: Path) -> None:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        with listening(server.server_port):
            assert not is_local_server_up()
        server.shutdown()


@pytest.mark.parametrize(("error", "code"), [(UserError("a"), 2), (Unavailable("a"), 69)])
def test_exit_code_says_whether_a_retry_may_help(error: UserError, code: int) -> None:
    with pytest.raises(SystemExit) as ended:
        end_with(error)
    assert ended.value.code == code
