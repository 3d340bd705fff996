"""The page through a long and hostile day: what it holds of visits, whom it lets in, and what it leaves behind."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio import http_server
from gradio.state_holder import SessionState
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from denoise_app.scale.loadtest import Plan, run
from denoise_app.ui import app as page
from denoise_app.ui.texts import ENGLISH
from denoise_app.ui.visits import REST_SECONDS, Visit, Visits
from denoise_app.ui.worker.clients import Line
from denoise_app.ui.worker.session import Job, Sessions

from .served import LIVE, answer_of, counted, files, order, started, until

Make = Callable[..., Path]
EACH = 4


class Server:
    """The page as it is served, for a fake worker."""

    def __init__(self, folder: Path, worker: Any) -> None:
        self.worker, self.uploads, self.visits = worker, folder / "uploads", folder / "visits"
        self.app = page.build(worker, Sessions(self.visits), examples=())
        _, self.url, _ = page.launch(self.app, server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)
        self.line: Line = self.app.blocks._queue

    def upload(self, path: Path) -> str:
        with path.open("rb") as file:
            (there,) = httpx.post(f"{self.url}gradio_api/upload", files={"files": file}).json()
        return str(there)

    def order(self, path: str) -> httpx.Response:
        return order(self.url, path)


@pytest.fixture
def server(tmp_path: Path, make_worker: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    monkeypatch.setenv("DENOISE_MAX_WAITING_EACH", str(EACH))
    monkeypatch.setenv("DENOISE_MAX_UPLOAD", "2000000")
    monkeypatch.setenv("DENOISE_JOBS", "1")
    running = Server(tmp_path, make_worker())
    yield running
    if running.worker.offers.gate is not None:
        running.worker.offers.gate.set()
    running.app.blocks.close()


# --------------------------------------------------------------------------------------------------------------- disk


@pytest.mark.slow
def test_an_upload_that_is_broken_off_leaves_no_file(server: Server) -> None:
    url = httpx.URL(server.url)
    head = (
        "POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
    )
    with socket.create_connection((url.host, url.port)) as client:
        client.sendall(head.encode() + bytes(300_000))
        until(lambda: bool(files(server.uploads)))
    until(lambda: not files(server.uploads))


@pytest.mark.slow
def test_an_upload_that_is_too_large_is_refused_in_a_sentence(server: Server) -> None:
    told = httpx.post(f"{server.url}gradio_api/upload", files={"files": bytes(2_100_000)})
    assert told.status_code == 413 and told.text.startswith("The recording is too large") and "MB" in told.text
    assert files(server.uploads) == []


@pytest.mark.slow
def test_what_is_uploaded_can_be_used(server: Server, recording: Make) -> None:
    call = server.order(server.upload(recording()))
    answer = httpx.get(f"{server.url}gradio_api/call/denoise/{call.json()['event_id']}", timeout=60).text
    assert "event: complete" in answer and "talk.denoised.wav" in answer


# -------------------------------------------------------------------------------------------------------------- floods


@pytest.mark.slow
def test_a_client_has_so_many_orders_and_the_page_opens_all_the_same(server: Server, recording: Make) -> None:
    gate = server.worker.offers.gate = threading.Event()
    there = server.upload(recording())
    answers = [server.order(there) for _ in range(EACH + 3)]
    assert [answer.status_code for answer in answers] == [200] * EACH + [429] * 3
    assert answers[-1].json()["detail"] == ENGLISH["refused.too-many-orders"].format(limit=EACH)
    assert int(answers[-1].headers["Retry-After"]) > 0
    loads = [fn for fn in server.app.blocks.fns.values() if any(name == "load" for _, name in fn.targets) and fn.fn]
    assert loads
    for fn in loads:  # as the browser asks when the page opens
        data = [component.value if hasattr(component, "value") else None for component in fn.inputs]
        body = {"fn_index": fn._id, "data": data, "session_hash": "visitor"}
        told = httpx.post(f"{server.url}gradio_api/run/predict", json=body, timeout=20)
        assert told.status_code == 200 and told.json()["data"], fn.fn
    gate.set()


@pytest.mark.slow
def test_what_computes_nothing_is_no_order(server: Server) -> None:
    named = [
        (fn.queue, getattr(fn.fn, "__qualname__", "")) for fn in server.app.blocks.fns.values()
    ]  # a partial has none
    orders = {name for queued, name in named if queued}
    assert {"CleanTab.on_denoise", "CleanTab.on_measure", "CompareTab.on_compare"} <= orders
    free = {name for queued, name in named if not queued}
    assert {
        "CleanTab.on_load",
        "CleanTab.on_model",
        "ModelsTab.on_load",
        "Source.on_recording",
        "Orders.on_press",
    } <= free
    assert all(line.concurrency_limit is None for line in server.line.event_queue_per_concurrency_id.values())


@pytest.mark.slow
def test_a_call_that_is_abandoned_ends(server: Server, recording: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    began, jobs = threading.Event(), []

    def load(entry: Any) -> Any:
        began.set()
        until(lambda: jobs[0].stopped)

    know = Line.know
    monkeypatch.setattr(Line, "know", lambda self, event, job: (jobs.append(job), know(self, event, job)))
    monkeypatch.setattr(server.worker.offers, "load", load)
    call = server.order(server.upload(recording()))
    url = f"{server.url}gradio_api/call/denoise/{call.json()['event_id']}"
    with httpx.stream("GET", url, timeout=30) as listening:
        assert listening.status_code == 200
        assert began.wait(30)
    until(lambda: jobs[0].stopped)
    until(lambda: not server.line.event_ids_to_events and not files(server.visits))


@pytest.mark.slow
def test_a_call_whose_answer_nobody_fetches_ends(
    server: Server, recording: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[Job] = []
    know = Line.know
    monkeypatch.setattr(Line, "know", lambda self, event, job: (jobs.append(job), know(self, event, job)))
    monkeypatch.setattr(server.worker.offers, "load", lambda entry: until(lambda: jobs[0].stopped))
    server.order(server.upload(recording()))
    until(lambda: bool(jobs))
    for _ in range(2):
        assert not jobs[0].stopped
        asyncio.run_coroutine_threadsafe(server.line.end_unheard(), loop_of(server)).result(10)
    until(lambda: not server.line.event_ids_to_events)
    assert jobs[0].stopped


def loop_of(server: Server) -> Any:
    return next(iter(server.line._asyncio_tasks)).get_loop()


# ------------------------------------------------------------------------------------------------------------- answers


@pytest.mark.slow
def test_no_answer_of_the_api_is_null(server: Server, recording: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise ValueError("/secret/path")

    monkeypatch.setattr(gr.Blocks, "postprocess_data", fail)
    asked = server.order(server.upload(recording())).json()["event_id"]
    for event in (asked, "unknown"):
        told = httpx.get(f"{server.url}gradio_api/call/denoise/{event}", timeout=30).text
        assert told.startswith("event: error\ndata: ") and "null" not in told and "secret" not in told
    for path, body in (("call/nothing", {"data": []}), ("queue/join", {"data": []}), ("run/nothing", {"data": []})):
        refused = httpx.post(f"{server.url}gradio_api/{path}", json=body)
        assert refused.status_code >= 400 and all(refused.json().values()), path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "body", "status", "told"),
    [
        ("call/v2/denoise", {"audio": None, "modle": "live"}, 422, "There is no parameter modle."),
        ("call/v2/denoise", {"audio": None, "\x1b[2J" * 100: 1}, 422, "There is no parameter \\x1b[2J"),
        ("call/v2/denoise", {}, 422, "The parameter audio is missing."),
        ("call/v2/nothing", {"audio": None}, 404, "There is no such address here."),
    ],
)
def test_a_call_that_names_what_is_not_there_is_told(
    path: str, body: dict[str, Any], status: int, told: str, server: Server
) -> None:
    answer = httpx.post(f"{server.url}gradio_api/{path}", json=body)
    assert answer.status_code == status and answer.json()["detail"].startswith(told) and len(answer.text) < 600


# -------------------------------------------------------------------------------------------------------------- visits


@pytest.fixture
def blocks() -> gr.Blocks:
    with gr.Blocks() as made:
        gr.State(
            None, time_to_live=60, delete_callback=lambda value: None if value is None else value.append("deleted")
        )
        for _ in range(50):
            gr.Textbox("x" * 100)
    return made


def key_of(blocks: gr.Blocks, kind: type) -> int:
    return next(key for key, block in blocks.blocks.items() if isinstance(block, kind))


def test_a_visit_has_all_that_gradio_knows_of_one(blocks: gr.Blocks) -> None:
    assert vars(SessionState(blocks)).keys() == vars(Visit(blocks, 60)).keys() - {"_fresh"}


def test_a_visit_keeps_no_configuration(blocks: gr.Blocks) -> None:
    visits = Visits(blocks, 60)
    box = key_of(blocks, gr.Textbox)
    visit = visits["one"]
    visit[box] = gr.Textbox("changed", render=False)
    visit._update_value_in_config(box, "y" * 10_000)
    assert list(visit.components) == [] and visit[box].value == "changed"


def test_what_rests_and_holds_nothing_is_forgotten(blocks: gr.Blocks) -> None:
    visits = Visits(blocks, 60)
    state, box = (
        next(key for key, b in blocks.blocks.items() if isinstance(b, kind)) for kind in (gr.State, gr.Textbox)
    )
    held: list[str] = []
    visits["call"]
    visits["page"][box] = gr.Textbox("changed", render=False)
    visits["closed"][box] = gr.Textbox("changed", render=False)
    visits["closed"].is_closed = True
    visits["with files"][state] = held
    visits["with files"].is_closed = True
    visits.tidy(datetime.now() + timedelta(seconds=REST_SECONDS - 5))
    assert len(visits.session_data) == 4
    visits.tidy(datetime.now() + timedelta(seconds=REST_SECONDS + 5))
    assert set(visits.session_data) == {"page", "with files"} == set(visits.time_last_used)
    assert held == []


def test_what_is_more_than_the_server_keeps_goes_with_its_files(blocks: gr.Blocks) -> None:
    visits = Visits(blocks, 60)
    visits.capacity = 2
    state = key_of(blocks, gr.State)
    held: list[str] = []
    visits["first"][state] = held
    for name in ("second", "third"):
        assert visits[name]
    assert held == ["deleted"] and set(visits.session_data) == {"second", "third"}


# ------------------------------------------------------------------------------------------------- health, token, drain


@pytest.mark.slow
def test_a_page_tells_how_it_does(server: Server, recording: Make) -> None:
    states = [httpx.get(f"{server.url}{path}") for path in ("livez", "healthz", "readyz")]
    assert [(state.status_code, state.text.strip()) for state in states] == [(200, "ok"), (200, "ok"), (200, "ready")]
    assert all(state.headers["X-Content-Type-Options"] == "nosniff" for state in states)
    there = server.upload(recording())
    assert "event: complete" in answer_of(server.url, server.order(there))
    assert counted(server.url, 'denoise_jobs_total{outcome="done"}') == 1
    assert counted(server.url, "denoise_sound_seconds_total") == 2
    assert counted(server.url, "denoise_upload_bytes_total") > 64_000
    assert counted(server.url, "denoise_files_bytes") >= 64_000
    assert counted(server.url, 'denoise_http_requests_total{kind="upload",status="200"}') == 1
    assert counted(server.url, "denoise_ready") == 1
    broken = server.order(server.upload(recording("broken.wav", seconds=0)))
    assert "event: error" in answer_of(server.url, broken)


@pytest.mark.slow
def test_who_waits_and_who_was_refused_is_counted(server: Server, recording: Make) -> None:
    gate = server.worker.offers.gate = threading.Event()
    there = server.upload(recording())
    for _ in range(EACH + 2):
        server.order(there)
    until(lambda: counted(server.url, "denoise_queue_waiting") == EACH - 1)
    assert counted(server.url, "denoise_queue_running") == 1 == counted(server.url, "denoise_queue_places")
    assert counted(server.url, "denoise_orders") == EACH
    assert counted(server.url, "denoise_queue_sound_seconds") == 2 * EACH
    assert counted(server.url, 'denoise_refusals_total{reason="too-many-orders"}') == 2
    gate.set()
    until(lambda: counted(server.url, "denoise_orders") == 0)
    assert counted(server.url, "denoise_queue_sound_seconds") == 0


@pytest.mark.slow
def test_whoever_has_all_minutes_under_way_is_told_when_to_come_again(server: Server, recording: Make) -> None:
    there = server.upload(recording())
    with server.worker.quota.taken("127.0.0.1", 60 * server.worker.quota.minutes):
        refused = server.order(there)
    assert refused.status_code == 429 and int(refused.headers["Retry-After"]) > 0
    assert refused.json()["detail"] == ENGLISH["refused.too-much-sound"]
    assert server.order(there).status_code == 200


@pytest.mark.slow
def test_a_server_that_ends_is_not_ready_ends_what_runs_and_tells_who_waits(server: Server, recording: Make) -> None:
    gate = server.worker.offers.gate = threading.Event()
    there = server.upload(recording())
    running = server.order(there)
    until(lambda: counted(server.url, "denoise_queue_running") == 1)  # orders of one moment may change places
    waiting = server.order(there)
    until(lambda: counted(server.url, "denoise_queue_waiting") == 1)
    draining = threading.Thread(target=server.worker.drain, args=(30,))
    draining.start()
    until(lambda: httpx.get(f"{server.url}readyz").status_code == 503)
    assert httpx.get(f"{server.url}readyz").text == "draining\n" and httpx.get(f"{server.url}livez").status_code == 200
    assert ENGLISH["error.closing"] in answer_of(server.url, waiting)
    refused = server.order(there)
    assert refused.status_code == 503 and int(refused.headers["Retry-After"]) > 0
    assert draining.is_alive()
    gate.set()
    assert "event: complete" in answer_of(server.url, running)
    draining.join(30)
    assert not draining.is_alive()


@pytest.mark.slow
def test_programs_need_the_token_where_there_is_one_and_the_page_does_not(
    tmp_path: Path, make_worker: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, recording: Make
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    monkeypatch.setenv("DENOISE_API_TOKEN", "s3cret")
    server = Server(tmp_path, make_worker())
    url, known = server.url, {"Authorization": "Bearer s3cret"}
    try:
        there = server.upload(recording())
        file = {"path": there, "meta": {"_type": "gradio.FileData"}}
        body = {"data": [file, "", "", 100, 60, "follow", 0, -1, "each", "", 0, 0]}
        (index,) = [key for key, fn in server.app.blocks.fns.items() if fn.api_name == "denoise"]
        joined = body | {"fn_index": index, "session_hash": "x"}
        for path, sent in (("call/denoise", body), ("queue/join", joined), ("call/v2/denoise", {"audio": file})):
            told = httpx.post(f"{url}gradio_api/{path}", json=sent)
            assert told.status_code == 401 and told.headers["WWW-Authenticate"] == "Bearer", path
            assert told.json()["detail"] == ENGLISH["refused.token"]
            wrong = httpx.post(f"{url}gradio_api/{path}", json=sent, headers={"Authorization": "Bearer other"})
            assert wrong.status_code == 401
        for path in ("run/denoise", "api/denoise", "run/predict"):  # not offered to anybody
            for forged in (joined, joined | {"event_id": "0" * 32}):
                told = httpx.post(f"{url}gradio_api/{path}", json=forged, headers=known)
                assert told.status_code >= 400 and ENGLISH["error.direct-call"] in told.text, path
        assert server.worker.offers.loaded == []
        call = httpx.post(f"{url}gradio_api/call/denoise", json=body, headers=known)
        assert call.status_code == 200 and "event: complete" in answer_of(url, call)
        assert httpx.get(f"{url}metrics").status_code == 401
        assert httpx.get(f"{url}metrics", headers=known).status_code == 200
        press = [fn for fn in server.app.blocks.fns.values() if "on_measure" in getattr(fn.fn, "__qualname__", "")]
        joined = {"data": [None] * len(press[0].inputs), "fn_index": press[0]._id, "session_hash": "visitor"}
        assert httpx.post(f"{url}gradio_api/queue/join", json=joined).status_code == 200
    finally:
        server.app.blocks.close()


@pytest.mark.slow
def test_under_load_and_trouble_everybody_gets_their_own(server: Server) -> None:
    plan = Plan(users=4, seconds=3.0, clip_seconds=0.5, models=("half", "wiener"), rest=0.0, trouble=True)
    found = run(server.url, plan)
    assert found["exact"] >= plan.users and found["wrong"] == 0 and not found["failed"] and not found["unclear"]
    refused = {told for told in found["trouble"] if told.startswith("too large: ")}
    assert refused and refused <= {f"too large: {how}" for how in ("413", "URLError", "ConnectionResetError")}
    assert found["trouble"]["opened and left: 200"] > 0 and found["trouble"]["flood: some taken"] == 1


# ------------------------------------------------------------------------------------------------------------- privacy


def left(place: Path) -> list[Path]:
    """All files in a place, and folders of ours; Gradio makes an empty one for something else when it is imported."""
    return [*files(place), *place.glob("denoise-app-*")]


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_ended_leaves_nothing(
    tmp_path: Path, recording: Make, end: signal.Signals, request: pytest.FixtureRequest
) -> None:
    if end == signal.SIGINT:  # the other is a fresh one
        request.getfixturevalue("warm")
    place = tmp_path / "place"
    running, url = started(place)
    with recording().open("rb") as file:
        (there,) = httpx.post(f"{url}gradio_api/upload", files={"files": file}).json()
    call = order(url, there)
    answer = httpx.get(f"{url}gradio_api/call/denoise/{call.json()['event_id']}", timeout=60).text
    assert "event: complete" in answer and files(place)
    running.send_signal(end)
    assert running.wait(60) == 0
    assert left(place) == []


@pytest.mark.usefixtures("warm")
@pytest.mark.slow
@pytest.mark.parametrize(("end", "reason"), [(signal.SIGTERM, "closing"), (signal.SIGINT, None)])
def test_who_talks_live_is_told_of_sigterm_and_delays_no_end(tmp_path: Path, end: signal.Signals, reason: str) -> None:
    running, url = started(tmp_path, LIVE)
    hello = {"model": "wiener", "loss": None, "strength": 100, "rate": 16_000}
    hello["token"] = httpx.post(f"{url}live/token").json()["token"]
    with connect(url.replace("http", "ws") + "live/sound") as talker:
        talker.send(json.dumps(hello))
        assert json.loads(talker.recv(timeout=60))["type"] == "ready"
        assert counted(url, "denoise_live_sessions") == 1
        running.send_signal(end)
        told: list[str | bytes] = []
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                told.append(talker.recv(timeout=60))
    last = json.loads(told[-1]) if told else {}
    assert last.get("reason") == reason
    assert closed.value.rcvd is not None and closed.value.rcvd.code == (1008 if reason else 1012)
    assert running.wait(20) == 0


@pytest.mark.usefixtures("warm")
@pytest.mark.slow
def test_a_killed_server_is_swept_by_the_next_and_two_leave_each_other_alone(tmp_path: Path, recording: Make) -> None:
    place = tmp_path / "place"
    path = recording()
    first, url = started(place)
    with path.open("rb") as file:
        (there,) = httpx.post(f"{url}gradio_api/upload", files={"files": file}).json()
    second, url = started(place)
    with path.open("rb") as file:
        (other,) = httpx.post(f"{url}gradio_api/upload", files={"files": file}).json()
    assert Path(there).is_file() and Path(other).is_file() and there != other
    second.terminate()
    second.wait(60)
    assert Path(there).is_file() and not Path(other).exists()
    first.kill()
    first.wait()
    assert Path(there).is_file()
    third, _ = started(place)
    assert not Path(there).exists()
    third.terminate()
    third.wait(60)
    assert left(place) == []


class Unseeing:
    """A look at a port that finds each one free, as the one that another program takes a moment later."""

    SOL_SOCKET = SO_REUSEADDR = 0

    def socket(self) -> Unseeing:
        return self

    def setsockopt(self, *option: Any) -> None: ...
    def bind(self, address: Any) -> None: ...
    def close(self) -> None: ...


@pytest.mark.slow
def test_where_another_was_quicker_the_next_port_serves(
    tmp_path: Path, make_worker: Callable[[], Any], recording: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    monkeypatch.setattr(http_server, "socket", Unseeing())
    with socket.create_server(("127.0.0.1", 0)) as quicker:
        taken = quicker.getsockname()[1]
        monkeypatch.setattr(http_server, "INITIAL_PORT_VALUE", taken)
        server = Server(tmp_path, make_worker())
    try:
        assert httpx.URL(server.url).port != taken
        there = server.upload(recording())
        assert server.order(there).status_code == 200
        told = httpx.get(f"{server.url}metrics").text
        assert told.count("# HELP denoise_orders ") == told.count("# HELP denoise_visits ") == 1
        uploaded = re.search(r"^denoise_upload_bytes_total (\S+)", told, re.MULTILINE)
        assert uploaded and float(uploaded[1]) < 2 * Path(there).stat().st_size  # nobody counts twice
    finally:
        server.app.blocks.close()


@pytest.mark.usefixtures("warm")
@pytest.mark.slow
def test_a_page_that_has_settled_is_not_looked_through_again() -> None:
    """Each look at all of it stops every thread for a fifth of a second."""
    code = "import gc; from denoise_app.ui import app, service; built = app.build(); service.settle(); {count}"
    count = "print(sum(len(gc.get_objects(k)) for k in range(3)))"
    done = subprocess.run([sys.executable, "-c", code.format(count=count)], capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) < 1000
