"""A load test sees what a page does wrong: against a small page that answers as it is told."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from denoise_app.cli import main
from denoise_app.scale import loadtest
from denoise_app.scale.loadtest import Failed, Plan, clip, is_local, run

PLAN = Plan(users=3, seconds=0.4, clip_seconds=0.1, models=("one", "two"), rest=0.0)


class Page:
    """A page; what it makes of a recording is the recording and the name of the model.

    Attributes:
        answer: Changes a result before it is fetched.
        refuse: Gives (status, headers, body) where an order is not to be taken.
        ready: What /readyz answers: status and body.
        memory: Bytes that /metrics tells; each time the next one, the last one again and again. None: no such address.
        addresses: Of those who asked.
    """

    def __init__(self) -> None:
        self.answer: Callable[[bytes, int], bytes] = lambda result, count: result
        self.refuse: Callable[[int], tuple[int, dict[str, str], bytes] | None] = lambda count: None
        self.memory: list[int] | None = [10**8]
        self.ready = 200, b"ready\n"
        self.addresses: set[str] = set()
        self.tokens: set[str | None] = set()
        self.files: dict[str, bytes] = {}
        self.orders: dict[str, tuple[str, str]] = {}
        self._lock = threading.Lock()
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._send(*page.get(self.path))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with page._lock:
                    page.addresses.add(self.headers["X-Forwarded-For"])
                    page.tokens.add(self.headers["Authorization"])
                    answer = page.post(self.path, body)
                self._send(*answer)

            def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                for name, value in (headers | {"Content-Length": str(len(body))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *told: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def post(self, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if path.endswith("/upload"):
            name = f"/files/{len(self.files)}"
            self.files[name] = body[body.index(b"RIFF") :].rpartition(b"\r\n--")[0]
            return 200, {}, json.dumps([name]).encode()
        if path.endswith("/call/v2/denoise"):
            if refusal := self.refuse(len(self.orders)):
                return refusal
            asked = json.loads(body)
            name = f"order{len(self.orders)}"
            self.orders[name] = (asked["audio"]["path"], asked["model"])
            return 200, {}, json.dumps({"event_id": name}).encode()
        return 404, {}, b""

    def get(self, path: str) -> tuple[int, dict[str, str], bytes]:
        if path == "/readyz":
            return self.ready[0], {}, self.ready[1]
        if path == "/metrics" and self.memory is not None:
            held = self.memory.pop(0) if len(self.memory) > 1 else self.memory[0]
            lines = f"denoise_process_resident_memory_bytes {held}\ndenoise_files_bytes 1048576\n"
            return 200, {}, lines.encode()
        if "/call/denoise/" in path:
            name = path.rpartition("/")[2]
            source, model = self.orders[name]
            result = f"{source}.{name}"
            self.files[result] = self.answer(self.files[source] + model.encode(), len(self.orders))
            return 200, {}, f"event: complete\ndata: [{json.dumps({'path': result})}]\n\n".encode()
        if "/file=" in path:
            return 200, {}, self.files[path.partition("=")[2]]
        return 404, {}, b""


@pytest.fixture
def page() -> Iterator[Page]:
    made = Page()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.mark.slow
def test_everybody_gets_their_own_and_is_somebody_else(page: Page) -> None:
    found = run(page.url, PLAN)
    assert found["exact"] >= 3 and found["wrong"] == 0 and found["problems"] == []
    assert found["p50_s"] <= found["p95_s"] and found["held"]["before"] == {"memory_mib": 95.4, "files_mib": 1.0}
    assert len(page.addresses) == PLAN.users
    assert {model for _, model in page.orders.values()} == {"one", "two"}
    assert re.fullmatch(rb"RIFF.{40}.{3200}", page.files["/files/0"], re.S)


@pytest.mark.slow
def test_the_result_of_another_is_seen(page: Page) -> None:
    page.answer = lambda result, count: result if count <= PLAN.users else page.files["/files/0"] + b"one"
    found = run(page.url, PLAN)
    assert found["wrong"] > 0 and any("not the user's own samples" in problem for problem in found["problems"])


@pytest.mark.slow
def test_clips_that_become_the_same_tell_nothing(page: Page) -> None:
    page.answer = lambda result, count: b"silence"
    with pytest.raises(Failed, match="same file"):
        run(page.url, PLAN)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("headers", "body", "problem"),
    [
        ({"Retry-After": "1"}, b'{"detail": "Too many wait."}', None),
        ({}, b'{"detail": "Too many wait."}', "without Retry-After"),
        ({"Retry-After": "1"}, b'{"detail": null}', "without a sentence"),
        ({"Retry-After": "1"}, b"", "without a sentence"),
    ],
)
def test_a_refusal_says_why_and_when_to_come_again(
    page: Page, headers: dict[str, str], body: bytes, problem: str | None
) -> None:
    refusals = iter([(429, headers, body)])
    page.refuse = lambda count: next(refusals, None) if count > PLAN.users else None
    found = run(page.url, PLAN)
    assert found["refused"] == {"429": 1}
    assert [problem in told for told in found["problems"]] == ([] if problem is None else [True])


@pytest.mark.slow
def test_memory_that_stays_is_a_problem(page: Page) -> None:
    page.memory = [10**8, 6 * 10**8, 3 * 10**8]
    assert run(page.url, PLAN)["problems"] == ["191 MiB more are held than before"]
    page.memory = [10**8, 6 * 10**8, 2 * 10**8]
    assert run(page.url, PLAN)["problems"] == []
    page.memory = None
    assert run(page.url, PLAN)["problems"] == ["the page does not tell its memory at /metrics"]


@pytest.mark.slow
def test_a_page_that_breaks_is_told(page: Page) -> None:
    page.refuse = lambda count: (500, {}, b'{"detail": "It failed."}') if count >= PLAN.users else None
    found = run(page.url, PLAN)
    assert "nobody got anything" in found["problems"] and found["refused"]["500"] >= PLAN.users


def test_clips_of_users_differ_and_are_the_same_again() -> None:
    assert clip(0.1, 1) == clip(0.1, 1) != clip(0.1, 2)


# ---------------------------------------------------------------------------------------------------------- the command


@pytest.mark.slow
def test_the_command_tells_the_figures_and_fails_where_something_is_wrong(
    page: Page, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DENOISE_API_TOKEN", "s3cret")
    few = ["--users", "2", "--minutes", "0.01", "--clip", "0.1", "--rest", "0", "--model", "one"]
    assert main(["loadtest", page.url, *few]) == 0
    told = capsys.readouterr().out
    assert re.search(r"^2 users, 0.01 minutes: \d+ exact, 0 wrong, 0 failed, 0 refused$", told, re.M)
    assert "memory 95.4 / 95.4 / 95.4 MiB" in told and page.tokens == {"Bearer s3cret"}
    page.memory = None
    assert main(["loadtest", page.url, *few, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"]


@pytest.mark.parametrize("url", ["https://example.com", "http://10.0.0.8:7860", "ftp://127.0.0.1", "127.0.0.1:7860"])
def test_other_peoples_pages_are_left_alone(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loadtest, "run", lambda *_: pytest.fail("it was loaded"))
    assert main(["loadtest", url]) == 1
    assert "not on this machine" in (said := capsys.readouterr().err) or "no address of a page" in said


def test_a_page_of_mine_elsewhere_may_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def fake(url: str, plan: Plan, told: Any) -> dict[str, Any]:
        asked.append(url)
        raise Failed("enough")

    monkeypatch.setattr(loadtest, "run", fake)
    assert main(["loadtest", "http://10.0.0.8:7860", "--yes"]) == 1
    assert asked == ["http://10.0.0.8:7860"] and not is_local(asked[0])


def test_a_page_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["loadtest", "http://127.0.0.1:9", "--users", "1"]) == 1
    assert "error: http://127.0.0.1:9/ does not answer: " in (said := capsys.readouterr().err) and "refused" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ready", "said"),
    [
        ((503, b"loading\n"), "takes no work now: it is loading"),
        ((503, b"draining\n"), "takes no work now: it is draining"),
        ((404, b"<!DOCTYPE html>"), "is no page of this program: /readyz there answers 404"),
        ((200, b"<!DOCTYPE html>"), "is no page of this program: /readyz there answers 200"),
    ],
)
def test_what_takes_no_work_is_told_and_sent_nothing(
    ready: tuple[int, bytes], said: str, page: Page, capsys: pytest.CaptureFixture[str]
) -> None:
    page.ready = ready
    assert main(["loadtest", page.url, "--users", "1"]) == 1
    assert said in capsys.readouterr().err and not page.addresses
