"""Live sessions over real WebSockets: the samples of the whole sound, and everything that a stranger might send."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.websockets import WebSocket
from torch import Tensor
from websockets.asyncio.client import connect as connect_soon
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from denoise_app.audio.clip import Clip
from denoise_app.classical.wiener import Wiener
from denoise_app.denoiser import Denoiser
from denoise_app.inference import catalog, engine
from denoise_app.serve.live import FRAME_BYTES, TOKENS, TOKENS_EACH, Live, LiveLimits, Tokens
from denoise_app.serve.metrics import Metrics
from denoise_app.ui.parts.language import say_in

LIMITS = LiveLimits(sessions=3, ahead=1000.0, behind=1000.0)  # tests do not wait for the speaker


class WholeOnly:
    """A denoiser that needs all of a sound."""

    sample_rate, latency, causal = 16_000, 0, False

    def __call__(self, noisy: Tensor) -> Tensor:
        return noisy


def load(key: str) -> Denoiser:
    if key == "whole":
        return WholeOnly()
    model, _, loss = key.partition("/")
    return Wiener() if model == "wiener" else catalog.load(model, loss or None)


class Server:
    """A web server with nothing but live sessions."""

    def __init__(self, limits: LiveLimits) -> None:
        self.closing, self.metrics = False, Metrics()
        self.live = Live(load, limits, say_in, lambda: self.closing, metrics=self.metrics)
        config = uvicorn.Config(Starlette(routes=self.live.routes), port=0, log_level="error", ws_max_size=1 << 20)
        self.uvicorn = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.uvicorn.run)
        self.thread.start()
        while not self.uvicorn.started:
            time.sleep(0.01)
        self.host = f"127.0.0.1:{self.uvicorn.servers[0].sockets[0].getsockname()[1]}"

    def token(self) -> str:
        return str(httpx.post(f"http://{self.host}/live/token").json()["token"])

    def connect(self, client: str = "", **options: Any) -> ClientConnection:
        """A connection; of somebody at this address, as a proxy on the server's machine would tell it."""
        usual: dict[str, Any] = {"origin": f"http://{self.host}", "compression": None, "max_size": None}
        return connect(f"ws://{self.host}/live/sound", **usual | forwarded(client) | options)

    def hello(self, **said: Any) -> str:
        wanted = {"model": "wiener", "loss": None, "strength": 100, "rate": 16_000}
        return json.dumps(wanted | {"token": self.token()} | said)

    @contextmanager
    def session(self, client: str = "", max_queue: int | None = 16, **said: Any) -> Iterator[ClientConnection]:
        with self.connect(client, max_queue=max_queue) as socket:
            socket.send(self.hello(**said))
            assert told(socket)["type"] == "ready"
            yield socket

    def settled(self, count: int) -> bool:
        """Whether so many sessions are open, soon."""
        until = time.monotonic() + 30
        while self.live.sessions != count and time.monotonic() < until:
            time.sleep(0.01)
        return self.live.sessions == count

    def counted(self, sample: str) -> float:
        """A sample of the metrics; 0 where there is none yet."""
        lines = self.metrics.text().decode().splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(f"{sample} ")), 0.0)

    def close(self) -> None:
        self.uvicorn.should_exit = True
        self.thread.join()


def forwarded(client: str) -> dict[str, Any]:
    return {"additional_headers": {"X-Forwarded-For": client}} if client else {}


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    """Starts servers with other limits."""
    running: list[Server] = []

    def started(**limits: Any) -> Server:
        running.append(Server(replace(LIMITS, **limits)))
        return running[-1]

    yield started
    for server in running:
        server.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    running = Server(LIMITS)
    yield running
    running.close()


@pytest.fixture
def noisy(speech: Clip) -> np.ndarray:
    """(T,), two seconds at 16 kHz."""
    hiss = np.random.default_rng(0).standard_normal(32_000).astype(np.float32)
    return speech.samples[0, 8000:40_000] + 0.02 * hiss


