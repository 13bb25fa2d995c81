"""MLflow's tracking server on loopback, in a thread of this process: as a process of its own it takes 5 s to start."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import pytest
from werkzeug.serving import WSGIRequestHandler, make_server


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        pass


@contextmanager
def mlflow_server(database: Path, artifacts: Path) -> Iterator[str]:
    """Its address. It keeps what it knows in `database` and serves the files in `artifacts`; one at a time."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        settings = {
            "FILE_STORE": f"sqlite:///{database}", "ARTIFACT_ROOT": "mlflow-artifacts:/", "SERVE_ARTIFACTS": "true",
            "ARTIFACT_DESTINATION": artifacts.as_uri(),
        }  # fmt: skip
        for name, value in settings.items():
            monkeypatch.setenv(f"_MLFLOW_SERVER_{name}", value)
        from mlflow.server import app, handlers

        for store in ("_tracking_store", "_model_registry_store", "_artifact_repo"):
            monkeypatch.setattr(handlers, store, None)
        handlers._get_tracking_store()
        handlers._get_model_registry_store()
        mlflow.set_tracking_uri(None)  # the stores have set both for this process, where the tests are clients
        mlflow.set_registry_uri("")
        os.environ.pop("MLFLOW_REGISTRY_URI", None)
        server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
