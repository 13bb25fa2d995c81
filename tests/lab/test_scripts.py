"""What a browser loads of Streamlit, on the app that the lab serves."""

import re
from pathlib import Path

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
    all_of_them = {f"static/{each.relative_to(FOLDER)}" for each in FOLDER.glob("*/*")}
    named = {*NAMED.findall(first.text)}
    assert len(named) > 50 and named < all_of_them
    assert {"DataFrame", "ArrowVegaLiteChart"} <= {Path(each).name.split(".")[0] for each in all_of_them}
    for name in all_of_them:
        answer = client.get(f"/{name}")
        assert answer.content == (FOLDER.parent / name).read_bytes()
        assert "immutable" in answer.headers["cache-control"]
        if name.endswith(".js"):  # else a browser refuses to run it
            assert "javascript" in answer.headers["content-type"]
