"""Less over the wire: text goes packed, the browser keeps what never changes, and what nobody needs is not sent."""

from __future__ import annotations

import gzip
import re
from functools import cache
from pathlib import Path

import gradio
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import get_route_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PACKED = re.compile(r"(^|/)(config|info|run/predict|theme\.css|)$")  # answers of text that are not packed already
ASSET = re.compile(r"/assets/([^/]+-[\w-]{8,}\.(js|css|woff2?))")  # with a digest of its content in its name
STREAMING = re.compile(r"/assets/(hls-[\w-]+\.js)")  # plays live streams, of which there are none here: 156 kB
MEDIA = {"js": "text/javascript", "css": "text/css"}
LASTING = "public, max-age=31536000, immutable"
LEAST_BYTES = 1000  # less is hardly smaller when it is packed
LONGEST_NAME = 255  # bytes, of a file
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
        path = get_route_path(scope)
        if any(len(part.encode()) > LONGEST_NAME for part in path.split("/")):  # Gradio would fail
            return await PlainTextResponse("Not Found", 404)(scope, receive, send)
        asset = ASSET.fullmatch(path)
        kept = self._kept(asset, takes_gzip(Headers(scope=scope))) if asset and scope["method"] == "GET" else None
        if kept:
            return await kept(scope, receive, send)
        if asset:
            return await self._app(scope, receive, _lasting(send))
        await (self._packing if PACKED.search(path) else self._app)(scope, receive, send)

    def _kept(self, asset: re.Match[str], gzipped: bool) -> Response | None:
        """One of Gradio's own files without Gradio, which would read and pack it each time; None where it has none."""
        try:
            if STREAMING.fullmatch(asset[0]) and (made := stub(self._assets / asset[1])):
                return Response(made, media_type=MEDIA["js"], headers={"Cache-Control": LASTING})
            if not gzipped or asset[2] not in MEDIA:
                return None
            body = packed_file(self._assets / asset[1])
        except (OSError, ValueError):  # a name that no file can have
            return None
        headers = {"Cache-Control": LASTING, "Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        return Response(body, media_type=MEDIA[asset[2]], headers=headers)


def takes_gzip(headers: Headers) -> bool:
    """Whether a client takes gzip (RFC 9110, 12.5.3)."""
    said = ",".join(headers.getlist("accept-encoding")).lower().split(",")
    weights = {coding.strip(): weight.replace(" ", "") for coding, _, weight in (one.partition(";") for one in said)}
    weight = weights.get("gzip", weights.get("*"))
    return weight is not None and not re.fullmatch(r"q=0(\.0*)?", weight)


@cache  # Gradio has 860 of them, 6 MB when packed
def packed_file(file: Path) -> bytes:
    """A file by gzip; raises an OSError where there is none."""
    return gzip.compress(file.read_bytes(), LEVEL, mtime=0)


def _lasting(send: Send) -> Send:
    """Tells the browser to keep what was found."""

    async def send_lasting(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] in (200, 304):
            headers = MutableHeaders(scope=message)
            headers["Cache-Control"] = LASTING
            headers.add_vary_header("Accept-Encoding")
        await send(message)

    return send_lasting


@cache
def stub(script: Path) -> str:
    """A module with the names that a script exports, none of which does anything; "" where it is not as expected.

    Raises an OSError where there is no such script, so that names which somebody makes up are not remembered.
    """
    found = re.search(r"export\{([\w$ ,]+)\};?\s*$", script.read_text("utf-8"))
    names = [part.split(" as ")[-1].strip() for part in found[1].split(",")] if found else []
    exports = ", ".join(f"nothing as {name}" for name in names)
    return f"function nothing() {{}}\nnothing.isSupported = () => false;\nexport {{ {exports} }};\n" if names else ""
