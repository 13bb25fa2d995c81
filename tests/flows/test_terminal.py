"""Where a run could not report, that is one line, before anything starts."""

from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

import flows.terminal
from flows.terminal import check_server, server, show
from gptcore.errors import UserError


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/api", "nonsense"])
def test_a_server_that_does_not_answer(address: str) -> None:
    with temporary_settings({PREFECT_API_URL: address}), pytest.raises(UserError) as error, server():
        pass
    assert str(error.value).startswith(f"no Prefect server answers at {address}: ")
    assert "PREFECT_API_URL" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_server_that_answers(server: str) -> None:
    check_server()


def test_a_home_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.terminal, "is_local_server_up", lambda: False)
    (tmp_path / "file").touch()
    home, unset = tmp_path / "file" / ".prefect", {PREFECT_API_URL}
    with temporary_settings({PREFECT_HOME: home}, restore_defaults=unset), pytest.raises(UserError) as error, server():
        pass
    assert str(error.value).startswith(f"Prefect keeps its database in {home}, which cannot be written; set HOME")
    with temporary_settings({PREFECT_HOME: tmp_path / "new" / ".prefect"}, restore_defaults=unset), server():
        pass


@pytest.mark.parametrize("columns", ["40", "80"])
def test_addresses_are_printed_whole(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    address = f"http://127.0.0.1:4200/runs/flow-run/{'0' * 36}/" + "a" * 80
    show(f"| stage | state |\n|---|---|\n| train | {'Cached ' * 30} |\n\n- this run: {address}\n- its code: `git show`")
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [f"- this run: {address}", "- its code: git show"]
    assert max(map(len, lines[:-2])) <= int(columns)
    show("no list")
    assert capsys.readouterr().out.strip() == "no list"
