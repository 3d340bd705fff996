"""A load test of a running page: many users at once, each with a clip and a model of its own.

First each clip is denoised alone; under load every answer must be the same file to the byte. Clips differ, so an answer
that was meant for another user is seen. Users have addresses of their own (X-Forwarded-For, which a page believes of
its own machine), so that limits of one visitor are not those of all. What the page holds comes from its /metrics.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import secrets
import socket
import threading
import time
import wave
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from ipaddress import ip_address
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import numpy as np

RATE = 16_000  # Hz
LONGEST_PAUSE = 10.0  # s that a user waits before it asks again, whatever Retry-After says
MEMORY_MIB = 150  # by which a page may hold more after a load and a rest than before
BOUNDARY = "denoise-app-load-test"
LONG_SECONDS = 300.0  # of the recording that is under way meanwhile, where trouble is wanted


@dataclass(frozen=True)
class Plan:
    """What is done to a page.

    Attributes:
        users: At once.
        seconds: How long they go on.
        clip_seconds: Of each user's clip.
        models: Names, taken in turns.
        rest: Seconds without anything before memory is looked at again.
        trouble: Whether others break off uploads, send bodies that are too large, flood it, open pages and go, and
            keep it busy with a long recording.
        token: What the page asks of programs; "" for nothing.
    """

    users: int = 50
    seconds: float = 300.0
    clip_seconds: float = 5.0
    models: tuple[str, ...] = ("best", "fast", "live")
    rest: float = 100.0
    trouble: bool = False
    token: str = ""


@dataclass
class Tally:
    """What came back.

    Attributes:
        seconds: From order to answer, of each exact answer.
        wrong: Answers that were not the user's own samples.
        failed: Errors, by what they said.
        refused: Refusals, by status.
        unclear: Refusals without a sentence, or without the time after which to come again.
        trouble: What was done beside the users' work, and how it was answered.
    """

    seconds: list[float] = field(default_factory=list)
    wrong: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)
    unclear: Counter[str] = field(default_factory=Counter)
    trouble: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Answer:
    """What a page answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def sentence(self) -> str:
        """The words of a refusal; "" where there are none."""
        try:
            answer = json.loads(self.body)
        except ValueError:
            return self.body.decode(errors="replace").strip()
        said = answer.get("detail") if isinstance(answer, dict) else None
        return said if isinstance(said, str) else ""

    @property
    def retry_after(self) -> float | None:
        """Seconds after which to come again."""
        text = self.headers.get("retry-after", "")
        return float(text) if text.isdecimal() else None


