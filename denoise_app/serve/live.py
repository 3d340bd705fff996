"""Sound denoised while it is spoken: a WebSocket session of float32 samples, one thread for each.

A page asks for a token (POST /live/token; it opens one session, soon), connects to /live/sound and says in JSON what it
wants: {"token", "model", "loss" or null, "strength" in percent, "rate" in Hz}. Once the denoiser is warm it is answered
{"type": "ready", "rate", "chunk", "held", "latency"}. From then on binary messages are mono samples, 32-bit floats,
little-endian, at that rate, any number up to FRAME_BYTES: what comes back, one after the other, is aligned with what
was sent. `chunk` is how many a message should hold; right after such a message was answered about `held` samples are
still to come, at 16 kHz never more; `latency` is the denoiser's own delay in seconds.

While it runs, {"strength": percent} changes the strength, and {"time": anything} is sent back at once, as {"type":
"echo"}; every second {"type": "status"} tells how many chunks came, how many were answered later than they last, and
what one cost. Whatever is wrong is told as {"type": "refused", "reason", "sentence"}, then the session ends; no other
session is touched by it.

One client, whom serve/clients.py tells by address, may have half of all sessions, rounded up, and half of the
connections that have not said yet what they want (serve/shares.py): the other half stays for others. Of its tokens the
newest TOKENS_EACH are remembered.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn, Protocol, TypeVar

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from denoise_app.audio.clip import Samples
from denoise_app.audio.errors import UserError
from denoise_app.denoiser import Denoiser, StreamingDenoiser
from denoise_app.inference.stream import Stream

from . import clients
from .guard import Sentence, is_foreign
from .metrics import Metrics
from .shares import Places

logger = logging.getLogger(__name__)

T = TypeVar("T")

FRAME_BYTES = 1 << 16  # of one message: a second at 16 kHz
MESSAGE_BYTES = 1 << 20  # what a server should read of one at most; longer ones end by the protocol's own code 1009
TEXT_BYTES = 4096
QUANTUM = 128  # samples that a browser hears at once
LOWEST_RATE, HIGHEST_RATE = 8_000, 96_000  # Hz
WARM_UP_SECONDS = 2.0  # of silence: the first frames are the slowest, and resamplers take a while to hold the most
STATUS_SECONDS = 1.0
TOKENS = 10_000  # that are remembered; the oldest goes
TOKENS_EACH = 100  # of one client: a page asks for one just before it uses it
POLICY_VIOLATION = 1008  # RFC 6455, 7.4.1
FAREWELL_SECONDS = 2.0  # in which who does not read must take the last word


@dataclass(frozen=True)
class LiveLimits:
    """How much one live session, and all of them together, may take.

    Attributes:
        sessions: At once; of one client half of them.
        strangers: Connections that have not said yet what they want; of one client half of them.
        hello: Seconds in which they must.
        token: Seconds in which a token must be used.
        idle: Seconds without sound after which a session ends.
        ahead: Seconds of sound that may come earlier than they can be spoken.
        late: Seconds of sound that may come late and all at once, as after a hitch of the network, or of this server
            where a thousand connect to it.
        behind: Seconds of sound that may wait to be denoised, beside what came late.
    """

    sessions: int
    strangers: int = 64
    hello: float = 5.0
    token: float = 60.0
    idle: float = 30.0
    ahead: float = 2.0
    late: float = 10.0
    behind: float = 1.0


class Words(Sentence, Protocol):
    """Puts refusals and errors into words."""

    def problem(self, error: Exception) -> str: ...


class Refusal(Exception):
    """A session that ends, for a reason.

    Args:
        key: Of the sentence.
        facts: What the sentence names.
    """

    def __init__(self, key: str, **facts: object) -> None:
        super().__init__(key)
        self.key, self.facts = key, facts


@dataclass(frozen=True)
class Hello:
    """What a client wants: a denoiser's key, percent, Hz."""

    model: str
    strength: float
    rate: int


