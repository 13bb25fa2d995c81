"""Who may see a lab that others can reach."""

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect


async def page(request: object) -> PlainTextResponse:
    return PlainTextResponse("the page")


async def stream(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("the stream")


@pytest.fixture
def client() -> TestClient:
    from lab.server import Closed, Door  # Streamlit takes a second, which not every test process needs

    routes = [Route("/", page), Route("/run", page), Route("/_stcore/health", page), WebSocketRoute("/stream", stream)]
    app = Starlette(routes=routes, middleware=[Middleware(Closed), Middleware(Door, token="swordfish")])
    return TestClient(app, follow_redirects=False)


def test_nobody_comes_in_without_the_token(client: TestClient) -> None:
    from lab.server import COOKIE

    for path in ("/", "/run", "/?token=", "/?token=swordfis", "/run?token=wörd"):
        assert client.get(path).status_code == 401
    assert client.get("/", headers={"Cookie": f"{COOKIE}=no"}).status_code == 401
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/stream"):
        pass
    assert client.get("/_stcore/health").status_code == 200


def test_the_token_opens_the_door_once_and_leaves_the_address(client: TestClient) -> None:
    from lab.server import OURS

    answer = client.get("/run?run=7&token=swordfish")
    assert (answer.status_code, answer.headers["location"]) == (303, "/run?run=7")
    assert "httponly" in answer.headers["set-cookie"].lower()
    answer = client.get("/run?run=7")
    assert (answer.text, answer.headers["content-security-policy"]) == ("the page", OURS)
    with client.websocket_connect("/stream") as socket:
        assert socket.receive_text() == "the stream"
