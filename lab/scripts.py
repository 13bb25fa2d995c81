"""What a browser loads of Streamlit itself: scripts, styles, fonts."""

from mimetypes import guess_type
from pathlib import Path

import streamlit
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FOLDER = Path(streamlit.__file__).parent / "static/static"
KEPT = {"Cache-Control": "public, immutable, max-age=31536000"}  # a file's name has a hash of what is in it
LARGE = ("DataFrame", "arrowFormatUtils", "ArrowVegaLiteChart", "embed", "StreamlitSyntaxHighlighter")


class Scripts:
    """Answers with whole files: a first page takes a hundred, and Streamlit reads each in pieces, in other threads.

    With each page comes a list of the large scripts of other pages; a browser loads them after those of the page.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.files = {f"/static/{each.relative_to(FOLDER)}": each for each in FOLDER.glob("*/*")}
        large = [each for name in LARGE for each in FOLDER.glob(f"js/{name}.*.js")]
        self.later = ", ".join(f"<./static/js/{each.name}>; rel=prefetch" for each in large)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if self.later and headers.get("content-type", "").startswith("text/html"):
                    headers["Link"] = self.later
            await send(message)

        if scope["type"] == "http" and (file := self.files.get(scope["path"])):
            kind, _ = guess_type(file.name)
            await Response(file.read_bytes(), media_type=kind, headers=KEPT)(scope, receive, send)
        else:
            await self.app(scope, receive, sending)