class Tokens:
    """Each opens one session, soon; who asks for many loses the oldest of their own, not those of others.

    Args:
        seconds: In which a token must be used.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._known: dict[str, tuple[float, str]] = {}  # until when (s, monotonic), whose; oldest first
        self._counts: Counter[str] = Counter()  # of each client

    def issue(self, client: str) -> str:
        """A new one."""
        now = time.monotonic()
        while self._known and (len(self._known) >= TOKENS or next(iter(self._known.values()))[0] < now):
            self._taken(next(iter(self._known)))
        if self._counts[client] >= TOKENS_EACH and not clients.is_own_machine(client):
            self._taken(next(token for token, (_, whose) in self._known.items() if whose == client))
        token = secrets.token_urlsafe(16)
        self._known[token] = now + self._seconds, client
        self._counts[client] += 1
        return token

    def redeem(self, token: str) -> bool:
        """Whether it opens a session; from now on it does not."""
        return token in self._known and self._taken(token) >= time.monotonic()

    def _taken(self, token: str) -> float:
        until, client = self._known.pop(token)
        self._counts[client] -= 1
        if not self._counts[client]:
            del self._counts[client]
        return until


class Live:
    """The sessions of a server.

    Args:
        load: Gives the denoiser of a key such as "dpcrn/pesq"; called in a session's thread.
        limits: How much is taken.
        say: Gives the words for the languages that a client accepts.
        closing: Whether the program ends.
        busy: Something within which the program's end waits, for a while; each session is.
        metrics: Counts what is done and refused.
    """

    def __init__(
        self,
        load: Callable[[str], Denoiser],
        limits: LiveLimits,
        say: Callable[[str], Words],
        closing: Callable[[], bool] = lambda: False,
        busy: Callable[[], AbstractContextManager[None]] = nullcontext,
        metrics: Metrics | None = None,
    ) -> None:
        self._load, self.limits, self._say, self._closing, self._busy = load, limits, say, closing, busy
        self._tokens = Tokens(limits.token)
        self._strangers, self._places = Places(limits.strangers), Places(limits.sessions)
        self._metrics = metrics or Metrics()
        self._metrics.watch("live_sessions", "Live sessions that are open.", lambda: self.sessions)
        self._metrics.watch("live_places", "Live sessions that may be open at once.", lambda: limits.sessions)

    @property
    def sessions(self) -> int:
        """How many are open."""
        return self._places.held

    @property
    def routes(self) -> list[BaseRoute]:
        """What the web server has to know."""
        return [Route("/live/token", self._issue, methods=["POST"]), WebSocketRoute("/live/sound", self._connect)]

    async def _issue(self, request: Request) -> Response:
        if is_foreign(request.headers):
            self._metrics.refused("live-origin")
            say = self._say(request.headers.get("accept-language", ""))
            return JSONResponse({"detail": say("refused.live-origin")}, status_code=403)
        return JSONResponse({"token": self._tokens.issue(clients.of(request))}, headers={"Cache-Control": "no-store"})

    async def _connect(self, socket: WebSocket) -> None:
        say = self._say(socket.headers.get("accept-language", ""))
        await socket.accept()
        try:
            await self._serve(socket)
        except WebSocketDisconnect:
            return
        except Refusal as refusal:
            await self._end(socket, refusal.key, say(f"refused.{refusal.key}", **refusal.facts))
        except UserError as error:
            await self._end(socket, error.reason, say.problem(error))
        except Exception as error:
            logger.warning("a live session failed", exc_info=True)
            await self._end(socket, "failed", say.problem(error))

    async def _end(self, socket: WebSocket, reason: str, sentence: str) -> None:
        """The last word; who does not take it is cut off."""
        self._metrics.refused(reason)
        with suppress(TimeoutError, WebSocketDisconnect, RuntimeError, OSError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await socket.send_json({"type": "refused", "reason": reason, "sentence": sentence})
                await socket.close(POLICY_VIOLATION, reason)

    async def _serve(self, socket: WebSocket) -> None:
        if is_foreign(socket.headers):
            raise Refusal("live-origin")
        hello = await self._greeted(socket)
        with self._place(clients.of(socket)), self._busy(), _thread() as thread:
            stream = await _within(thread, partial(self._opened, hello))
            chunk = chunk_of(stream)
            held = await _within(thread, partial(warmed_up, stream, chunk))
            latency = stream.denoiser.latency / stream.denoiser.sample_rate
            ready = {"type": "ready", "rate": hello.rate, "chunk": chunk, "held": held, "latency": latency}
            await socket.send_json(ready)
            await _Session(socket, stream, thread, self.limits, self._closing, self._metrics).run()

    async def _greeted(self, socket: WebSocket) -> Hello:
        """What a new client wants, once it has said so and may have it."""
        client = clients.of(socket)
        if self._strangers.are_full or self._strangers.is_spent(client):
            raise Refusal("live-crowd")
        try:
            with self._strangers.taken(client):
                message = await asyncio.wait_for(socket.receive(), self.limits.hello)
        except TimeoutError as error:
            raise Refusal("live-hello") from error
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect
        said = _parsed(message.get("text"))
        if not self._tokens.redeem(str(said.get("token"))):
            raise Refusal("live-token")
        return _hello(said)

    def _opened(self, hello: Hello) -> Stream:
        return Stream(self._load(hello.model), hello.rate, strength=hello.strength)

    @contextmanager
    def _place(self, client: str) -> Iterator[None]:
        if self._closing():
            raise Refusal("closing")
        if self._places.are_full:
            raise Refusal("live-full", limit=self._places.count)
        if self._places.is_spent(client):
            raise Refusal("live-share", limit=self._places.each)
        with self._places.taken(client):
            yield


def chunk_of(stream: Stream) -> int:
    """Samples of one message: about a hop of the denoiser, in whole quanta of a browser."""
    denoiser = stream.denoiser
    hop = denoiser.hop if isinstance(denoiser, StreamingDenoiser) else QUANTUM
    return math.ceil(hop * stream.sample_rate / denoiser.sample_rate / QUANTUM) * QUANTUM


def warmed_up(stream: Stream, chunk: int) -> int:
    """Runs a stream on silence and resets it; returns the most samples that were held after a push of `chunk`."""
    silence, held = np.zeros(chunk, np.float32), 0
    for _ in range(math.ceil(WARM_UP_SECONDS * stream.sample_rate / chunk)):
        stream.push(silence)
        held = max(held, stream.held)
    stream.reset()
    return held


@dataclass
class _Counts:
    """What has happened since the last status."""

    chunks: int = 0
    late: int = 0
    seconds: float = 0.0  # of computing
    worst: float = 0.0


@dataclass
class _Session:
    """One session, from the first samples to the last."""

    socket: WebSocket
    stream: Stream
    thread: ThreadPoolExecutor
    limits: LiveLimits
    closing: Callable[[], bool]
    metrics: Metrics
    _arrived: asyncio.Queue[tuple[float, Samples]] = field(default_factory=asyncio.Queue)
    _waiting: float = 0.0  # s of sound that has come and is not denoised yet
    _early: float = 0.0  # s of sound that came before it can have been spoken; below 0, that is still to come
    _counted: float = field(default_factory=time.monotonic)
    _sounded: float = field(default_factory=time.monotonic)
    _counts: _Counts = field(default_factory=_Counts)

    async def run(self) -> None:
        """Until the client goes; raises Refusal or a UserError where it must go."""
        tasks = [asyncio.create_task(each) for each in (self._receive(), self._answer(), self._report())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _receive(self) -> None:
        """Takes what comes, whatever is still to be denoised."""
        while True:
            left = self._sounded + self.limits.idle - time.monotonic()
            try:
                message = await asyncio.wait_for(self.socket.receive(), max(left, 0.001))
            except TimeoutError as error:
                raise Refusal("live-idle", seconds=f"{self.limits.idle:g}") from error
            if message["type"] == "websocket.disconnect":
                return
            if message.get("bytes") is None:
                self._count(0.0)
                await self._control(_parsed(message["text"]))
            else:
                self._take(message["bytes"])

    def _take(self, data: bytes) -> None:
        chunk = samples_of(data)
        seconds = len(chunk) / self.stream.sample_rate
        self._count(seconds)
        if len(chunk):
            self._sounded = time.monotonic()
        if self._waiting + seconds > self.limits.behind + self.limits.late + FRAME_BYTES / 4 / self.stream.sample_rate:
            raise Refusal("live-behind")
        self._waiting += seconds
        self._arrived.put_nowait((time.monotonic(), chunk))

    def _count(self, seconds: float) -> None:
        """One more message; however little it holds, a thousand in a second are too many."""
        now = time.monotonic()
        self._early = max(-self.limits.late, self._early - (now - self._counted)) + max(seconds, 0.001)
        self._counted = now
        if self._early > self.limits.ahead:
            raise Refusal("live-fast")

    async def _control(self, said: dict[str, Any]) -> None:
        if said.keys() == {"strength"}:
            await _within(self.thread, partial(self.stream.adjust, strength=said["strength"]))
        elif said.keys() == {"time"}:
            await self.socket.send_json({"type": "echo", "time": said["time"]})
        else:
            raise Refusal("live-rate-fixed" if "rate" in said else "live-text")

    async def _answer(self) -> None:
        """Denoises what has come, in its order."""
        while True:
            arrived, chunk = await self._arrived.get()
            clean, took = await _within(self.thread, partial(_timed, self.stream, chunk))
            if len(clean):
                await self.socket.send_bytes(clean.astype("<f4", copy=False).tobytes())
            seconds = len(chunk) / self.stream.sample_rate
            self._waiting -= seconds
            late = time.monotonic() - arrived > seconds
            self.metrics.answered_live(late)
            self._counts.chunks += 1
            self._counts.late += late
            self._counts.seconds += took
            self._counts.worst = max(self._counts.worst, took)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(STATUS_SECONDS)
            if self.closing():
                raise Refusal("closing")
            counts, self._counts = self._counts, _Counts()
            mean = 1000 * counts.seconds / counts.chunks if counts.chunks else 0.0
            times = {"mean_ms": round(mean, 3), "worst_ms": round(1000 * counts.worst, 3)}
            await self.socket.send_json({"type": "status", "chunks": counts.chunks, "late": counts.late} | times)


def samples_of(data: bytes) -> Samples:
    """The samples (n,) of a message; raises Refusal for what cannot be one."""
    if len(data) > FRAME_BYTES:
        raise Refusal("live-frame", most=f"{FRAME_BYTES // 4:,}")
    if len(data) % 4:
        raise Refusal("live-format")
    return np.frombuffer(data, "<f4").astype(np.float32, copy=False)


def _timed(stream: Stream, chunk: Samples) -> tuple[Samples, float]:
    began = time.perf_counter()
    return stream.push(chunk), time.perf_counter() - began


def _parsed(text: str | None) -> dict[str, Any]:
    """The JSON object of a text message; raises Refusal for anything else."""
    try:
        said = json.loads(text, parse_constant=_no_number) if text is not None and len(text) <= TEXT_BYTES else None
        json.dumps(said, ensure_ascii=False).encode()  # half of a character cannot be said again
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise Refusal("live-text" if text is not None else "live-hello")
    return said


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")  # RFC 8259, 6; Python takes it


def _hello(said: dict[str, Any]) -> Hello:
    """What a client says first, checked but for what the rooms below check."""
    model, loss, rate = said.get("model"), said.get("loss"), said.get("rate")
    if not isinstance(model, str) or not isinstance(loss, str | None) or isinstance(rate, bool):
        raise Refusal("live-hello")
    if not isinstance(rate, int) or not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise Refusal("live-rate", low=f"{LOWEST_RATE:,}", high=f"{HIGHEST_RATE:,}")
    return Hello(f"{model}/{loss}" if loss else model, said.get("strength", 100.0), rate)


@contextmanager
def _thread() -> Iterator[ThreadPoolExecutor]:
    """A thread that is not waited for: what it still computes is nobody's any more."""
    thread = ThreadPoolExecutor(1, "live")
    try:
        yield thread
    finally:
        thread.shutdown(wait=False, cancel_futures=True)


async def _within(thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(thread, work)
