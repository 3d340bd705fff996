"""A laid-out Space, started as its host would and asked for one clip.

As there: a copy of its own, the host's environment, uid 1000 where root asks, no network where the system permits that;
with the host's switch for rendering on the server off and on. A process beside this one gives up the network, starts
the server and is its visitor; both end with it, and it with this one.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from denoise_app.audio.clip import Samples
from denoise_app.audio.files import read
from denoise_app.audio.level import to_db

from . import confined
from .loadtest import Failed, Refused, Visitor

CLIP = Path("examples/english-fan.flac")  # in the Space
PORT = 7860
UID = 1000  # of the user that runs a Space
PATIENCE = 300.0  # s to be ready, and to denoise: on two cores that others use too
END_SECONDS = 30.0  # s that the server has after SIGTERM
LEAST_DB = 6.0  # by which the clip's noise has to be quieter
LAST_LINES = 12  # of what the server said, where it failed


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        passed: Whether it is as it should be.
        text: What was found.
    """

    passed: bool
    text: str


@dataclass(frozen=True)
class Stage:
    """How a Space is started.

    Attributes:
        app: The copy.
        home: Its user's folder, empty.
        port: Where it listens.
        ssr: Whether the host asks for rendering on the server.
        uid: Whose process it becomes; None for whoever asks.
        alone: Whether without a network.
        patience: Seconds for each step.
    """

    app: str
    home: str
    port: int = PORT
    ssr: bool = False
    uid: int | None = None
    alone: bool = True
    patience: float = PATIENCE


def check(
    folder: Path,
    port: int = PORT,
    patience: float = PATIENCE,
    on_finding: Callable[[Finding], None] = lambda finding: None,
) -> list[Finding]:
    """Starts a Space twice, once with each switch; returns what was found, all of it passed where it is in order.

    Args:
        folder: As `space.lay_out` leaves it; nothing in it is changed.
        port: Where the server is to listen; where it has a network of its own any is free.
        patience: Seconds for each step.
        on_finding: Given each finding as it is made.

    Raises:
        OSError: The copy cannot be written.
    """
    found: list[Finding] = []
    for ssr in (False, True):
        with _copied(folder) as (app, home):
            uid = UID if sys.platform.startswith("linux") and os.getuid() == 0 else None
            for finding in rehearsed(Stage(str(app), str(home), port, ssr, uid, patience=patience)):
                found.append(finding)
                on_finding(finding)
    return found


@contextmanager
def _copied(folder: Path) -> Iterator[tuple[Path, Path]]:
    """A copy and a home that any user may read, and its own user write."""
    with tempfile.TemporaryDirectory(prefix="denoise-space-") as name:
        place = Path(name)
        place.chmod(0o755)
        app, home = place / "app", place / "home"
        shutil.copytree(folder, app, ignore=shutil.ignore_patterns("__pycache__", ".git"))
        home.mkdir()
        if os.getuid() == 0:
            for path in (app, home, *app.rglob("*")):
                os.chown(path, UID, UID)
        yield app, home


def rehearsed(stage: Stage) -> Iterator[Finding]:
    """What is found on one stage, by a process of its own that is gone when this ends."""
    for line in _lines(stage):
        found = json.loads(line)
        if found is None:  # a network cannot be left here
            yield from rehearsed(replace(stage, alone=False))
            return
        yield Finding(**found)


def _lines(stage: Stage) -> Iterator[str]:
    command = [sys.executable, "-m", "denoise_app.scale.rehearsal", json.dumps(asdict(stage))]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "OMP_NUM_THREADS": "1"}
    acting = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert acting.stdout is not None
    try:
        yield from acting.stdout
        if acting.wait() != 0:
            yield _line(Finding(False, f"the check broke off ({acting.returncode})"))
    finally:
        with suppress(ProcessLookupError):  # all of it has ended
            os.killpg(acting.pid, signal.SIGKILL)
        acting.stdout.close()
        acting.wait()


# ----------------------------------------------------------------------------------- in the process beside this one


def main() -> None:
    """Prints findings as lines of JSON; null where a network cannot be left."""
    stage = Stage(**json.loads(sys.argv[1]))
    confined.die_with_parent()
    if stage.alone:
        try:
            confined.leave_network()  # there is one thread: `_lines` says so to what numbers are computed by
        except OSError:
            print("null", flush=True)
            return
    with tempfile.TemporaryFile("w+", errors="replace") as said, _server(stage, said.fileno()) as server:
        try:
            for finding in _found(stage, server):
                print(_line(finding), flush=True)
        except (OSError, RuntimeError, ValueError, Refused, Failed) as error:
            said.seek(0)
            last = "".join(f"\n  {line.rstrip()}" for line in said.readlines()[-LAST_LINES:])
            print(_line(Finding(False, f"{error}{last}")), flush=True)


def _line(finding: Finding) -> str:
    return json.dumps(asdict(finding))


