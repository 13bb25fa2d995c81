"""What `make lab` starts beside the pages."""

import socket
from contextlib import ExitStack

import pytest

from lab import __main__ as lab
from tests.support.cluster import free_port


def test_an_api_is_started_where_none_is_up_or_named(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = list[str]()
    monkeypatch.setattr(lab, "start", lambda stack, name, words: begun.append(name))
    monkeypatch.delenv("GPTCORE_SERVING", raising=False)
    with ExitStack() as stack, socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setattr(lab, "SERVING", f"http://127.0.0.1:{other.getsockname()[1]}")
        lab._start_api(stack)  # something listens there
        assert begun == []
        monkeypatch.setattr(lab, "SERVING", f"http://127.0.0.1:{free_port()}")
        lab._start_api(stack)
        assert begun == ["serving"]
        monkeypatch.setenv("GPTCORE_SERVING", "http://gptcore-serving")
        lab._start_api(stack)
    assert begun == ["serving"]
