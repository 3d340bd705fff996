"""Whether a server lives, takes work, and how it does: addresses for whoever watches it."""

from __future__ import annotations

from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from .metrics import Metrics
from .token import is_permitted

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def routes(state: Callable[[], str], metrics: Metrics, token: str) -> list[Route]:
    """The addresses.

    /livez answers as long as the server can answer at all: where it does not, start it again; /healthz is the same
    under another name. /readyz says whether it takes work (200) or not (503). /metrics is for Prometheus.

    Args:
        state: "ready", "loading" or "draining".
        metrics: What was counted.
        token: What /metrics asks for in the Authorization header; "" for nothing.
    """

    async def live(request: Request) -> Response:
        return _answer("ok", 200)

    async def ready(request: Request) -> Response:
        now = state()
        return _answer(now, 200 if now == "ready" else 503)

    async def counted(request: Request) -> Response:
        if not is_permitted(request.headers, token):
            return PlainTextResponse("The token of this server is needed.", 401, {"WWW-Authenticate": "Bearer"})
        return Response(await run_in_threadpool(metrics.text), headers={"Content-Type": METRICS_TYPE})

    return [Route("/livez", live), Route("/healthz", live), Route("/readyz", ready), Route("/metrics", counted)]


def _answer(word: str, status: int) -> Response:
    return PlainTextResponse(f"{word}\n", status, {"Cache-Control": "no-store"})
