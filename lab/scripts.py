"""What a browser loads of Streamlit itself: scripts, styles, fonts."""

from mimetypes import guess_type
from pathlib import Path

import streamlit
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

FOLDER = Path(streamlit.__file__).parent / "static/static"
KEPT = {"Cache-Control": "public, immutable, max-age=31536000"}  # a file's name has a hash of what is in it


class Scripts:
    """Answers with whole files: a first page takes a hundred, and Streamlit reads each in pieces, in other threads."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.files = {f"/static/{each.relative_to(FOLDER)}": each for each in FOLDER.glob("*/*")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (file := self.files.get(scope["path"])):
            kind, _ = guess_type(file.name)
            await Response(file.read_bytes(), media_type=kind, headers=KEPT)(scope, receive, send)
        else:
            await self.app(scope, receive, send)
