"""Files denoised by processes side by side; one that is killed is replaced, and its file tried once more."""

from __future__ import annotations

import multiprocessing
import secrets
import signal
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType
from typing import Any

from denoise_app.audio.errors import UserError
from denoise_app.inference import batch
from denoise_app.inference.progress import Progress

from .errors import ScaleError
from .items import Item, endangered
from .work import Bench, Work, swept

TRIES = 2  # of a file whose process is killed
FALSE_STARTS = 3  # processes that end before they can begin
TELL_SECONDS = 0.5  # between two reports on one file
END_SECONDS = 5.0  # for a process to tidy up before it is killed

OnProgress = Callable[[Item, float], None]
"""Called with how much of a file is done, 0 to 1."""

Outcomes = Generator[tuple[Item, batch.Outcome], None, None]


def silent(item: Item, fraction: float) -> None:
    """Tells nobody."""


@dataclass
class _Hand:
    """A process, how its scratch folders are called, and the file that it has in hand."""

    process: SpawnProcess
    scratch: str
    item: Item | None = None


def run(
    items: Sequence[Item],
    work: Work,
    jobs: int,
    scratch: str = batch.SCRATCH,
    on_progress: OnProgress = silent,
) -> Outcomes:
    """Denoise files by so many processes; what is done first comes first. Each process loads the denoiser once.

    Each computes with as many threads as the environment says. Once the iterator is closed they have ended, and left
    nothing of what they had in hand.

    Raises:
        UserError: the denoiser cannot be loaded.
        ScaleError: "workers-fail".
    """
    waiting = deque(items)
    killed, false_starts = Counter[str](), 0
    with closing(_Crew(work, endangered(items), scratch)) as crew:
        for _ in range(min(jobs, len(waiting))):
            crew.hire()
        while crew.hands:
            for pipe in wait(list(crew.hands)):
                assert isinstance(pipe, Connection)
                hand, item = crew.hands[pipe], crew.hands[pipe].item
                try:
                    message = pipe.recv()
                except (EOFError, OSError):
                    status = crew.dismiss(pipe)
                    if item is None:
                        false_starts += 1
                        if false_starts >= FALSE_STARTS:
                            raise ScaleError.of("workers-fail", status=status) from None
                    else:
                        killed[item.target] += 1
                        if killed[item.target] < TRIES:
                            waiting.appendleft(item)
                        else:
                            yield item, lost(item, status)
                    if waiting:
                        crew.hire()
                    continue
                if isinstance(message, UserError):
                    raise message
                if isinstance(message, float):
                    assert item is not None
                    on_progress(item, message)
                    continue
                if isinstance(message, batch.Outcome):
                    assert item is not None
                    hand.item = None
                    yield item, message
                if not waiting:
                    crew.dismiss(pipe)
                    continue
                hand.item = waiting.popleft()
                with suppress(OSError):  # it has just died, which is read next
                    pipe.send(hand.item)


def lost(item: Item, status: str) -> batch.Outcome:
    """The outcome of a file that has taken TRIES processes with it."""
    error = ScaleError.of("worker-lost", name=str(item.job.source), status=status)
    return batch.Outcome(item.job, None, error, 0.0, 0.0)


class _Crew:
    """The processes at work, by the parent's ends of their pipes."""

    def __init__(self, work: Work, inputs: frozenset[batch.Place], scratch: str) -> None:
        self._about = work, inputs
        self._scratch = scratch
        self._context = multiprocessing.get_context("spawn")
        self.hands: dict[Connection, _Hand] = {}

    def hire(self) -> None:
        ours, theirs = self._context.Pipe()
        scratch = f"{self._scratch}{secrets.token_hex(4)}-"
        process = self._context.Process(target=_work, args=(theirs, *self._about, scratch), daemon=True)
        process.start()
        theirs.close()  # the process has its own end: when it dies, ours comes to its end
        self.hands[ours] = _Hand(process, scratch)

    def dismiss(self, pipe: Connection) -> str:
        """Ends a process, which may be dead already; returns how it ended, for people."""
        hand = self.hands.pop(pipe)
        pipe.close()
        hand.process.join(END_SECONDS)
        if hand.process.is_alive():
            hand.process.kill()
            hand.process.join()
        code = hand.process.exitcode or 0
        if code and hand.item is not None:
            for folder in (hand.item.job.target.parent, Path(tempfile.gettempdir())):
                swept(folder, hand.scratch)
        hand.process.close()
        return f"signal {-code}" if code < 0 else f"status {code}"

    def close(self) -> None:
        for hand in self.hands.values():
            hand.process.terminate()
        for pipe in list(self.hands):
            self.dismiss(pipe)


def _work(pipe: Connection, work: Work, inputs: frozenset[batch.Place], scratch: str) -> None:
    """A process: says that it is ready, then denoises what it is given until nobody gives anything more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent ends this one
    signal.signal(signal.SIGTERM, _leave)
    with suppress(EOFError, OSError):  # the parent is gone
        try:
            bench = Bench(work, work.load(), inputs, scratch)
        except UserError as error:
            pipe.send(error)
            return
        pipe.send(None)
        while True:
            pipe.send(bench.attempt(pipe.recv(), _Teller(pipe)))


def _leave(number: int, frame: FrameType | None) -> Any:
    raise SystemExit(128 + number)  # through every `finally`


class _Teller:
    """Tells how much of one file is done, now and then."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._reported = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        if time.monotonic() - self._reported >= TELL_SECONDS:
            self._reported = time.monotonic()
            self._pipe.send(float(progress.fraction))