def told(socket: ClientConnection) -> dict[str, Any]:
    """The next that is said in JSON."""
    while isinstance(message := socket.recv(timeout=60), bytes):
        pass
    found: dict[str, Any] = json.loads(message)
    return told(socket) if found["type"] == "status" else found


def refusal(socket: ClientConnection) -> str:
    """The reason for which a session ends, which it does."""
    found = told(socket)
    assert found["type"] == "refused" and found["sentence"]
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            socket.recv(timeout=60)
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008
    return str(found["reason"])


def answered(socket: ClientConnection, sound: np.ndarray, chunk: int, count: int) -> np.ndarray:
    """Sends a sound in chunks; the first `count` samples that come back."""
    for start in range(0, len(sound), chunk):
        socket.send(sound[start : start + chunk].astype("<f4").tobytes())
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < count:
        message = socket.recv(timeout=60)
        if isinstance(message, bytes):
            parts.append(np.frombuffer(message, "<f4"))
    return np.concatenate(parts)[:count]


def whole(sound: np.ndarray, rate: int, key: str) -> np.ndarray:
    return engine.denoise(Clip(sound[None], rate), load(key)).samples[0]


# ------------------------------------------------------------------------------------------------------------- samples


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "loss", "rate"), [("wiener", None, 16_000), ("dpcrn", "pesq", 16_000), ("gru", "hybrid", 48_000)]
)
def test_what_comes_back_is_the_whole_sound_denoised(
    server: Server, noisy: np.ndarray, model: str, loss: str | None, rate: int
) -> None:
    sound = np.repeat(noisy, rate // 16_000)
    with server.session(model=model, loss=loss, rate=rate) as socket:
        found = answered(socket, sound, 401, len(sound) - rate // 5)
    np.testing.assert_allclose(
        found, whole(sound, rate, f"{model}/{loss}" if loss else model)[: len(found)], rtol=0, atol=1e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 48_000])
def test_no_more_is_held_than_was_said(server: Server, rate: int) -> None:
    with server.connect() as socket:
        socket.send(server.hello(rate=rate))
        ready = told(socket)
        chunk, held = ready["chunk"], ready["held"]
        assert chunk % 128 == 0 and chunk < 0.025 * rate and ready["latency"] == pytest.approx(0.032)
        come = 0
        for count in range(1, 40):
            socket.send(bytes(4 * chunk))
            while come < (count - (rate != 16_000)) * chunk - held:
                message = socket.recv(timeout=60)
                come += len(message) // 4 if isinstance(message, bytes) else 0
    assert rate != 16_000 or (chunk, held) == (256, 256)


def test_strength_changes_while_it_runs(server: Server, noisy: np.ndarray) -> None:
    with server.session(strength=0) as socket:
        np.testing.assert_allclose(answered(socket, noisy, 256, 30_000), noisy[:30_000], atol=1e-6)
        socket.send(json.dumps({"strength": 100}))
        after = answered(socket, noisy, 256, 31_000)
        assert np.abs(after[8000:30_000] - noisy[7000:29_000]).max() > 0.01
        socket.send(json.dumps({"strength": 101}))
        assert refusal(socket) == "bad-strength"


@pytest.mark.slow
def test_a_second_tells_how_it_does_and_time_comes_back(server: Server) -> None:
    with server.session() as socket:
        socket.send(json.dumps({"time": 12.5}))
        assert told(socket) == {"type": "echo", "time": 12.5}
        socket.send(bytes(1024))
        while isinstance(message := socket.recv(timeout=60), bytes):
            pass
        status = json.loads(message)
    assert status["type"] == "status" and status["chunks"] == 1 and status["late"] in (0, 1)
    assert 0 < status["mean_ms"] <= status["worst_ms"]


@pytest.mark.slow
def test_a_session_that_was_cut_is_taken_up_again(server: Server, noisy: np.ndarray) -> None:
    with server.connect() as socket:
        socket.send(server.hello())
        assert told(socket)["type"] == "ready"
        socket.send(bytes(1024))
        socket.socket.close()  # no farewell
    assert server.settled(0)
    with server.session() as socket:
        np.testing.assert_allclose(
            answered(socket, noisy, 256, 30_000), whole(noisy, 16_000, "wiener")[:30_000], atol=1e-4
        )


# ----------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("live-text", "hello"),
        ("live-text", "[1]"),
        ("live-text", "[" * 4000),
        ("live-text", json.dumps({"time": "x" * 5000})),
        ("live-text", json.dumps({"volume": 1})),
        ("live-text", '{"time": NaN}'),
        ("live-text", '{"strength": Infinity}'),
        ("live-text", '{"time": "\\ud800"}'),
        ("live-text", "{}"),
        ("live-text", ""),
        ("live-text", json.dumps({"time": 1, "strength": 50})),
        ("bad-strength", '{"strength": 1e999}'),
        ("bad-strength", json.dumps({"strength": True})),
        ("bad-strength", json.dumps({"strength": [50]})),
        ("live-rate-fixed", json.dumps({"rate": 48_000})),
        ("bad-strength", json.dumps({"strength": "much"})),
        ("live-frame", bytes(FRAME_BYTES + 4)),
        ("live-format", bytes(1023)),
        ("chunk-not-finite", np.array([0, np.nan], "<f4").tobytes()),
        ("chunk-not-finite", np.array([np.inf], "<f4").tobytes()),
    ],
)
def test_what_is_no_sound_ends_the_session_in_a_sentence(server: Server, reason: str, message: str | bytes) -> None:
    with server.session() as socket:
        socket.send(message)
        assert refusal(socket) == reason
    assert server.settled(0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("no-such-model", {"model": "nonsense"}),
        ("no-such-loss", {"model": "gru", "loss": "../../x"}),
        ("not-causal", {"model": "whole"}),
        ("live-rate", {"rate": 1_000_000}),
        ("live-rate", {"rate": "16000"}),
        ("live-rate", {"rate": 10**300}),
        ("live-rate", {"rate": -16_000}),
        ("live-rate", {"rate": 16_000.0}),
        ("live-rate", {"rate": None}),
        ("no-such-model", {"model": ""}),
        ("no-such-model", {"model": "x" * 3000}),
        ("no-such-loss", {"model": "gru/hybrid/.."}),
        ("live-text", {"model": "\ud800"}),
        ("live-hello", {"rate": True}),
        ("live-hello", {"model": None}),
        ("live-hello", {"loss": 3}),
        ("bad-strength", {"strength": 200}),
        ("bad-strength", {"strength": None}),
        ("live-token", {"token": "guessed"}),
        ("live-token", {"token": None}),
    ],
)
def test_what_cannot_be_had_is_told(server: Server, reason: str, said: dict[str, Any]) -> None:
    with server.connect() as socket:
        socket.send(server.hello(**said))
        assert refusal(socket) == reason
    assert server.settled(0)


