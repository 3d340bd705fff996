"""The check of a Space sees what is wrong with one: against small servers that do it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile

from denoise_app.scale import rehearsal
from denoise_app.scale.rehearsal import CLIP, Stage, check, noise_db, rehearsed
from tests.ui.served import free_port

ROOT = Path(__file__).resolve().parents[2]
RATE = 16_000

SERVER = """
import io, json, os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FAULT = {fault!r}
held = {{}}

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/readyz":
            return self.answer(b"ready\\n")
        if self.path.startswith("/gradio_api/call/denoise/"):
            return self.answer(b'event: complete\\ndata: [{{"path": "out"}}]\\n\\n')
        if self.path == "/gradio_api/file=out":
            return self.answer(made(held["upload"]))
        self.answer(b"an error" if FAULT == "page" else b"gradio")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/upload"):
            held["upload"] = body.partition(b"\\r\\n\\r\\n")[2].rpartition(b"\\r\\n--")[0]
            return self.answer(b'["there"]')
        self.answer(b'{{"event_id": "one"}}')

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass

def made(data):
    import soundfile
    samples, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    out = io.BytesIO()
    kept = samples[:-1] if FAULT == "length" else samples
    soundfile.write(out, kept * (1 if FAULT == "noise" else 0.1), 8000 if FAULT == "rate" else rate, format="FLAC")
    return out.getvalue()

if FAULT == "start":
    sys.exit("something is missing here")