class Refused(Exception):
    """The page took no order, or no upload."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.sentence)
        self.answer = answer


class Failed(Exception):
    """The page took an order and could not carry it out."""


class NotReady(Exception):
    """No page of this program takes work at an address; the message says why."""


class Visitor:
    """One who asks a page, from an address of its own.

    Args:
        url: Of the page.
        address: What a page on the same machine takes for this visitor's address.
        token: See `Plan`.
    """

    def __init__(self, url: str, address: str, token: str = "") -> None:
        self.url = url.rstrip("/") + "/"
        self._headers = {"X-Forwarded-For": address} | ({"Authorization": f"Bearer {token}"} if token else {})

    def ask(self, path: str, body: bytes | None = None, kind: str = "application/json") -> Answer:
        """The answer of an address, whatever its status; OSError where nobody answers."""
        headers = self._headers | ({} if body is None else {"Content-Type": kind})
        try:
            with urlopen(Request(self.url + path, body, headers), timeout=600) as answer:
                return Answer(answer.status, _lower(answer.headers), answer.read())
        except HTTPError as error:
            with error:
                return Answer(error.code, _lower(error.headers), error.read())
        except HTTPException as error:
            raise ConnectionError(str(error)) from error

    def upload(self, recording: bytes) -> str:
        """Sends a wav file; returns its path on the server. Raises Refused."""
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="clip.wav"\r\n\r\n'
        form = head.encode() + recording + f"\r\n--{BOUNDARY}--\r\n".encode()
        answer = self.ask("gradio_api/upload", form, f"multipart/form-data; boundary={BOUNDARY}")
        if answer.status != 200:
            raise Refused(answer)
        return str(json.loads(answer.body)[0])

    def order(self, path: str, model: str) -> str:
        """Asks for an uploaded recording to be denoised; returns the name of the order. Raises Refused."""
        recording = {"path": path, "meta": {"_type": "gradio.FileData"}}
        answer = self.ask("gradio_api/call/v2/denoise", json.dumps({"audio": recording, "model": model}).encode())
        if answer.status != 200:
            raise Refused(answer)
        return str(json.loads(answer.body)["event_id"])

    def denoised(self, path: str, model: str) -> bytes:
        """The denoised file. Raises Refused and Failed."""
        news = self.ask(f"gradio_api/call/denoise/{self.order(path, model)}").body.decode()
        event, _, data = news.strip().rpartition("event: ")[2].partition("\ndata: ")
        if event != "complete":
            raise Failed(f"{event}: {data[:200]}")
        file = self.ask(f"gradio_api/file={json.loads(data)[0]['path']}")
        if file.status != 200:
            raise Failed(f"the result is not there: {file.status}")
        return file.body


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def is_local(url: str) -> bool:
    """Whether a page is served by this machine.

    >>> [is_local(url) for url in ("http://127.0.0.1:7860", "http://localhost/", "http://[::1]:80", "http://10.0.0.1")]
    [True, True, True, False]
    """
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def clip(seconds: float, seed: int) -> bytes:
    """A wav file, 16 bits: a tone that swells and fades in noise, another one for each seed."""
    rng, t = np.random.default_rng(seed), np.arange(round(seconds * RATE)) / RATE
    tone = 0.2 * np.sin(2 * np.pi * rng.uniform(100, 300) * t) * (1 + np.sin(2 * np.pi * rng.uniform(1, 4) * t))
    samples = np.clip(tone + 0.05 * rng.standard_normal(t.size), -1, 1)
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(RATE)
        writer.writeframes((32767 * samples).astype("<i2").tobytes())
    return file.getvalue()


def _check_ready(watcher: Visitor) -> None:
    try:
        answer = watcher.ask("readyz")
    except OSError as error:
        raise NotReady(f"{watcher.url} does not answer: {getattr(error, 'reason', error)}") from error
    word = answer.body.strip()
    if (answer.status, word) in ((503, b"loading"), (503, b"draining")):
        raise NotReady(f"{watcher.url} takes no work now: it is {word.decode()}")
    if (answer.status, word) != (200, b"ready"):
        raise NotReady(f"{watcher.url} is no page of this program: /readyz there answers {answer.status}")


def run(url: str, plan: Plan, say: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Does what is planned; returns the figures and what is wrong, under "problems".

    Args:
        say: Given a line now and then.

    Raises:
        NotReady: Nobody answers at this address, or not a page of this program, or one that takes no work now.
        Refused, Failed: A clip cannot be denoised even alone.
    """
    watcher = Visitor(url, "11.1.0.0", plan.token)
    _check_ready(watcher)
    before = _held(watcher)
    visitors = [Visitor(url, f"11.0.{number // 250}.{number % 250 + 1}", plan.token) for number in range(plan.users)]
    models = [plan.models[number % len(plan.models)] for number in range(plan.users)]
    paths, wanted = [], []
    for number, (visitor, model) in enumerate(zip(visitors, models, strict=True)):
        paths.append(visitor.upload(clip(plan.clip_seconds, number)))
        wanted.append(hashlib.sha256(visitor.denoised(paths[-1], model)).hexdigest())
        say(f"alone: {number + 1} of {plan.users}")
    if len(set(wanted)) < len(wanted):
        raise Failed("two clips became the same file, so nobody could tell whose is whose")
    tally, lock, until = Tally(), threading.Lock(), time.monotonic() + plan.seconds
    deeds = [
        threading.Thread(target=_use, args=(visitor, path, model, digest, tally, lock, until), daemon=True)
        for visitor, path, model, digest in zip(visitors, paths, models, wanted, strict=True)
    ]
    if plan.trouble:
        deeds += [threading.Thread(target=_trouble, args=(url, plan, tally, lock, until), daemon=True)]
    for deed in deeds:
        deed.start()
    while any(deed.is_alive() for deed in deeds):
        time.sleep(min(10.0, max(0.5, plan.seconds / 10)))
        say(f"under load: {len(tally.seconds)} exact, {sum(tally.refused.values())} refused, {tally.wrong} wrong")
    after = _held(watcher)
    say(f"resting for {plan.rest:g} s")
    time.sleep(plan.rest)
    return _figures(plan, tally, {"before": before, "after": after, "rested": _held(watcher)})


def _use(
    visitor: Visitor, path: str, model: str, wanted: str, tally: Tally, lock: threading.Lock, until: float
) -> None:
    """One user: asks for the same again and again, and looks at what comes."""
    while time.monotonic() < until:
        began, pause = time.monotonic(), 0.0
        try:
            found = hashlib.sha256(visitor.denoised(path, model)).hexdigest()
            with lock:
                if found == wanted:
                    tally.seconds.append(time.monotonic() - began)
                else:
                    tally.wrong += 1
        except Refused as refused:
            pause = _refused(refused.answer, tally, lock)
        except (Failed, OSError, ValueError) as error:
            pause = 1.0
            with lock:
                tally.failed[str(error)[:200]] += 1
        time.sleep(max(0.0, min(pause, LONGEST_PAUSE, until - time.monotonic())))


def _refused(answer: Answer, tally: Tally, lock: threading.Lock) -> float:
    """Notes a refusal; returns for how long to wait."""
    with lock:
        tally.refused[answer.status] += 1
        if not answer.sentence:
            tally.unclear[f"{answer.status} without a sentence"] += 1
        if answer.status in (429, 503) and answer.retry_after is None:
            tally.unclear[f"{answer.status} without Retry-After"] += 1
    return answer.retry_after or 1.0


# ------------------------------------------------------------------------------------------------------------- trouble