@pytest.mark.slow
def test_sound_before_a_word_and_no_word_at_all_are_refused(server: Server, start: Callable[..., Server]) -> None:
    with server.connect() as socket:
        socket.send(bytes(1024))
        assert refusal(socket) == "live-hello"
    with start(hello=0.1).connect() as socket:
        assert refusal(socket) == "live-hello"


def test_a_message_that_nobody_should_read_ends_by_the_protocol(server: Server) -> None:
    with server.session() as socket:
        socket.send(bytes(2 << 20))
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                socket.recv(timeout=60)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009


@pytest.mark.slow
def test_a_token_opens_one_session_and_not_for_ever(server: Server, start: Callable[..., Server]) -> None:
    token = server.token()
    with server.session(token=token), server.connect() as other:
        other.send(server.hello(token=token))
        assert refusal(other) == "live-token"
    brief = start(token=0.0)
    with brief.connect() as socket:
        socket.send(brief.hello())
        assert refusal(socket) == "live-token"


@pytest.mark.parametrize("origin", ["http://elsewhere.example", "null", "http://127.0.0.1"])
def test_pages_of_other_places_get_nothing(server: Server, origin: str) -> None:
    assert httpx.post(f"http://{server.host}/live/token", headers={"Origin": origin}).status_code == 403
    with server.connect(origin=origin) as socket:
        assert refusal(socket) == "live-origin"


