"""What every request passes, in front of a page that takes whatever it is given."""

from __future__ import annotations

import asyncio
import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from denoise_app.serve.clients import CURRENT
from denoise_app.serve.guard import UPLOAD, Guard, Refused, refuse
from denoise_app.serve.limits import FORM_BYTES, JSON_BYTES, ServiceLimits
from denoise_app.serve.metrics import Metrics
from denoise_app.serve.uploads import Uploads

LIMITS = ServiceLimits(max_upload=2000, max_disk=10**6, min_free=100)


class Page:
    """A page that writes uploads as Gradio does: into the folder, without a care for what breaks off."""

    def __init__(self, uploads: Uploads) -> None:
        self.uploads = uploads
        self.fails: Exception | None = None
        self.read: list[int] = []
        self.clients: list[str] = []
        routes = [
            Route(UPLOAD, self.upload, methods=["POST"]),
            Route("/{rest:path}", self.anything, methods=["GET", "POST"]),
        ]
        self.app = Starlette(routes=routes)

    async def upload(self, request: Request) -> Response:
        with (Path(self.uploads) / "tmp").open("wb") as file:
            async for chunk in request.stream():
                file.write(chunk)
                if self.fails:
                    raise self.fails
        return JSONResponse([file.name])

    async def anything(self, request: Request) -> Response:
        self.read.append(len(await request.body()))
        self.clients.append(CURRENT.get())
        return PlainTextResponse("page", headers={"Access-Control-Allow-Credentials": "true"})