def _trouble(url: str, plan: Plan, tally: Tally, lock: threading.Lock, until: float) -> None:
    """What a page on the net has to bear beside its users, again and again."""
    mischief = Visitor(url, "11.2.0.1", plan.token)
    busy = threading.Thread(target=_keep_busy, args=(Visitor(url, "11.2.0.2", plan.token), plan, until), daemon=True)
    busy.start()
    upload, rounds = clip(plan.clip_seconds, 0), 0
    while time.monotonic() < until:
        deeds: dict[str, Callable[[], object]] = {
            "opened and left": lambda: open_and_leave(mischief),
            "broken off": lambda: break_off(url),
            "too large": lambda: mischief.ask("gradio_api/queue/join", bytes(20_000_000)).status,
        }
        if rounds % 20 == 0:
            deeds["flood"] = lambda: flood(mischief, upload, plan.models[0])
        for name, deed in deeds.items():
            try:
                outcome = f"{name}: {deed()}"
            except (OSError, Refused, ValueError) as error:  # cut off while it was sent, or told to stay away
                outcome = f"{name}: {type(error).__name__}"
            with lock:
                tally.trouble[outcome] += 1
        rounds += 1
        time.sleep(0.5)
    busy.join(600)


def _keep_busy(visitor: Visitor, plan: Plan, until: float) -> None:
    recording = clip(LONG_SECONDS, 1)
    while time.monotonic() < until:
        try:
            visitor.denoised(visitor.upload(recording), plan.models[0])
        except (OSError, Refused, Failed):
            time.sleep(1.0)


def break_off(url: str) -> str:
    """Begins an upload and goes."""
    parts = urlsplit(url)
    head = (
        f"POST {parts.path.rstrip('/')}/gradio_api/upload HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        "Content-Length: 50000000\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
    )
    with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=30) as client:
        client.sendall(head.encode() + bytes(random.randrange(3_000_000)))
    return "gone"


def open_and_leave(visitor: Visitor) -> int:
    """Opens the page as a browser does, with what it asks for at once; returns the worst status."""
    name = secrets.token_hex(8)
    config = json.loads(visitor.ask("config").body)
    shown = {one["id"]: one["props"].get("value") for one in config["components"]}
    worst = 200
    for one in config["dependencies"]:
        if one["backend_fn"] and any(event == "load" for _, event in one["targets"]):
            body = {"fn_index": one["id"], "data": [shown[key] for key in one["inputs"]], "session_hash": name}
            worst = max(worst, visitor.ask("gradio_api/run/predict", json.dumps(body).encode()).status)
    return worst


def flood(visitor: Visitor, recording: bytes, model: str, count: int = 70) -> str:
    """Far more orders than a client may have, whose answers nobody takes; returns how many were taken."""
    path, taken = visitor.upload(recording), 0
    for _ in range(count):
        try:
            visitor.order(path, model)
            taken += 1
        except Refused:
            continue
    return "some taken" if 0 < taken < count else f"{taken} of {count} taken"


# ------------------------------------------------------------------------------------------------------------- figures


def _held(watcher: Visitor) -> dict[str, float | None]:
    """MiB of memory and of files that a page holds, by its own metrics; None where it does not tell."""
    answer = watcher.ask("metrics")
    lines = dict(line.rsplit(" ", 1) for line in answer.body.decode(errors="replace").splitlines() if " " in line)
    names = {"memory_mib": "denoise_process_resident_memory_bytes", "files_mib": "denoise_files_bytes"}
    if answer.status != 200:
        return dict.fromkeys(names)
    return {key: round(float(lines[name]) / (1 << 20), 1) if name in lines else None for key, name in names.items()}


def _figures(plan: Plan, tally: Tally, held: dict[str, dict[str, float | None]]) -> dict[str, Any]:
    p50, p95 = (round(float(np.quantile(tally.seconds, q)), 2) if tally.seconds else None for q in (0.5, 0.95))
    figures: dict[str, Any] = {
        "users": plan.users,
        "minutes": round(plan.seconds / 60, 2),
        "exact": len(tally.seconds),
        "wrong": tally.wrong,
        "failed": dict(tally.failed),
        "refused": {str(status): count for status, count in tally.refused.items()},
        "unclear": dict(tally.unclear),
        "p50_s": p50,
        "p95_s": p95,
        "held": held,
    }
    if plan.trouble:
        figures["trouble"] = dict(tally.trouble)
    return figures | {"problems": list(_problems(tally, held))}


def _problems(tally: Tally, held: dict[str, dict[str, float | None]]) -> Any:
    """What should not be."""
    if not tally.seconds:
        yield "nobody got anything"
    if tally.wrong:
        yield f"{tally.wrong} answers were not the user's own samples"
    if tally.failed:
        yield f"{sum(tally.failed.values())} orders failed"
    yield from (f"{count} refusals: {what}" for what, count in tally.unclear.items())
    before, rested = held["before"]["memory_mib"], held["rested"]["memory_mib"]
    if before is None or rested is None:
        yield "the page does not tell its memory at /metrics"
    elif rested > before + MEMORY_MIB:
        yield f"{rested - before:.0f} MiB more are held than before"