def test_sentences_are_in_the_language_of_the_browser(server: Server) -> None:
    with server.connect(additional_headers={"Accept-Language": "zh-CN"}) as socket:
        socket.send(server.hello(token="guessed"))
        assert told(socket)["sentence"] == say_in("zh")("refused.live-token")


@pytest.mark.slow
def test_silence_on_the_line_ends_it_even_where_there_is_talk(start: Callable[..., Server]) -> None:
    server = start(idle=0.5)
    with server.session() as socket:
        for _ in range(3):
            socket.send(json.dumps({"time": 1}))
            socket.send(b"")
            time.sleep(0.1)
        assert refusal_of_many(socket) == "live-idle"
    assert server.settled(0)


def refusal_of_many(socket: ClientConnection) -> str:
    while (found := told(socket))["type"] == "echo":
        pass
    return str(found["reason"])


# -------------------------------------------------------------------------------------------------------- many at once


def test_there_are_so_many_places_and_they_are_given_back(server: Server) -> None:
    with server.session(), server.session(), server.session():
        assert server.live.sessions == 3
        with server.connect() as fourth:
            fourth.send(server.hello())
            assert refusal(fourth) == "live-full"
    assert server.settled(0)
    with server.session():
        assert server.live.sessions == 1


ONE, TWO, THREE = "198.41.0.4", "198.41.0.5", "198.41.0.6"


def test_one_client_has_half_of_the_places_and_the_rest_is_for_others(server: Server) -> None:
    with server.session(ONE), server.session(ONE):
        with server.connect(ONE) as greedy:
            greedy.send(server.hello())
            assert refusal(greedy) == "live-share"
        with server.session(TWO), server.connect(THREE) as late:
            late.send(server.hello())
            assert refusal(late) == "live-full"
    assert server.settled(0)
    with server.session(ONE):
        assert server.live.sessions == 1


def test_one_household_of_ipv6_is_one_client(server: Server) -> None:
    with server.session("2a00:1450:4001:80b::1"), server.session("2a00:1450:4001:80b:9::1"):
        with server.connect("2a00:1450:4001:80b:9:9::1") as greedy:
            greedy.send(server.hello())
            assert refusal(greedy) == "live-share"
        with server.session("2a00:1450:4001:80c::1"):
            assert server.live.sessions == 3
    assert server.settled(0)


@pytest.mark.slow
def test_a_server_of_one_place_serves_anybody(start: Callable[..., Server]) -> None:
    server = start(sessions=1)
    with server.session(ONE):
        pass
    assert server.settled(0)
    with server.session():
        pass


@pytest.mark.slow
def test_one_client_that_says_nothing_keeps_nobody_else_out(start: Callable[..., Server]) -> None:
    server = start(strangers=20, hello=30.0)
    crowd = [server.connect(ONE) for _ in range(30)]
    assert [refusal(socket) for socket in crowd[10:]] == ["live-crowd"] * 20
    with server.session(TWO), server.session():
        assert server.live.sessions == 2
    for socket in crowd:
        socket.close()


def test_one_client_that_asks_for_tokens_takes_away_only_its_own() -> None:
    tokens = Tokens(60.0)
    patient, first = tokens.issue(TWO), tokens.issue(ONE)
    newest = [tokens.issue(ONE) for _ in range(2 * TOKENS)][-TOKENS_EACH:]
    assert tokens.redeem(patient) and not tokens.redeem(patient)
    assert not tokens.redeem(first) and all(tokens.redeem(token) for token in newest)


