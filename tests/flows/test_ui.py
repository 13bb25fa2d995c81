"""`make ui`, started and stopped as a user does."""

import os
import signal
from contextlib import closing
from pathlib import Path
from sqlite3 import connect
from urllib.request import urlopen

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_API_HOST, PREFECT_SERVER_API_PORT, temporary_settings

from flows.services.ui import main
from gptcore.errors import UserError
from tests.support import scratch
from tests.support.cluster import Cluster, free_port
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.slow


def test_ui_runs_deployments_leaves_no_process_and_goes_on_next_time(project: Path, cluster: Cluster) -> None:
    own, port = cluster.twin(project.with_name("home")), free_port()
    own.environment["UI_PORT"] = str(port)
    ui = own.launch(project, "flows.services.ui", log="ui.log")
    scratch.wait_until(lambda: "Ctrl-C" in (own.home / "ui.log").read_text())
    assert f"Prefect  http://127.0.0.1:{own.port}\n" in (own.home / "ui.log").read_text()
    with urlopen(f"http://127.0.0.1:{port}/health", timeout=60) as answer:
        assert answer.read() == b"OK"
    log = (own.home / "ui.log").read_text()
    assert f"export PREFECT_API_URL={own.address}\n" in log
    logs = {each: each.read_bytes() for each in (project / "data/scratch/ui").iterdir()}
    with (
        temporary_settings({PREFECT_SERVER_API_PORT: own.port}, restore_defaults={PREFECT_API_URL}),
        pytest.raises(UserError, match=f"^something listens at http://127.0.0.1:{own.port} already, perhaps another `"),
    ):
        main()
    assert any(logs.values())
    assert all(each.read_bytes().startswith(was) for each, was in logs.items())  # the other's, which goes on
    assert (own.home / "ui.log").read_text() == log
    (project / "trouble-train").write_text("wait 4")
    run = own.submit("train-gpt/train-local")
    scratch.wait_until(lambda: scratch.steps_taken(project) == [1, 2, 3, 4])
    os.killpg(ui.pid, signal.SIGINT)
    assert ui.wait(PATIENCE) == 0
    assert scratch.processes_in(project) == []
    with closing(connect(own.home / "prefect.db")) as database:
        states = database.execute("SELECT state_name FROM flow_run WHERE id = ?", [str(run)]).fetchall()
    assert states == [("AwaitingRetry",)]  # from where the next worker takes it: test_faults.py


def test_ui_listens_to_this_machine_alone() -> None:
    with (
        temporary_settings({PREFECT_SERVER_API_HOST: "0.0.0.0"}),
        pytest.raises(UserError, match=r"PREFECT_SERVER_API_HOST=0.0.0.0: `make ui` has no passwords"),
    ):
        main()
