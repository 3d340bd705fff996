"""A batch on a Ray cluster: the same items, the same manifest, other processes on other machines.

Rows of the data set are files by their names, never their sound. Actors hold the denoiser; each row is a block of its
own, so that an outcome is known, and written into the manifest, as soon as it is there. What goes wrong with a file is
an outcome like others. Files whose actors or nodes died are tried once more, when all others are done: Ray's own
retries follow so quickly that a node's death is not known yet.
"""

from __future__ import annotations

import logging
import os
import pickle
import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from denoise_app.audio.errors import UserError
from denoise_app.denoiser import Denoiser
from denoise_app.inference import batch

from . import pool
from .errors import ScaleError
from .items import Item, endangered
from .run import Engine
from .work import Bench, Work, swept

T = TypeVar("T")

WAVE = 5_000  # files of one data set: the driver holds a block for each
IN_FLIGHT = (2, 1)  # files that an actor has, at the first and at another try: then none dies for its neighbour
PATIENCE = 3600.0  # s without an outcome: an hour-long file takes minutes, a cluster that starts machines some more
CONNECT_SECONDS = 60.0


class Actor:
    """A process of the cluster with the denoiser, which is loaded once.

    Args:
        work, inputs, scratch: As `Bench` has them.
    """

    def __init__(self, work: Work, inputs: frozenset[batch.Place], scratch: str) -> None:
        self._bench: Bench | None = None
        self._problem: UserError | None = None
        try:
            denoiser: Denoiser = work.load()
            self._bench = Bench(work, denoiser, inputs, scratch)
        except UserError as error:  # told with the first row: Ray would start the actor again and again
            self._problem = error

    def __call__(self, rows: dict[str, Any]) -> dict[str, list[Any]]:
        """Outcomes of files, both pickled."""
        outcomes = [self._problem or self._outcome(pickle.loads(item)) for item in rows["item"]]
        return {"number": list(rows["number"]), "outcome": [pickle.dumps(each) for each in outcomes]}

    def _outcome(self, item: Item) -> batch.Outcome:
        assert self._bench is not None
        return self._bench.attempt(item)


def on_cluster(address: str | None = None, actors: int | None = None, patience: float = PATIENCE) -> Engine:
    """Actors on a Ray cluster. Inputs and results lie where all of its nodes see them by the same names.

    Args:
        address: Of a cluster that is there, as "auto" or "host:6379"; None starts one on this machine.
        actors: The most at a time; None for one on each processor.
        patience: Seconds without an outcome, after which the batch ends; what is done is kept.

    The engine raises:
        ScaleError: "no-ray", "cluster-fails", "cluster-silent".
        UserError: the denoiser cannot be loaded.
    """

    def engine(items: Sequence[Item], work: Work, scratch: str, on_progress: pool.OnProgress) -> pool.Outcomes:
        ray = _ray()
        own = not ray.is_initialized()
        try:
            if own:
                _connect(ray, address, actors)
            count = actors or max(1, int(ray.cluster_resources().get("CPU", 1)))
            inputs = endangered(items)
            for start in range(0, len(items), WAVE):
                wave = items[start : start + WAVE]
                for flight in IN_FLIGHT:
                    found = _outcomes(ray, wave, (work, inputs, scratch), min(count, len(wave)), flight)
                    wave = yield from _matched(wave, _within_patience(found, patience, len(wave)))
                for item in wave:
                    yield item, pool.lost(item, "with its actor or its node")
        finally:
            for folder in {Path(item.target).parent for item in items if not item.out}:
                swept(folder, scratch)
            if own:
                ray.shutdown()

    return engine


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")  # a thread that comes late starts no cluster
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ScaleError.of("no-ray") from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # how far it is, the batch tells itself
    return ray


def _connect(ray: Any, address: str | None, actors: int | None) -> None:
    """Joins a cluster, or starts one; Ray itself may wait for a head that never answers."""
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error", "configure_logging": False}
    try:
        if address is None:  # not in a thread: the system ends processes with the thread that started them
            ray.init(**options, include_dashboard=False, num_cpus=actors)
        else:
            _within(CONNECT_SECONDS, lambda: ray.init(**options, address=address))
    except queue.Empty as error:
        raise ScaleError.of("cluster-silent", seconds=f"{CONNECT_SECONDS:g}", left="all") from error
    except Exception as error:
        raise _failed(error) from error


def _within(seconds: float, call: Callable[[], T]) -> T:
    """What a call returns or raises; queue.Empty where it takes longer."""
    answers: queue.SimpleQueue[tuple[T | None, Exception | None]] = queue.SimpleQueue()

    def answer() -> None:
        try:
            answers.put((call(), None))
        except Exception as error:
            answers.put((None, error))

    threading.Thread(target=answer, name="ray-connect", daemon=True).start()
    value, error = answers.get(timeout=seconds)
    if error is not None:
        raise error
    return value  # type: ignore[return-value]


def _outcomes(
    ray: Any, items: Sequence[Item], about: tuple[Any, ...], actors: int, flight: int
) -> Iterator[tuple[int, batch.Outcome | UserError]]:
    """The number and the outcome of each file, as they come; of files whose actors died nothing comes."""
    if not items:
        return
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1  # a block is a file
    rows = [{"number": number, "item": pickle.dumps(_anywhere(item))} for number, item in enumerate(items)]
    data = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        Actor,
        fn_constructor_args=about,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors, max_tasks_in_flight_per_actor=flight),
        num_cpus=1,
        max_restarts=-1,
        max_task_retries=0,
    )
    for found in data.iter_batches(batch_size=1, prefetch_batches=0):
        yield int(found["number"][0]), pickle.loads(found["outcome"][0])


def _anywhere(item: Item) -> Item:
    """The same by names that hold in every working folder."""
    target = item.job.target if item.out else Path(item.target)
    source = item.job.source if item.is_remote else Path(item.path)
    return replace(item, job=replace(item.job, source=source, target=target))


def _within_patience(found: Iterator[T], patience: float, left: int) -> Iterator[T]:
    """The same, from a thread that is not waited for when it falls silent."""
    arrived: queue.SimpleQueue[tuple[T | None, Exception | None]] = queue.SimpleQueue()

    def listen() -> None:
        try:
            for each in found:
                arrived.put((each, None))
            arrived.put((None, None))
        except Exception as error:
            arrived.put((None, error))

    threading.Thread(target=listen, name="ray-outcomes", daemon=True).start()
    count = 0
    while True:
        try:
            each, error = arrived.get(timeout=patience)
        except queue.Empty:
            raise ScaleError.of("cluster-silent", seconds=f"{patience:g}", left=left - count) from None
        if error is not None:
            raise _failed(error) from error
        if each is None:
            return
        count += 1
        yield each


def _matched(
    items: Sequence[Item], found: Iterator[tuple[int, batch.Outcome | UserError]]
) -> Generator[tuple[Item, batch.Outcome], None, list[Item]]:
    """The items with their outcomes; returns those of which nothing came."""
    missing = dict(enumerate(items))
    for number, outcome in found:
        if isinstance(outcome, UserError):
            raise outcome
        if (item := missing.pop(number, None)) is not None:
            yield item, replace(outcome, job=item.job)
    return list(missing.values())


def _failed(error: Exception) -> UserError:
    """What to tell of an error of Ray's, whose messages hold whole traces."""
    if isinstance(error, UserError):
        return error
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    problem = lines[0][:200].rstrip(".") if lines else type(error).__name__
    return ScaleError.of("cluster-fails", problem=problem)
