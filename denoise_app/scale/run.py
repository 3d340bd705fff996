"""A batch: what is done already is left out, what becomes of the rest is written down, and how far it is is known."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from denoise_app.inference import batch

from . import pool
from .items import Item, endangered
from .manifest import Manifest, Row
from .work import Bench, Work, reason_of, scratch_of, swept

ENDING = ("disk-full",)  # reasons for which every other file would fail, too


@dataclass
class Tally:
    """How far a batch is.

    Attributes:
        files, bytes: Of all that is to be done.
        done, failed: Files so far.
        seconds: Of sound, so far.
        began: When, by time.monotonic().
    """

    files: int
    bytes: int
    done: int = 0
    failed: int = 0
    seconds: float = 0.0
    began: float = field(default_factory=time.monotonic)
    _bytes_done: int = 0
    _in_hand: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, items: Sequence[Item]) -> Tally:
        return cls(len(items), sum(item.size for item in items))

    def tell(self, item: Item, fraction: float) -> None:
        """A file is so far, 0 to 1."""
        self._in_hand[item.target] = fraction * item.size

    def count(self, item: Item, outcome: batch.Outcome) -> None:
        """A file is done, or has failed."""
        self._in_hand.pop(item.target, None)
        self._bytes_done += item.size
        self.done += outcome.error is None
        self.failed += outcome.error is not None
        self.seconds += outcome.seconds

    @property
    def fraction(self) -> float:
        """Of the bytes, 0 to 1; of the files where the bytes are not known."""
        if not self.bytes:
            return (self.done + self.failed) / max(1, self.files)
        return min(1.0, (self._bytes_done + sum(self._in_hand.values())) / self.bytes)

    def seconds_left(self, now: float | None = None) -> float | None:
        """By what was done until now; None before anything is."""
        fraction = self.fraction
        taken = (time.monotonic() if now is None else now) - self.began
        return taken * (1 - fraction) / fraction if fraction > 0 else None


@dataclass(frozen=True)
class Divided:
    """The files of a batch: what is to be done, and the rows of what stands."""

    todo: tuple[Item, ...]
    standing: int
    seconds: float


def divided(items: Sequence[Item], work: Work, manifest: Manifest | None, resume: bool) -> Divided:
    """What is left to do; nothing is left out without a manifest, or where it is not to be resumed."""
    todo: list[Item] = []
    count, seconds = 0, 0.0
    for item in items:
        row: Row | None = work.standing(item, manifest) if manifest is not None and resume else None
        if row is None:
            todo.append(item)
        else:
            count, seconds = count + 1, seconds + row.seconds
    return Divided(tuple(todo), count, seconds)


Engine = Callable[[Sequence[Item], Work, str, pool.OnProgress], pool.Outcomes]
"""Denoises items, told how their scratch folders are called and whom to tell how far each is."""


def in_processes(jobs: int) -> Engine:
    """Processes of this machine, side by side."""

    def engine(items: Sequence[Item], work: Work, scratch: str, on_progress: pool.OnProgress) -> pool.Outcomes:
        return pool.run(items, work, jobs, scratch, on_progress)

    return engine


def here(items: Sequence[Item], work: Work, scratch: str, on_progress: pool.OnProgress) -> pool.Outcomes:
    """This process, one file after the other."""
    bench = Bench(work, work.load(), endangered(items), scratch)
    for item in items:
        yield item, bench.attempt(item, lambda step, item=item: on_progress(item, step.fraction))  # type: ignore[misc]


def run(
    items: Sequence[Item],
    work: Work,
    engine: Engine,
    manifest: Manifest | None = None,
    on_progress: pool.OnProgress = pool.silent,
) -> pool.Outcomes:
    """Denoise items, and write a row for each into the manifest before it is told.

    It ends with a file for which the disk has no room, as none would have for the others; see ENDING.

    Raises:
        AudioError: the manifest cannot be written; and what the engine raises.
    """
    scratch = scratch_of(manifest.path if manifest else None)
    if manifest is not None:
        for folder in {item.job.target.parent for item in items if not item.out}:
            swept(folder, scratch)
    with closing(engine(items, work, scratch, on_progress)) as outcomes:
        for item, outcome in outcomes:
            if manifest is not None:
                manifest.add(work.row(item, outcome))
            yield item, outcome
            if outcome.error is not None and reason_of(outcome.error) in ENDING:
                return
