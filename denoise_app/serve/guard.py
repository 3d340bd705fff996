"""What every request passes: bodies are bounded before they are read, uploads leave nothing behind, headers are strict.

A plain ASGI application around another one; it answers what it refuses in a sentence.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import JSONResponse, PlainTextResponse, Response

from . import clients
from .clients import CURRENT
from .limits import FORM_BYTES, JSON_BYTES
from .metrics import Metrics
from .uploads import Uploads

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

logger = logging.getLogger(__name__)

PATIENCE = 60.0  # s without a byte, after which an upload is given up
UPLOAD = "/gradio_api/upload"
ORDERS = ("/gradio_api/queue/join", "/gradio_api/call/", "/gradio_api/run/", "/gradio_api/api/")
REFUSED = "denoise.refused"  # of a scope
LATER, AN_HOUR = 60, 3600  # s after which to ask again
CLOSED = ("/gradio_api/deep_link",)  # would write a visit's state to the disk, for whoever asks

POLICY = "; ".join(
    (
        "default-src 'self'",
        # Gradio's page holds scripts, and makes functions of the texts that gr.HTML brings
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self' https://huggingface.co",
    )
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",  # a result's address is a secret
}


class Sentence(Protocol):
    """Puts a refusal into words."""

    def __call__(self, key: str, **facts: object) -> str: ...


class Refused(Exception):
    """A request that is answered with an error.

    Args:
        status: Of HTTP.
        key: Of the sentence.
        retry_after: Seconds after which it may be taken; None where it never will.
        facts: What the sentence names.
    """

    def __init__(self, status: int, key: str, retry_after: int | None = None, **facts: object) -> None:
        super().__init__(key)
        self.status, self.key, self.retry_after, self.facts = status, key, retry_after, facts

    @property
    def headers(self) -> dict[str, str]:
        """What a program is told beside the sentence."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return headers | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})


def refuse(scope: Scope, refused: Refused) -> None:
    """Gives what is answered to a request, with a sentence of the page's own, a refusal's status and headers."""
    scope[REFUSED] = refused


def _refusal(scope: Scope) -> Refused | None:
    found = scope.get(REFUSED)
    return found if isinstance(found, Refused) else None


class Guard:
    """Stands before the page.

    Args:
        app: The page.
        uploads: Where its uploads go, and how much is taken.
        say: Gives the words for the languages that a client accepts.
        closing: Whether the program ends, so that nothing new is begun.
        metrics: Counts what is answered.
    """

    def __init__(
        self,
        app: Asgi,
        uploads: Uploads,
        say: Callable[[str], Sentence],
        closing: Callable[[], bool] = lambda: False,
        metrics: Metrics | None = None,
    ) -> None:
        self._app, self._uploads, self._say, self._closing = app, uploads, say, closing
        self._metrics = metrics or Metrics()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        CURRENT.set(clients.of(HTTPConnection(scope)))
        answer, began = _Answer(scope, send, is_foreign(headers)), time.monotonic()
        try:
            await self._passed(scope, headers, receive, answer)
        except Refused as refused:
            if not answer.begun:
                await self._refuse(refused, scope, headers, receive, answer)
        except Exception:
            logger.warning("a request could not be answered", exc_info=True)
            if not answer.begun:
                await self._refuse(Refused(500, "failed"), scope, headers, receive, answer)
            elif not answer.ended:
                await answer({"type": "http.response.body", "body": b""})  # what was said so far stands
        finally:
            if (kept := _refusal(scope)) is not None:
                self._metrics.refused(kept.key)
            self._metrics.answered(scope["path"], answer.status if answer.begun else None, time.monotonic() - began)

    async def _passed(self, scope: Scope, headers: Headers, receive: Receive, answer: _Answer) -> None:
        path = scope["path"].rstrip("/")
        if path.endswith(CLOSED):
            raise Refused(404, "not-here")
        if scope["method"] not in ("POST", "PUT", "PATCH"):
            await self._app(scope, receive, answer)
            return
        is_upload = path.endswith(UPLOAD)
        if self._closing() and (is_upload or any(order in path + "/" for order in ORDERS)):
            raise Refused(503, "closing", LATER)
        if is_upload:
            await self._upload(scope, headers, receive, answer)
        else:
            await self._app(scope, _replayed(await _body(headers, receive), receive), answer)

    async def _upload(self, scope: Scope, headers: Headers, receive: Receive, answer: _Answer) -> None:
        most = self._uploads.limits.max_upload
        size = _length(headers)
        announced = most + FORM_BYTES if size is None else size
        refusal = await run_in_threadpool(self._uploads.refusal, announced, CURRENT.get())
        if refusal == "upload-too-large":
            raise Refused(413, refusal, limit=_megabytes(most))
        if refusal == "too-many-bytes":
            raise Refused(429, refusal, AN_HOUR, limit=_megabytes(self._uploads.limits.max_uploaded_each))
        if refusal is not None:
            raise Refused(507, refusal, AN_HOUR)
        answer.withhold = True
        with self._uploads.receiving(announced, CURRENT.get()) as keep:
            try:
                await self._app(scope, _bounded(receive, announced, most), answer)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise Refused(507, "disk-full", AN_HOUR) from error
                raise Refused(500, "upload-failed") from error
            except ClientDisconnect:
                return
            if answer.status == 200:
                keep()
                self._metrics.uploaded(announced)
            elif answer.status == 413:
                raise Refused(413, "upload-too-large", limit=_megabytes(most))
            elif not answer.begun:
                raise Refused(500, "upload-failed")

    async def _refuse(
        self, refused: Refused, scope: Scope, headers: Headers, receive: Receive, answer: _Answer
    ) -> None:
        text = self._say(headers.get("accept-language", ""))(f"refused.{refused.key}", **refused.facts)
        answer.final = True
        refuse(scope, refused)
        plain = scope["path"].rstrip("/").endswith(UPLOAD)  # which Gradio's page shows as it is
        kind: Callable[..., Response] = PlainTextResponse if plain else JSONResponse
        response = kind(text if plain else {"detail": text}, refused.status, headers={"Connection": "close"})
        await response(scope, receive, answer)


