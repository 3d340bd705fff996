"""Live sessions over real WebSockets: the samples of the whole sound, and everything that a stranger might send."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from starlette.applications import Starlette
from torch import Tensor
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from denoise_app.audio.clip import Clip
from denoise_app.classical.wiener import Wiener
from denoise_app.denoiser import Denoiser
from denoise_app.inference import catalog, engine
from denoise_app.serve.live import FRAME_BYTES, Live, LiveLimits
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
        self.closing = False
        self.live = Live(load, limits, say_in, lambda: self.closing)
        config = uvicorn.Config(Starlette(routes=self.live.routes), port=0, log_level="error", ws_max_size=1 << 20)
        self.uvicorn = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.uvicorn.run)
        self.thread.start()
        while not self.uvicorn.started:
            time.sleep(0.01)
        self.host = f"127.0.0.1:{self.uvicorn.servers[0].sockets[0].getsockname()[1]}"

    def token(self) -> str:
        return str(httpx.post(f"http://{self.host}/live/token").json()["token"])

    def connect(self, **options: Any) -> ClientConnection:
        usual: dict[str, Any] = {"origin": f"http://{self.host}", "compression": None, "max_size": None}
        return connect(f"ws://{self.host}/live/sound", **usual | options)

    def hello(self, **said: Any) -> str:
        wanted = {"model": "wiener", "loss": None, "strength": 100, "rate": 16_000}
        return json.dumps(wanted | {"token": self.token()} | said)

    @contextmanager
    def session(self, **said: Any) -> Iterator[ClientConnection]:
        with self.connect() as socket:
            socket.send(self.hello(**said))
            assert told(socket)["type"] == "ready"
            yield socket

    def settled(self, count: int) -> bool:
        """Whether so many sessions are open, soon."""
        until = time.monotonic() + 30
        while self.live.sessions != count and time.monotonic() < until:
            time.sleep(0.01)
        return self.live.sessions == count

    def close(self) -> None:
        self.uvicorn.should_exit = True
        self.thread.join()


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


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("live-text", "hello"),
        ("live-text", "[1]"),
        ("live-text", "[" * 4000),
        ("live-text", json.dumps({"time": "x" * 5000})),
        ("live-text", json.dumps({"volume": 1})),
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


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("no-such-model", {"model": "nonsense"}),
        ("no-such-loss", {"model": "gru", "loss": "../../x"}),
        ("not-causal", {"model": "whole"}),
        ("live-rate", {"rate": 1_000_000}),
        ("live-rate", {"rate": "16000"}),
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


def test_a_crowd_that_says_nothing_keeps_nobody_out_for_long(start: Callable[..., Server]) -> None:
    server = start(strangers=20, hello=2.0)
    crowd = [server.connect() for _ in range(100)]
    assert [refusal(socket) for socket in crowd[20:]] == ["live-full"] * 80
    assert [refusal(socket) for socket in crowd[:20]] == ["live-hello"] * 20
    with server.session() as socket:
        assert len(answered(socket, np.zeros(1024, np.float32), 256, 512)) == 512


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


def test_the_end_of_the_program_is_told(start: Callable[..., Server]) -> None:
    server = start()
    with server.session() as socket:
        server.closing = True
        assert refusal(socket) == "closing"
        with server.connect() as other:
            other.send(server.hello())
            assert refusal(other) == "closing"
