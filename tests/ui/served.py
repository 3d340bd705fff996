"""Pages that are served: in processes of their own, and what tests ask of them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx


def until(holds: Callable[[], bool], seconds: float = 30) -> None:
    """Waits for the server, which works in other threads."""
    for _ in range(int(seconds / 0.01)):
        if holds():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never came to that")


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def order(url: str, path: str) -> httpx.Response:
    """Begins a call of the API."""
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    data = [file, "", "", 100, 60, "follow", 0, -1, "each", "", 0, 0]
    return httpx.post(f"{url}gradio_api/call/denoise", json={"data": data})


def answer_of(url: str, call: httpx.Response) -> str:
    return httpx.get(f"{url}gradio_api/call/denoise/{call.json()['event_id']}", timeout=60).text


def counted(url: str, sample: str) -> float:
    """The value of a sample of /metrics, by its name and labels; 0 where there is none yet."""
    lines = httpx.get(f"{url}metrics", timeout=20).text.splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(f"{sample} ")), 0.0)


PAGE = """
import sys
sys.path.insert(0, "tests/ui")
import conftest
from denoise_app.ui import app
app.Worker = conftest.FakeWorker
conftest.FakeWorker.warm_up = lambda self: None
app.serve()
"""
LIVE = """
from denoise_app.classical.wiener import Wiener
import sys
sys.path.insert(0, "tests/ui")
import conftest
conftest.FakeOffers.load = lambda self, entry: Wiener()
"""


def free_port() -> int:
    """One that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def started(place: Path, before: str = "") -> tuple[subprocess.Popen[bytes], str]:
    """A page in a process of its own, which runs other code before, and its address."""
    port = free_port()
    environment = os.environ | {"GRADIO_TEMP_DIR": str(place), "GRADIO_SERVER_PORT": str(port), "GRADIO_NUM_PORTS": "1"}
    running = subprocess.Popen([sys.executable, "-c", before + PAGE], env=environment, cwd=Path(__file__).parents[2])
    url = f"http://127.0.0.1:{port}/"
    for _ in range(600):
        try:
            httpx.get(url, timeout=5)
            return running, url
        except httpx.TransportError:
            assert running.poll() is None
            time.sleep(0.1)
    raise AssertionError("it never started")