class _Answer:
    """Sends an answer with the headers of this house.

    Attributes:
        withhold: Whether answers of 413 and from 500 on are kept back, for another one is to come in their place; those
            of a server that has failed, without a word of the page's, always are.
        final: Whether this is the one that comes in their place.
        begun, ended: Whether anything was sent, and all of it.
        status: What the page answered, sent or not.
    """

    def __init__(self, scope: Scope, send: Send, foreign: bool) -> None:
        self._scope, self._send, self._foreign = scope, send, foreign
        self.withhold, self.final, self.begun, self.ended = False, False, False, False
        self._kept_back = False
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            refused = _refusal(self._scope)
            if refused is not None:
                message["status"] = refused.status
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers.update(HEADERS)
            headers.update(refused.headers if refused is not None else {})
            if self._foreign:
                del headers["Access-Control-Allow-Credentials"]
            bare = self.status == 500 and headers.get("content-type", "").startswith("text/plain")
            replaced = self.withhold and (self.status == 413 or self.status >= 500)
            self._kept_back = not self.final and (bare or replaced)
        if self._kept_back:
            return
        self.begun = True
        self.ended = message["type"] == "http.response.body" and not message.get("more_body", False)
        await self._send(message)


def is_foreign(headers: Headers) -> bool:
    """Whether a page of another place asks."""
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc not in (headers.get("host"), headers.get("x-forwarded-host"))


def _length(headers: Headers) -> int | None:
    """The announced length of a body in bytes."""
    text = headers.get("content-length", "")
    return int(text) if text.isdecimal() else None


async def _body(headers: Headers, receive: Receive) -> bytes:
    """A body of at most JSON_BYTES; raises Refused for a longer one, as soon as it is known to be longer."""
    if (_length(headers) or 0) > JSON_BYTES:
        raise Refused(413, "body-too-large", limit=_megabytes(JSON_BYTES))
    body = bytearray()
    while (message := await receive())["type"] == "http.request":
        body += message.get("body", b"")
        if len(body) > JSON_BYTES:
            raise Refused(413, "body-too-large", limit=_megabytes(JSON_BYTES))
        if not message.get("more_body", False):
            break
    return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was received already, then what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


def _bounded(receive: Receive, announced: int, most: int) -> Receive:
    """Receives no more than was announced, from a client that does not fall silent."""
    received = 0

    async def bounded() -> Message:
        nonlocal received
        try:
            message = await asyncio.wait_for(receive(), PATIENCE)
        except TimeoutError as error:
            raise Refused(408, "upload-silent") from error
        received += len(message.get("body", b""))
        if received > announced:
            raise Refused(413, "upload-too-large", limit=_megabytes(most))
        return message

    return bounded


def _megabytes(count: int) -> str:
    """Bytes as people say them.

    >>> _megabytes(1 << 20), _megabytes(1536 << 20)
    ('1 MB', '1,536 MB')
    """
    return f"{count / (1 << 20):,.4g} MB" if count < 1000 << 20 else f"{count >> 20:,} MB"
