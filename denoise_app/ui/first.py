"""A script that runs before any of Gradio's: what is given to Gradio as `head` runs only once its page stands."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEAD = b"<head>"


class First:
    """Between the web server and Gradio: puts a script first into Gradio's page, and into no file that is downloaded.

    Args:
        app: What answers; a page comes in one piece, as templates do.
        script: JavaScript.
    """

    def __init__(self, app: ASGIApp, script: str) -> None:
        self._app = app
        self._head = HEAD + f"<script>{script}</script>".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].endswith("/"):
            return await self._app(scope, receive, send)
        held: list[Message] = []  # the start of a page, whose length is not known yet

        async def send_page(message: Message) -> None:
            if message["type"] == "http.response.start" and is_page(message):
                held.append(message)
            elif held:
                start = held.pop()
                sent = message.get("body", b"")
                body = sent.replace(HEAD, self._head, 1)
                headers = MutableHeaders(scope=start)
                if "content-length" in headers:
                    headers["content-length"] = str(int(headers["content-length"]) + len(body) - len(sent))
                await send(start)
                await send({**message, "body": body})
            else:
                await send(message)

        await self._app(scope, receive, send_page)


def is_page(start: Message) -> bool:
    """Whether an answer begins a page of HTML that is not packed."""
    headers = Headers(scope=start)
    return headers.get("content-type", "").startswith("text/html") and "content-encoding" not in headers
