"""Long work in a thread, followed from a generator: the page is told how far it is, and a cancel stops it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import copy_context
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from denoise_app.inference.engine import Cancelled, Progress
from denoise_app.serve.turns import Gone, Place

from .session import Job
from .worker import Closing, Worker

T = TypeVar("T")

PAUSE = 0.2  # s between two reports to the page: as often as anybody can read a number

Stage = Literal["loading", "preview", "separate", "measure", "render"]


@dataclass(frozen=True)
class Step:
    """Where the work is; without `progress` it has just come to this stage, with a place it waits for its turn."""

    stage: Stage
    progress: Progress | Place | None = None


class Background(Generic[T]):
    """Runs `work` when it is iterated over; yields how far it is, then has its result.

    Args:
        worker: Counts it as work under way, and stops it when the program ends.
        work: Given what to tell progress to and what to ask whether to stop, as the engine takes them.
        job: Told to stop when whoever iterates goes away.
    """

    def __init__(
        self, worker: Worker, work: Callable[[Callable[[Progress], None], Callable[[], bool]], T], job: Job
    ) -> None:
        self._worker = worker
        self._work = work
        self._job = job
        self._reports: queue.SimpleQueue[Progress | Place | None] = queue.SimpleQueue()
        self._outcome: list[T] = []
        self._error: BaseException | None = None

    def __iter__(self) -> Iterator[Progress | Place]:
        """Raises what the work raises; Cancelled where the job was stopped before its turn came, Closing where the
        program ends first."""
        within = copy_context()  # whose request it is, by which hosts that lend GPUs know the visitor
        thread = threading.Thread(target=within.run, args=(self._run,), name="denoise", daemon=True)
        thread.start()
        reported = 0.0
        try:
            while (report := self._reports.get()) is not None:
                if time.monotonic() - reported >= PAUSE:
                    reported = time.monotonic()
                    yield report
        except GeneratorExit:
            self._job.stop()
            raise
        thread.join()
        if self._error is not None:
            raise self._error

    @property
    def result(self) -> T:
        """What the work returned, once the iteration is over."""
        return self._outcome[0]

    def _run(self) -> None:
        def gone() -> bool:
            return self._job.stopped or self._worker.closing

        def in_vain() -> bool:
            return gone() or (self._worker.ending and not self._job.begun)

        try:
            with self._worker.at_work(self._job.client, in_vain, self._reports.put) as turn:
                self._job.begun = True

                def stopped() -> bool:
                    """Asked between blocks of work, which is when others get their turn."""
                    turn.hand_on(gone)
                    return gone()

                self._outcome.append(self._work(self._reports.put, stopped))
        except (Gone, Cancelled):
            ended = Closing.of("closing-begun" if self._job.begun else "closing")
            self._error = ended if self._worker.ending and not self._job.stopped else Cancelled()
        except BaseException as error:
            self._error = error
        finally:
            self._reports.put(None)