def test_a_crowd_of_clients_that_ask_for_tokens_takes_bounded_memory() -> None:
    tokens = Tokens(60.0)
    first = tokens.issue(ONE)
    held = [tokens.issue(f"198.51.{n >> 8}.{n & 255}") for n in range(TOKENS)]
    assert not tokens.redeem(first) and tokens.redeem(held[0])


@pytest.mark.slow
def test_sessions_refusals_and_late_chunks_are_counted(start: Callable[..., Server]) -> None:
    server = start(sessions=1)
    with server.session() as socket:
        assert server.counted("denoise_live_sessions") == 1 == server.counted("denoise_live_places")
        for reason in ("live-full", "live-token"):
            with server.connect() as other:
                other.send(server.hello() if reason == "live-full" else server.hello(token="guessed"))
                assert refusal(other) == reason
        for samples in (256, 256, 1, 1):  # one lasts 63 us: nobody answers in time
            socket.send(bytes(4 * samples))
        until = time.monotonic() + 30
        while server.counted("denoise_live_chunks_total") < 4 and time.monotonic() < until:
            time.sleep(0.01)
        assert server.counted("denoise_live_chunks_total") == 4
        assert 2 <= server.counted("denoise_live_late_chunks_total") <= 4
    assert server.settled(0)
    assert server.counted("denoise_live_sessions") == 0
    for reason in ("live-full", "live-token"):
        assert server.counted(f'denoise_refusals_total{{reason="{reason}"}}') == 1


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def files_at_rest() -> int:
    """Open files, once those of the tests before are closed, which their servers' threads do in their own time."""
    before, files = -1, open_files()
    while files != before:
        time.sleep(0.3)
        before, files = files, open_files()
    return files


def connections_left() -> int:
    gc.collect()
    return sum(type(each) is WebSocket for each in gc.get_objects())


