"""Less over the wire: text goes packed, the browser keeps what never changes, and what nobody needs is not sent."""

from __future__ import annotations

import gzip
import re
from functools import cache
from pathlib import Path

import gradio
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PACKED = re.compile(r"(^|/)(config|info|run/predict|theme\.css|)$")  # answers of text that are not packed already
ASSET = re.compile(r"/assets/[^/]+-[\w-]{8,}\.(js|css|woff2?)$")  # with a digest of its content in its name
STREAMING = re.compile(r"/assets/(hls-[\w-]+\.js)$")  # plays live streams, of which there are none here: 156 kB
MEDIA = {"js": "text/javascript", "css": "text/css"}
LASTING = "public, max-age=31536000, immutable"
LEAST_BYTES = 1000  # less is hardly smaller when it is packed
LEVEL = 6  # of gzip; more takes longer and saves 0.3 %


class Lean:
    """Between the web server and Gradio.

    Args:
        app: What answers.
        assets: Where Gradio's own scripts lie.
    """

    def __init__(self, app: ASGIApp, assets: Path = Path(gradio.__file__).parent / "templates/frontend/assets") -> None:
        self._app = app
        self._packing = GZipMiddleware(app, minimum_size=LEAST_BYTES, compresslevel=LEVEL)
        self._assets = assets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        path: str = scope["path"]
        takes_gzip = "gzip" in Headers(scope=scope).get("accept-encoding", "")
        if (found := STREAMING.search(path)) and (made := stub(self._assets / found[1])):
            headers = {"Cache-Control": LASTING}
            return await Response(made, media_type="text/javascript", headers=headers)(scope, receive, send)
        if found := ASSET.search(path):
            kept = self._kept(path, found[1]) if takes_gzip and scope["method"] == "GET" else None
            return await (kept(scope, receive, send) if kept else self._app(scope, receive, _lasting(send)))
        await (self._packing if PACKED.search(path) else self._app)(scope, receive, send)

    def _kept(self, path: str, kind: str) -> Response | None:
        """One of Gradio's own files without Gradio, which would read and pack it each time; None where it has none."""
        if kind not in MEDIA:
            return None
        try:
            body = packed_file(self._assets / Path(path).name)
        except (OSError, ValueError):  # a name that no file can have
            return None
        headers = {"Cache-Control": LASTING, "Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        return Response(body, media_type=MEDIA[kind], headers=headers)


@cache  # Gradio has 860 of them, 6 MB when packed
def packed_file(file: Path) -> bytes:
    """A file by gzip; raises an OSError where there is none."""
    return gzip.compress(file.read_bytes(), LEVEL, mtime=0)


def _lasting(send: Send) -> Send:
    """Tells the browser to keep what was found."""

    async def send_lasting(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] in (200, 304):
            MutableHeaders(scope=message)["Cache-Control"] = LASTING
        await send(message)

    return send_lasting


@cache
def stub(script: Path) -> str:
    """A module with the names that a script exports, none of which does anything; "" where it is not as expected."""
    try:
        found = re.search(r"export\{([\w$ ,]+)\};?\s*$", script.read_text("utf-8"))
    except OSError:
        return ""
    names = [part.split(" as ")[-1].strip() for part in found[1].split(",")] if found else []
    exports = ", ".join(f"nothing as {name}" for name in names)
    return f"function nothing() {{}}\nnothing.isSupported = () => false;\nexport {{ {exports} }};\n" if names else ""
