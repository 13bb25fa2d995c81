"""What a browser loads of Streamlit, on the app that the lab serves."""

import re

import pytest
from starlette.testclient import TestClient

NAMED = re.compile(r"\./(static/(?:js|css|media)/[\w.-]+)")


@pytest.fixture
def client() -> TestClient:
    from lab.server import make_app  # Streamlit takes a second, which not every test process needs

    return TestClient(make_app("swordfish"))


def test_a_browser_gets_streamlits_own_files_and_keeps_them(client: TestClient) -> None:
    from lab.scripts import FOLDER

    assert client.get("/static/js/nothing.js").status_code == 401
    first = client.get("/?token=swordfish")
    named = {*NAMED.findall(first.text)}
    assert len(named) > 50
    for name in named:
        answer = client.get(f"/{name}")
        assert answer.content == (FOLDER.parent / name).read_bytes()
        assert "immutable" in answer.headers["cache-control"]
        if name.endswith(".js"):  # else a browser refuses to run it
            assert "javascript" in answer.headers["content-type"]
