"""No answer from a registry is no answer: it is never read as "there is none"."""

import multiprocessing
import os
import shutil
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest

from gptcore.errors import Unavailable, UserError
from gptcore.registry.champion import crown
from gptcore.registry.journal import faults, holder
from gptcore.registry.tracking import Registry, opened
from tasks.promote import _place
from tests.support.faulty_proxy import Fault, Plan, faulty_proxy
from tests.support.figures import lower
from tests.support.mlflow_server import mlflow_server
from tests.support.patience import PATIENCE

EXPORT = {"model.safetensors": "weights", "tokenizer.json": '{"kind": "byte"}'}


@pytest.fixture(scope="module")
def proxied(mlflow_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Plan]]:
    """A server with two versions of gpt, of which the first is champion and better, behind a proxy that can fail."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(mlflow_database, folder)
    with mlflow_server(folder / "mlflow.db", folder / "served") as address, faulty_proxy(address) as (proxy, plan):
        client = mlflow.MlflowClient(proxy)
        client.create_registered_model("gpt")
        for bits in (1.9, 2.0):
            client.create_model_version("gpt", "s3://nowhere/gpt", tags=measured(bits))
        client.set_registered_model_alias("gpt", "champion", "1")
        yield proxy, plan


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's own client asks once."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def measured(bits: float) -> dict[str, str]:
    return {"model_sha256": str(bits), "bits_per_byte": str(bits), "baseline_bits_per_byte": "2.1",
            "validation_text_sha256": "a"}  # fmt: skip


def aliases(address: str) -> dict[str, str]:
    return {
        name: str(number) for name, number in mlflow.MlflowClient(address).get_registered_model("gpt").aliases.items()
    }


@pytest.mark.parametrize("fault", ["500", "503", "drop"])
def test_failing_alias_request_makes_no_champion(
    proxied: tuple[str, Plan], fault: Fault, impatient: None, tmp_path: Path
) -> None:
    address, plan = proxied
    plan.set(fault, "GET .*registered-models/", times=1)
    with pytest.raises(Unavailable, match=r"^the MLflow registry http\S+ does not"), opened(address, tmp_path) as found:
        _place(found, lower, 2, measured(2.0), tmp_path)
    assert len(plan.struck) == 1
    assert aliases(address) == {"champion": "1"}


def test_one_failure_is_passed_over(proxied: tuple[str, Plan], tmp_path: Path) -> None:
    address, plan = proxied
    plan.set("500", "GET .*registered-models/", times=1)
    with opened(address, tmp_path) as registry:
        assert "is not promoted" in _place(registry, lower, 2, measured(2.0), tmp_path)
    assert aliases(address) == {"champion": "1", "challenger": "2"}


def test_server_that_wants_a_password_says_where_to_put_it(proxied: tuple[str, Plan], tmp_path: Path) -> None:
    address, plan = proxied
    plan.set("401", "GET .*model-versions/search", times=1)
    said = "^the MLflow registry .* refuses: .*; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD$"
    with pytest.raises(UserError, match=said), opened(address, tmp_path) as registry:
        registry.find("a")


def test_no_alias_is_none(proxied: tuple[str, Plan], tmp_path: Path) -> None:
    with opened(proxied[0], tmp_path) as registry:
        assert registry.holder("nobody") is None
        champion = registry.holder("champion")
        assert champion and champion.number == 1
        assert registry.find("another") is None


def test_server_that_is_gone_is_unavailable(impatient: None, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="Connection refused"), opened("http://127.0.0.1:1", tmp_path) as registry:
        registry.find("a")


def test_deleted_experiment_is_one_line_that_restores_it(
    mlflow_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(mlflow_database, tmp_path)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    registry = Registry(uri, tmp_path / "mlartifacts")
    registry.client.delete_experiment(registry.experiment)
    with opened(uri, tmp_path / "mlartifacts") as registry, pytest.raises(UserError) as raised:
        registry.register("a run", tmp_path, {"model_sha256": "a"}, {}, {}, [])
    command = f"MLFLOW_TRACKING_URI={uri} mlflow experiments restore --experiment-id 1"
    assert f"train-gpt of the MLflow registry {uri} is deleted; restore it, `{command}`" in str(raised.value)


def test_files_on_a_server_are_looked_at(proxied: tuple[str, Plan], tmp_path: Path, impatient: None) -> None:
    address, plan = proxied
    export = tmp_path / "export"
    export.mkdir()
    for name, content in EXPORT.items():
        (export / name).write_text(content)
    with opened(address, tmp_path) as registry:
        made = registry.register("a run", export, {"model_sha256": "b"}, {}, {}, [])
        assert registry.is_there(made.number, export)
        (export / "model.safetensors").write_text("more weights")
        assert not registry.is_there(made.number, export)
    plan.set("500", "GET .*mlflow-artifacts.*", times=1)
    with pytest.raises(Unavailable), opened(address, tmp_path) as registry:
        registry.is_there(made.number, export)


def promote(address: str, bits: float, begin: Any, said: Path) -> None:
    """Leaves the traceback of a failure in `said`.

    It ends without exit handlers: those of the test process wait for threads that a fork does not have.
    """
    try:
        with opened(address, Path()) as registry:
            number = int(registry.client.create_model_version("gpt", "s3://nowhere/gpt", tags=measured(bits)).version)
            begin.wait()
            registry.tag(number, {"promotion": crown(registry, number, lower).because})
    except BaseException:
        said.write_text(traceback.format_exc())
        os._exit(1)
    os._exit(0)


def test_two_processes_promote_at_once(
    proxied: tuple[str, Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The better one is champion in the end, whichever writes last; never none."""
    monkeypatch.setattr("gptcore.registry.moves.MOVE_SECONDS", 0.0)
    address, context = proxied[0], multiprocessing.get_context("fork")  # a new interpreter imports MLflow for 2 s
    begin = context.Barrier(2)
    said = {bits: tmp_path / f"said-{bits}" for bits in (1.7, 1.8)}
    processes = [context.Process(target=promote, args=(address, bits, begin, file)) for bits, file in said.items()]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
    assert [each.read_text() for each in said.values() if each.exists()] == []
    assert [process.exitcode for process in processes] == [0, 0]
    with opened(address, tmp_path) as registry:
        champion, lines = registry.holder("champion"), registry.moves.lines([])
    assert champion and champion.tags["bits_per_byte"] == "1.7"
    assert holder(lines, "champion") == champion.number
    assert not list(faults(lines))