@pytest.fixture
def many_files() -> Iterator[None]:
    """Each connection is a file at both ends, and both ends are this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, 4096)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"this machine lets a process open {hard} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def crowd(server: Server, count: int, client: Callable[[int], str]) -> Counter[str]:
    """So many connect at once and say nothing; what they are told, each before it is closed by the rules."""

    async def stranger(number: int) -> str:
        options: dict[str, Any] = {"compression": None, "open_timeout": 60}
        async with connect_soon(f"ws://{server.host}/live/sound", **options | forwarded(client(number))) as socket:
            told = json.loads(await asyncio.wait_for(socket.recv(), 60))
            await socket.wait_closed()
            assert told["type"] == "refused" and told["sentence"] and socket.close_code == 1008
            return str(told["reason"])

    return Counter(await asyncio.gather(*(stranger(number) for number in range(count))))


def spoken(socket: ClientConnection, sound: np.ndarray) -> np.ndarray:
    """Sends a sound as it is spoken at 16 kHz; what comes back, but for the last quarter of a second."""
    began = time.monotonic()
    for start in range(0, len(sound), 256):
        time.sleep(max(0.0, began + start / 16_000 - time.monotonic()))
        socket.send(sound[start : start + 256].astype("<f4").tobytes())
    return answered(socket, sound[:0], 256, len(sound) - 4000)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="open files are counted in /proc")
@pytest.mark.parametrize("clients", [1, 250])
def test_a_thousand_at_once_touch_no_session_and_leave_nothing(
    start: Callable[..., Server], noisy: np.ndarray, many_files: None, clients: int
) -> None:
    server, sound = start(hello=0.5, ahead=2.0, behind=1.0), np.resize(noisy, 80_000)
    with server.session(max_queue=None) as socket, ThreadPoolExecutor(1) as beside:
        connections, files = connections_left(), files_at_rest()
        talk = beside.submit(spoken, socket, sound)
        reasons = asyncio.run(crowd(server, 1000, lambda number: f"198.41.1.{number % clients}"))
        np.testing.assert_allclose(talk.result(), whole(sound, 16_000, "wiener")[:76_000], rtol=0, atol=1e-4)
        assert set(reasons) == {"live-crowd", "live-hello"} and reasons["live-crowd"] > 100
        until = time.monotonic() + 10
        while open_files() > files and time.monotonic() < until:
            time.sleep(0.05)
        assert open_files() == files and connections_left() == connections
        assert server.live.sessions == 1
        socket.send(json.dumps({"time": 1}))
        assert told(socket) == {"type": "echo", "time": 1}


@pytest.mark.slow
def test_a_crowd_that_says_nothing_keeps_nobody_out_for_long(start: Callable[..., Server]) -> None:
    server = start(strangers=20, hello=2.0)
    crowd = [server.connect() for _ in range(100)]
    assert [refusal(socket) for socket in crowd[20:]] == ["live-crowd"] * 80
    assert [refusal(socket) for socket in crowd[:20]] == ["live-hello"] * 20
    with server.session() as socket:
        assert len(answered(socket, np.zeros(1024, np.float32), 256, 512)) == 512


@pytest.mark.slow
def test_sound_that_a_hitch_held_back_is_taken_and_more_is_not(start: Callable[..., Server], noisy: np.ndarray) -> None:
    server = start(ahead=0.5, late=2.0, behind=0.5)
    with server.session(max_queue=None) as socket:
        time.sleep(1.5)
        found = answered(socket, noisy[:24_000], 256, 23_000)  # 1.5 s of sound at once
        np.testing.assert_allclose(found, whole(noisy[:24_000], 16_000, "wiener")[:23_000], rtol=0, atol=1e-4)
        with suppress(ConnectionClosed):
            for _ in range(400):  # 6.4 s more
                socket.send(bytes(1024))
        assert refusal(socket) == "live-fast"


@pytest.mark.slow
@pytest.mark.parametrize("flood", [bytes(FRAME_BYTES), bytes(4), b"", json.dumps({"time": 0})])
def test_a_flood_ends_its_own_session_and_no_other(
    start: Callable[..., Server], noisy: np.ndarray, flood: str | bytes
) -> None:
    server = start(ahead=2.0, behind=1.0)
    with server.session() as quiet, server.session() as loud:
        ended = threading.Event()

        def pour() -> None:
            try:
                for _ in range(100_000):
                    loud.send(flood)
            except ConnectionClosed:
                ended.set()

        pouring = threading.Thread(target=pour)
        pouring.start()
        found = answered(quiet, noisy[:24_000], 256, 23_000)
        np.testing.assert_allclose(found, whole(noisy[:24_000], 16_000, "wiener")[:23_000], rtol=0, atol=1e-4)
        while isinstance(message := loud.recv(timeout=60), bytes) or json.loads(message)["type"] in ("status", "echo"):
            pass
        assert json.loads(message)["reason"] in ("live-fast", "live-behind")
        pouring.join(60)
        assert ended.is_set()
    assert server.settled(0)


@pytest.mark.slow
def test_who_does_not_listen_is_cut_off(start: Callable[..., Server]) -> None:
    server = start(behind=0.5)
    with server.connect(max_queue=1) as deaf:
        deaf.send(server.hello())
        deaf.recv_bufsize = 1024
        with pytest.raises((ConnectionClosed, TimeoutError)):
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:  # nothing of what comes back is taken
                deaf.send(bytes(FRAME_BYTES))
        assert server.settled(0)


@pytest.mark.slow
def test_the_end_of_the_program_is_told(start: Callable[..., Server]) -> None:
    server = start()
    with server.session() as socket:
        server.closing = True
        assert refusal(socket) == "closing"
        with server.connect() as other:
            other.send(server.hello())
            assert refusal(other) == "closing"
