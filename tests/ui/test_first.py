"""A script stands first in a page, and nothing else is changed."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from denoise_app.ui.first import First
from denoise_app.ui.lean import Lean

PAGE = "<!doctype html><html><head><script>theirs()</script></head><body>é &lt;head></body></html>"
FIRST = PAGE.replace("<head>", "<head><script>ours('é')</script>", 1)


async def answer(request: Request) -> Response:
    match request.url.path:
        case "/stream/":
            return StreamingResponse((part for part in (PAGE[:40], PAGE[40:])), media_type="text/html")
        case "/text/":
            return PlainTextResponse(PAGE)
        case "/packed/":
            return HTMLResponse(PAGE, headers={"Content-Encoding": "identity"})
        case _:
            return HTMLResponse(PAGE * 20)


@pytest.fixture
def client() -> TestClient:
    middleware = [Middleware(Lean), Middleware(First, "ours('é')")]
    return TestClient(Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "HEAD"])], middleware=middleware))


@pytest.mark.parametrize("coding", ["gzip", "identity"])
def test_it_stands_first_in_a_page(client: TestClient, coding: str) -> None:
    answered = client.get("/", headers={"Accept-Encoding": coding})
    assert answered.text == FIRST + PAGE * 19
    assert answered.headers.get("content-encoding", "identity") == coding
    if coding == "identity":
        assert int(answered.headers["content-length"]) == len(answered.content)


def test_a_page_in_pieces_keeps_all_of_them(client: TestClient) -> None:
    assert client.get("/stream/").text == FIRST


@pytest.mark.parametrize("path", ["/text/", "/packed/"])
def test_what_is_no_page_or_is_packed_goes_as_it_is(client: TestClient, path: str) -> None:
    assert client.get(path).text == PAGE


@pytest.mark.parametrize("path", ["/results/token/my talk.plots.html", "/gradio_api/file=/tmp/page.html", "/figures"])
def test_a_page_that_is_downloaded_stays_as_it_is(client: TestClient, path: str) -> None:
    assert client.get(path).text == PAGE * 20


def test_the_head_of_a_page_alone_has_its_length(client: TestClient) -> None:
    assert client.head("/").headers["content-type"].startswith("text/html")