class Answer:
    """What came back, and how many of the pieces of a body were taken."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.taken = 0
        self.ended = False

    @property
    def said(self) -> str:
        text = self.headers["content-type"].startswith("text")
        return self.body.decode() if text else str(json.loads(self.body)["detail"])


def ask(
    app: Any,
    path: str,
    *pieces: bytes,
    method: str = "POST",
    headers: dict[str, str] | None = None,
    breaks_off: bool = False,
) -> Answer:
    """Sends a request piece by piece; `breaks_off` ends the connection after the last one."""
    answer, pieces = Answer(), pieces or (b"",)

    async def receive() -> dict[str, Any]:
        if answer.taken == len(pieces):
            return {"type": "http.disconnect"}
        answer.taken += 1
        last = answer.taken == len(pieces) and not breaks_off
        return {"type": "http.request", "body": pieces[answer.taken - 1], "more_body": not last}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            assert not answer.status, "two answers"
            answer.status = message["status"]
            answer.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
        else:
            answer.body += message.get("body", b"")
            answer.ended = not message.get("more_body", False)

    named = {"host": "page.example"} | (headers or {})
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [(name.lower().encode(), value.encode()) for name, value in named.items()],
        "client": ("10.0.0.1", 5),
        "server": ("page.example", 80),
    }
    asyncio.run(app(scope, receive, send))
    return answer


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(tmp_path, LIMITS, free=lambda path: 10**9)


@pytest.fixture
def page(uploads: Uploads) -> Page:
    return Page(uploads)


@pytest.fixture
def guard(page: Page, uploads: Uploads) -> Guard:
    return Guard(page.app, uploads, lambda accepted: lambda key, **facts: f"{accepted or 'en'}: {key} {facts}")


def left(uploads: Uploads) -> list[Path]:
    return [path for path in uploads.root.rglob("*") if path.is_file()]


def test_a_large_body_is_refused_before_it_is_read(guard: Guard, page: Page) -> None:
    told = ask(guard, "/gradio_api/queue/join", b"x", headers={"content-length": str(JSON_BYTES + 1)})
    assert told.status == 413 and told.taken == 0 and "body-too-large" in told.said and "1 MB" in told.said
    pieces = [bytes(JSON_BYTES // 4)] * 40  # of a length that nobody announced
    told = ask(guard, "/gradio_api/component_server", *pieces, headers={"accept-language": "zh"})
    assert told.status == 413 and told.taken == 5 and told.said.startswith("zh:")
    assert page.read == []
    assert ask(guard, "/gradio_api/queue/join", *[bytes(JSON_BYTES // 4)] * 4).status == 200
    assert page.read == [JSON_BYTES]


def test_an_upload_arrives_whole_in_a_room_of_its_own(guard: Guard, uploads: Uploads) -> None:
    told = [ask(guard, UPLOAD, b"a" * 700, b"b" * 800, headers={"content-length": "1500"}) for _ in range(2)]
    assert [one.status for one in told] == [200, 200]
    assert sorted(str(path) for path in left(uploads)) == sorted(json.loads(one.body)[0] for one in told)
    assert all(path.read_bytes() == b"a" * 700 + b"b" * 800 for path in left(uploads))


def test_an_upload_that_breaks_off_leaves_nothing(guard: Guard, uploads: Uploads) -> None:
    ask(guard, UPLOAD, b"a" * 700, headers={"content-length": "1500"}, breaks_off=True)
    assert left(uploads) == [] and list(uploads.root.iterdir()) == []


@pytest.mark.parametrize("announced", [True, False])
def test_an_upload_that_is_too_large_is_refused_and_leaves_nothing(
    guard: Guard, uploads: Uploads, announced: bool
) -> None:
    size = LIMITS.max_upload + FORM_BYTES + 1
    pieces = [bytes(size // 2 + 1)] * 4
    told = ask(guard, UPLOAD, *pieces, headers={"content-length": str(size)} if announced else None)
    assert told.status == 413 and "upload-too-large" in told.said and told.taken == (0 if announced else 2)
    assert list(uploads.root.iterdir()) == []


def test_a_full_disk_is_told_and_nothing_is_left(page: Page, tmp_path: Path) -> None:
    full = Uploads(tmp_path / "full", LIMITS, free=lambda path: 1000)
    guard = Guard(Page(full).app, full, lambda accepted: lambda key, **facts: key)
    told = ask(guard, UPLOAD, b"a" * 950, headers={"content-length": "950"})
    assert told.status == 507 and told.said == "refused.disk-full" and told.taken == 0
    assert ask(guard, UPLOAD, b"a" * 850, headers={"content-length": "850"}).status == 200


def test_a_client_may_keep_so_many_bytes_and_another_its_own(page: Page, tmp_path: Path) -> None:
    few = Uploads(tmp_path / "few", replace(LIMITS, max_uploaded_each=2500), free=lambda path: 10**9)
    metrics = Metrics()
    guard = Guard(Page(few).app, few, lambda accepted: lambda key, **facts: key, metrics=metrics)
    size = FORM_BYTES + 2000  # as a body is, whose file is smaller
    headers = {"content-length": "2000"}
    assert ask(guard, UPLOAD, bytes(2000), headers=headers).status == 200
    announced = {"content-length": str(size)}
    told = ask(guard, UPLOAD, bytes(2000), headers=announced)
    assert told.status == 429 and told.said == "refused.too-many-bytes" and int(told.headers["retry-after"]) > 0
    assert told.taken == 0
    assert 'denoise_refusals_total{reason="too-many-bytes"} 1.0' in metrics.text().decode()
    other = {"x-forwarded-for": "198.51.100.7, 198.41.0.4"}
    assert ask(guard, UPLOAD, bytes(2000), headers=headers | other).status == 200
    for path in left(few):
        path.unlink()
    assert ask(guard, UPLOAD, bytes(2000), headers=headers).status == 200
    assert "10.0.0.1" not in str(list(few.root.iterdir()))


def test_a_refusal_of_the_page_gets_the_status_and_headers_of_its_kind(uploads: Uploads) -> None:
    async def busy(scope: Any, receive: Any, send: Any) -> None:
        refuse(scope, Refused(429, "too-many-orders", 10, limit=4))
        await JSONResponse({"detail": "You have four."}, 503)(scope, receive, send)

    guard = Guard(busy, uploads, lambda accepted: lambda key, **facts: key)
    told = ask(guard, "/gradio_api/queue/join")
    assert (told.status, told.said, told.headers["retry-after"]) == (429, "You have four.", "10")


@pytest.mark.parametrize(
    ("error", "status", "key"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 507, "disk-full"),
        (OSError(errno.EIO, "Input/output error"), 500, "upload-failed"),
    ],
)
def test_a_disk_that_fills_up_meanwhile_is_told_too(
    guard: Guard, page: Page, uploads: Uploads, error: OSError, status: int, key: str
) -> None:
    page.fails = error
    told = ask(guard, UPLOAD, b"a" * 100, b"b", headers={"content-length": "101"})
    assert told.status == status and f"refused.{key}" in told.said
    assert list(uploads.root.iterdir()) == []


def test_whoever_falls_silent_is_given_up(guard: Guard, uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(waited: Any, seconds: float) -> Any:
        waited.close()
        raise TimeoutError

    monkeypatch.setattr("denoise_app.serve.guard.asyncio.wait_for", at_once)
    told = ask(guard, UPLOAD, b"a", headers={"content-length": "10"})
    assert told.status == 408 and list(uploads.root.iterdir()) == []


def test_nothing_new_is_begun_once_the_program_ends(page: Page, uploads: Uploads) -> None:
    guard = Guard(page.app, uploads, lambda accepted: lambda key, **facts: key, closing=lambda: True)
    for path in (UPLOAD, "/gradio_api/queue/join", "/gradio_api/call/denoise", "/gradio_api/run/predict"):
        told = ask(guard, path, b"{}")
        assert told.status == 503 and told.said == "refused.closing"
    assert ask(guard, "/gradio_api/queue/data", method="GET").status == 200  # what was begun is heard to its end


def test_headers_are_strict_whatever_is_answered(guard: Guard) -> None:
    large = {"content-length": str(JSON_BYTES + 1)}
    for told in (ask(guard, "/", method="GET"), ask(guard, "/config", b"", headers=large)):
        assert told.headers["x-content-type-options"] == "nosniff"
        policy = told.headers["content-security-policy"]
        assert "default-src 'self'" in policy and "object-src 'none'" in policy and "*" not in policy
        assert told.headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://page.example", True),
        ("https://evil.example", False),
        ("https://page.example.evil.org", False),
        ("https://page.example:8443", False),
        ("null", False),
    ],
)
def test_no_other_place_is_given_credentials(guard: Guard, origin: str, allowed: bool) -> None:
    told = ask(guard, "/", method="GET", headers={"origin": origin})
    assert ("access-control-allow-credentials" in told.headers) == allowed


def test_a_visit_is_not_written_to_the_disk_for_a_link(guard: Guard, page: Page) -> None:
    assert ask(guard, "/gradio_api/deep_link", method="GET").status == 404 and page.read == []


def test_an_answer_that_breaks_off_is_ended(uploads: Uploads) -> None:
    async def page(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"event: error", "more_body": True})
        raise RuntimeError("it is gone")

    told = ask(Guard(page, uploads, lambda accepted: lambda key, **facts: key), "/", method="GET")
    assert told.body == b"event: error" and told.ended


def test_a_page_that_fails_is_answered_in_a_sentence(uploads: Uploads) -> None:
    async def fail(request: Request) -> Response:
        raise ValueError("/secret/path")

    app = Starlette(routes=[Route("/", fail, methods=["POST"])])
    told = ask(Guard(app, uploads, lambda accepted: lambda key, **facts: key), "/")
    assert told.status == 500 and told.said == "refused.failed" and told.headers["x-content-type-options"] == "nosniff"


def test_who_asks_is_known_to_whoever_answers(guard: Guard, page: Page) -> None:
    ask(guard, "/", method="GET")
    ask(guard, "/", method="GET", headers={"x-forwarded-for": "5.5.5.5, 198.41.0.4"})
    assert page.clients == ["10.0.0.1", "198.41.0.4"]