def environment(stage: Stage) -> dict[str, str]:
    """What a Space's host sets, and no more."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": stage.home,
        "TMPDIR": stage.home,  # so that whatever a killed server leaves goes with it
        "PYTHONPATH": stage.app,
        "PYTHONUNBUFFERED": "1",
        "SYSTEM": "spaces",
        "SPACE_ID": "somebody/denoise-app",
        "SPACE_HOST": "somebody-denoise-app.hf.space",
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "GRADIO_SERVER_PORT": str(stage.port),
        "GRADIO_NUM_PORTS": "1",
        "GRADIO_SSR_MODE": "true" if stage.ssr else "false",
        "GRADIO_ALLOW_FLAGGING": "never",
        "GRADIO_THEME": "huggingface",
        "HF_HUB_OFFLINE": "1",
    }


@contextmanager
def _server(stage: Stage, said: int) -> Iterator[subprocess.Popen[bytes]]:
    def before() -> None:
        if stage.uid is not None:
            confined.become(stage.uid)
        confined.die_with_parent()

    command = [sys.executable, "app.py"]
    server = subprocess.Popen(
        command, cwd=stage.app, env=environment(stage), stdout=said, stderr=said, preexec_fn=before
    )
    try:
        yield server
    finally:
        server.kill()
        server.wait()


def _found(stage: Stage, server: subprocess.Popen[bytes]) -> Iterator[Finding]:
    """What a visitor and a host find, one after the other; raises where nothing more can be found."""
    visitor = Visitor(f"http://127.0.0.1:{stage.port}", "11.3.0.1")
    began = time.monotonic()
    _await_ready(visitor, server, began + stage.patience)
    rendering = "on" if stage.ssr else "off"
    yield Finding(True, f"server-side rendering {rendering}: ready after {time.monotonic() - began:.0f} s")
    yield Finding(*_owner(stage, server.pid))
    yield Finding(*_networks(stage))
    page = visitor.ask("")
    yield Finding(page.status == 200 and b"gradio" in page.body, f"the page: {page.status}, {len(page.body):,} bytes")
    yield from _denoised(Path(stage.app) / CLIP, visitor)
    yield Finding(*_ended(server))


def _await_ready(visitor: Visitor, server: subprocess.Popen[bytes], until: float) -> None:
    while time.monotonic() < until:
        if (status := server.poll()) is not None:
            raise RuntimeError(f"the server ended with {status} before it was ready")
        with suppress(OSError):
            answer = visitor.ask("readyz")
            if (answer.status, answer.body.strip()) == (200, b"ready"):
                return
        time.sleep(0.25)
    raise TimeoutError("/readyz has not said ready in time")


def _owner(stage: Stage, pid: int) -> tuple[bool, str]:
    if stage.uid is None:
        own = os.getuid()
        return True, f"run by uid {own}" + ("" if own == UID else f"; as the host's {UID} only root starts it")
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    uid = next(int(line.split()[1]) for line in lines if line.startswith("Uid:"))
    return uid == stage.uid, f"run by uid {uid}"


def _networks(stage: Stage) -> tuple[bool, str]:
    if not stage.alone:
        return True, "with this machine's network, which a process may not leave here"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nothing_is_sent:
        outcome = nothing_is_sent.connect_ex(("192.0.2.1", 9))  # of a range that nobody has, RFC 5737
    return outcome == errno.ENETUNREACH, "without a network"


def _denoised(path: Path, visitor: Visitor) -> Iterator[Finding]:
    began = time.monotonic()
    before = read(path)
    with tempfile.NamedTemporaryFile(suffix=path.suffix) as file:
        file.write(visitor.denoised(visitor.upload(path.read_bytes()), ""))
        file.flush()
        after = read(Path(file.name))
    seconds = time.monotonic() - began
    yield Finding(True, f"{path.name} of {before.seconds:.1f} s: denoised in {seconds:.1f} s")
    same = (after.sample_rate, after.samples.shape) == (before.sample_rate, before.samples.shape)
    yield Finding(same, f"{after.samples.shape[1]} of {before.samples.shape[1]} samples, at {after.sample_rate} Hz")
    less = noise_db(before.samples, before.sample_rate) - noise_db(after.samples, after.sample_rate)
    yield Finding(less >= LEAST_DB, f"noise {less:.0f} dB quieter between the words")


def noise_db(samples: Samples, sample_rate: int) -> float:
    """The level in dBFS below which a tenth of the frames of 50 ms lie: there, no more than the noise is heard.

    Args:
        samples: (channels, time), at least 50 ms.

    >>> noise_db(np.array([[*[0.5] * 9000, *[0.01] * 9000]]), 16_000)
    -40.0
    """
    mono = samples.mean(axis=0, dtype=np.float64)
    frame = sample_rate // 20
    power = np.mean(mono[: mono.size // frame * frame].reshape(-1, frame) ** 2, axis=1)
    return round(to_db(float(np.sqrt(np.quantile(power, 0.1)))), 1)


def _ended(server: subprocess.Popen[bytes]) -> tuple[bool, str]:
    began = time.monotonic()
    server.terminate()
    try:
        server.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        return False, f"it has not ended {END_SECONDS:g} s after SIGTERM"
    return True, f"ended {time.monotonic() - began:.1f} s after SIGTERM"


if __name__ == "__main__":
    main()
