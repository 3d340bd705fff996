"""A hostile day in short, against a running page: visits, calls, uploads that break off, floods, long and short work.

    python tests/serve/soak.py http://127.0.0.1:7860 --minutes 30 --pid 4711

Prints every half minute, and at the end as JSON: memory of the server (MiB), files below its temporary folder, answers
by kind, and how long 6 s recordings took while long ones were under way. A minute of rest comes last.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import tempfile
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import soundfile

SHORT, LONG = 6.0, 300.0  # s


class Soak:
    """What is done to a page, and what it answered.

    Args:
        url: Of the page.
        pid: Of its process, to read its memory; None where it runs elsewhere.
        folder: Its temporary folder, to count what it keeps; None where it runs elsewhere.
    """

    def __init__(self, url: str, pid: int | None, folder: Path | None) -> None:
        self.url, self.pid, self.folder = url.rstrip("/") + "/", pid, folder
        self.told: Counter[str] = Counter()
        self.waits: list[float] = []
        self.client = httpx.Client(timeout=600, limits=httpx.Limits(max_connections=100))
        self.work = Path(tempfile.mkdtemp(prefix="soak-"))
        self.sounds = {seconds: self._sound(seconds) for seconds in (SHORT, LONG)}

    def _sound(self, seconds: float) -> Path:
        path = self.work / f"{seconds:g}.wav"
        soundfile.write(path, np.random.default_rng(0).normal(0, 0.05, int(seconds * 16_000)), 16_000)
        return path

    def visit(self) -> None:
        """Opens the page as a browser does, and leaves after a while."""
        visitor = uuid.uuid4().hex
        config = self.client.get(f"{self.url}config").json()
        shown = {one["id"]: one["props"].get("value") for one in config["components"]}
        address = f"{self.url}gradio_api/heartbeat/{visitor}"
        with self.client.stream("GET", address) as heart:
            next(heart.iter_bytes())
            for one in config["dependencies"]:
                if any(event == "load" for _, event in one["targets"]) and one["backend_fn"]:
                    body = {"fn_index": one["id"], "data": [shown[key] for key in one["inputs"]]}
                    body["session_hash"] = visitor
                    self._tell("visit", self.client.post(f"{self.url}gradio_api/run/predict", json=body))

    def call(self, seconds: float = SHORT, abandon: bool = False) -> None:
        """Uploads a recording and has it denoised."""
        began = time.monotonic()
        with self.sounds[seconds].open("rb") as file:
            upload = self.client.post(f"{self.url}gradio_api/upload", files={"files": file})
        self._tell("upload", upload)
        if upload.status_code != 200:
            return
        recording = {"path": upload.json()[0], "meta": {"_type": "gradio.FileData"}}
        data = [recording, "", "", 100, 60, "follow", 0, -1, "each", "", 0, 0]
        order = self.client.post(f"{self.url}gradio_api/call/denoise", json={"data": data})
        self._tell("order", order)
        if order.status_code != 200 or abandon:
            return
        answer = self.client.get(f"{self.url}gradio_api/call/denoise/{order.json()['event_id']}").text
        self.told["answer done" if "event: complete" in answer else "answer error"] += 1
        self.told["answer null"] += "event: error\ndata: null" in answer
        if seconds == SHORT:
            self.waits.append(time.monotonic() - began)

    def break_off(self) -> None:
        """Begins an upload and goes."""
        url = httpx.URL(self.url)
        head = (
            "POST /gradio_api/upload HTTP/1.1\r\nHost: soak\r\nContent-Length: 50000000\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
            '--b\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
        )
        with socket.create_connection((url.host, url.port or 80)) as client:
            client.sendall(head.encode() + bytes(random.randrange(3_000_000)))
        self.told["upload broken off"] += 1

    def flood(self) -> None:
        """Far more orders at once than a client may have."""
        with ThreadPoolExecutor(16) as pool:
            for _ in range(70):
                pool.submit(self.call, SHORT, abandon=True)

    def huge(self) -> None:
        """A body that nobody should read."""
        try:
            self._tell("huge", self.client.post(f"{self.url}gradio_api/queue/join", content=bytes(20_000_000)))
        except httpx.TransportError:  # refused while it was being sent
            self.told["huge cut off"] += 1

    def _tell(self, what: str, answer: httpx.Response) -> None:
        self.told[f"{what} {answer.status_code}"] += 1

    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = dict(sorted(self.told.items()))
        if self.waits:
            found["short_s"] = {"median": round(float(np.median(self.waits)), 1), "worst": round(max(self.waits), 1)}
        if self.pid:
            status = Path(f"/proc/{self.pid}/status").read_text()
            found["memory_mib"] = int(status.split("VmRSS:")[1].split()[0]) // 1024
        if self.folder:
            found["files"] = sum(path.is_file() for path in self.folder.rglob("*"))
        return found


def run(soak: Soak, seconds: float, rest: float) -> dict[str, Any]:
    """Does everything in turns for so long, then rests; returns the figures before, after, and after the rest."""
    start, end = soak.facts(), time.monotonic() + seconds
    printed = 0.0
    with ThreadPoolExecutor(8) as pool:
        long = threading.Thread(target=soak.call, args=(LONG,), daemon=True)
        long.start()
        while time.monotonic() < end:
            deeds = [soak.visit, soak.visit, soak.call, soak.break_off, soak.huge]
            if random.random() < 0.05:
                deeds.append(soak.flood)
            for done in [pool.submit(deed) for deed in deeds]:
                try:
                    done.result()
                except httpx.HTTPError as error:
                    soak.told[type(error).__name__] += 1
            if not long.is_alive():
                long = threading.Thread(target=soak.call, args=(LONG,), daemon=True)
                long.start()
            if time.monotonic() - printed > 30:
                printed = time.monotonic()
                print(json.dumps(soak.facts()), flush=True)
        long.join()
    after = soak.facts()
    time.sleep(rest)
    return {"start": start, "after": after, "rested": soak.facts()}


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("url")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--rest", type=float, default=75.0, help="seconds without anything at the end")
    parser.add_argument("--pid", type=int, help="the server's process, where it runs on this machine")
    parser.add_argument("--folder", type=Path, help="the server's temporary folder, where it runs on this machine")
    given = parser.parse_args()
    print(json.dumps(run(Soak(given.url, given.pid, given.folder), 60 * given.minutes, given.rest), indent=1))


if __name__ == "__main__":
    main()
