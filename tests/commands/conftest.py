"""Commands find the registry of their folder, whichever MLflow's client in this test process asked last."""

import pytest

from tests.support.engine import LEFT_BY_MLFLOW


@pytest.fixture(autouse=True)
def no_registry_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LEFT_BY_MLFLOW, raising=False)