if FAULT == "SIGTERM":
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
told = dict(os.environ) | {{"uid": os.getuid(), "home": os.listdir(os.environ["HOME"])}}
open("told.json", "w").write(json.dumps(told))
ThreadingHTTPServer(("0.0.0.0", int(os.environ["GRADIO_SERVER_PORT"])), Handler).serve_forever()
"""


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def space(tmp_path: Path) -> Path:
    """A Space in whose place a small server stands; `faulty` makes one do what it should not."""
    return faulty(tmp_path, "")


def faulty(place: Path, fault: str) -> Path:
    folder = place / "space"
    (folder / "examples").mkdir(parents=True, exist_ok=True)
    (folder / "app.py").write_text(SERVER.format(fault=fault))
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE)
    soundfile.write(folder / CLIP, noise, RATE)
    return folder


def failures(place: Path, fault: str, port: int) -> list[str]:
    return [one.text for one in check(faulty(place, fault), port, patience=30) if not one.passed]


@pytest.mark.slow
def test_a_good_one_passes_twice(space: Path, port: int) -> None:
    told: list[object] = []
    found = check(space, port, on_finding=told.append)
    assert found == told and [one for one in found if not one.passed] == []
    texts = [one.text for one in found]
    assert len(texts) == 16 and texts[0].startswith("server-side rendering off: ready after")
    assert texts[8].startswith("server-side rendering on: ready after")
    assert f"{RATE} of {RATE} samples, at {RATE} Hz" in texts and "noise 20 dB quieter between the words" in texts
    assert not (space / "told.json").exists()  # a copy is started


@pytest.mark.usefixtures("warm")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("page", "the page: 200, 8 bytes"),
        ("length", f"{RATE - 1} of {RATE} samples, at {RATE} Hz"),
        ("rate", f"{RATE} of {RATE} samples, at 8000 Hz"),
        ("noise", "noise 0 dB quieter between the words"),
    ],
)
def test_what_is_wrong_is_seen_both_times(tmp_path: Path, port: int, fault: str, said: str) -> None:
    assert failures(tmp_path, fault, port) == [said, said]


@pytest.mark.usefixtures("warm")
@pytest.mark.slow
def test_one_that_does_not_start_is_told_with_its_last_words(tmp_path: Path, port: int) -> None:
    first, second = failures(tmp_path, "start", port)
    assert first == second == "the server ended with 1 before it was ready\n  something is missing here"


@pytest.mark.slow
def test_one_that_does_not_end_is_told_and_killed(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys\nfrom denoise_app.scale import rehearsal\nrehearsal.END_SECONDS = 0.5\nrehearsal.main()"
    (tmp_path / "home").mkdir()
    stage = Stage(str(faulty(tmp_path, "SIGTERM")), str(tmp_path / "home"), port, alone=False)
    command = [sys.executable, "-c", code, json.dumps(stage.__dict__)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    last = json.loads(done.stdout.splitlines()[-1])
    assert last == {"passed": False, "text": "it has not ended 0.5 s after SIGTERM"}
    assert not listens(port)


@pytest.mark.slow
def test_the_server_goes_with_whoever_stops_listening(tmp_path: Path, port: int) -> None:
    (tmp_path / "home").mkdir()
    stage = Stage(str(faulty(tmp_path, "SIGTERM")), str(tmp_path / "home"), port, alone=False)
    findings = rehearsed(stage)
    assert next(findings).passed and listens(port)
    findings.close()
    until_gone(port)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux ends a process with its parent")
def test_the_server_goes_with_whoever_is_killed(tmp_path: Path, port: int) -> None:
    (tmp_path / "home").mkdir()
    stage = Stage(str(faulty(tmp_path, "SIGTERM")), str(tmp_path / "home"), port, alone=False)
    command = [sys.executable, "-m", "denoise_app.scale.rehearsal", json.dumps(stage.__dict__)]
    acting = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert acting.stdout is not None
    assert "ready after" in acting.stdout.readline()
    acting.kill()
    acting.wait()
    acting.stdout.close()
    until_gone(port)


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def until_gone(port: int) -> None:
    for _ in range(100):
        if not listens(port):
            return
        time.sleep(0.1)
    raise AssertionError("the server is still there")


@pytest.mark.usefixtures("warm")
@pytest.mark.slow
def test_it_is_told_what_a_host_tells_and_no_more(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DENOISE_WEIGHTS", "elsewhere")
    monkeypatch.setenv("HF_TOKEN", "a secret")
    space, home = faulty(tmp_path, ""), tmp_path / "home"
    home.mkdir()
    assert all(one.passed for one in rehearsed(Stage(str(space), str(home), port, ssr=True, alone=False)))
    told = json.loads((space / "told.json").read_text())
    assert (told["SPACE_ID"], told["GRADIO_SERVER_NAME"]) == ("somebody/denoise-app", "0.0.0.0")
    assert (told["HF_HUB_OFFLINE"], told["GRADIO_SSR_MODE"], told["HOME"]) == ("1", "true", str(home))
    assert told["home"] == [] and told["uid"] == os.getuid()
    assert "DENOISE_WEIGHTS" not in told and "HF_TOKEN" not in told


@pytest.mark.slow
def test_root_starts_it_as_another_user_in_a_copy_that_is_its_own(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can start a program as another user")
    texts = [one.text for one in check(faulty(tmp_path, ""), port)]
    assert texts.count("run by uid 1000") == 2


@pytest.mark.usefixtures("warm")
@pytest.mark.slow
def test_a_network_that_cannot_be_left_is_told(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").mkdir()
    stage = Stage(str(faulty(tmp_path, "")), str(tmp_path / "home"), port)
    lines = rehearsal._lines
    monkeypatch.setattr(rehearsal, "_lines", lambda stage: iter(["null\n"]) if stage.alone else lines(stage))
    texts = [one.text for one in rehearsed(stage)]
    assert "with this machine's network, which a process may not leave here" in texts


def test_a_check_that_is_killed_has_not_passed(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert [(one.passed, one.text) for one in rehearsed(Stage("", "", port))] == [(False, "the check broke off (1)")]


def test_the_noise_is_what_is_heard_between_words() -> None:
    words = np.tile(np.repeat([0.5, 0.01], RATE // 2), 4)
    assert noise_db(words[None], RATE) == pytest.approx(-40, abs=0.1)
    assert noise_db(np.zeros((2, RATE)), RATE) == -np.inf
