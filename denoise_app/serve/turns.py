"""Turns at computing: long work and short work share the processors block by block, and who had least comes first."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

LISTEN = 0.25  # s after which who waits asks whether to go on waiting
CREDIT = 5.0  # s of computing by which who comes anew is ahead of long work: a short recording takes less


class Gone(Exception):
    """Whoever waited for a turn need not have it any more."""


@dataclass(frozen=True)
class Place:
    """Where somebody stands who waits.

    Attributes:
        ahead: How many come before.
        seconds: How long that takes, by the turns of late.
    """

    ahead: int
    seconds: float


class Turn:
    """A right to compute, which is handed on between two blocks of work."""

    def __init__(self, turns: Turns, client: str, number: int) -> None:
        self._turns, self.client, self.number = turns, client, number
        self.since: float | None = None  # s, while it is held
        self.had = 0.0  # s, until it was handed on last

    def hand_on(self, gone: Callable[[], bool] = lambda: False) -> None:
        """Lets others compute first, where somebody waits who had less; comes back when it is one's turn again.

        Raises:
            Gone: `gone` said so while it waited.
        """
        self._turns._hand_on(self, gone)


class Turns:
    """So many compute at once; the next is whose client was served least, of one client's what was served least.

    A client that comes anew counts as served CREDIT less than the least served who is there: short work comes first,
    but nobody saves up turns, and long work goes on however many come after it (start-time fair queueing, Goyal et al.
    1996, with equal weights).

    Args:
        places: How many compute at once.
        clock: Tells s.
    """

    def __init__(self, places: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.places, self._clock = places, clock
        self._changed = threading.Condition()
        self._waiting: list[Turn] = []
        self._held: list[Turn] = []
        self._present: dict[str, int] = {}  # client -> turns that it holds or waits for
        self._served: dict[str, float] = {}  # client -> s, beginning at the floor
        self._floor = 0.0  # what the least served who was there had when last somebody came
        self._usual = 1.0  # s, of one block of late
        self._count = 0
        self._mine = threading.local()

    @contextmanager
    def taken(
        self,
        client: str,
        gone: Callable[[], bool] = lambda: False,
        on_wait: Callable[[Place], None] = lambda place: None,
    ) -> Iterator[Turn]:
        """Waits for a turn of a client's; within it, one may compute. Within another turn it is that one.

        Args:
            gone: Asked while it waits.
            on_wait: Told the place in the line while it waits.

        Raises:
            Gone: `gone` said so while it waited.
        """
        mine: Turn | None = getattr(self._mine, "turn", None)
        if mine is not None:
            yield mine
            return
        turn = self._enter(client)
        try:
            self._wait(turn, gone, on_wait)
            self._mine.turn = turn
            try:
                yield turn
            finally:
                self._mine.turn = None
                self._release(turn)
        finally:
            self._leave(turn)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def held(self) -> int:
        """How many compute."""
        return len(self._held)

    def _enter(self, client: str) -> Turn:
        with self._changed:
            self._count += 1
            now = self._clock()
            self._floor = max(self._floor, min((self._had(known, now) for known in self._present), default=0.0))
            if client not in self._present:
                self._served[client] = max(self._served.get(client, -CREDIT), self._floor - CREDIT)
            self._present[client] = self._present.get(client, 0) + 1
            return Turn(self, client, self._count)

    def _leave(self, turn: Turn) -> None:
        with self._changed:
            self._present[turn.client] -= 1
            if not self._present[turn.client]:
                del self._present[turn.client]
            # what a client had is remembered until others have had as much
            self._served = {
                name: had for name, had in self._served.items() if name in self._present or had > self._floor - CREDIT
            }

    def _wait(self, turn: Turn, gone: Callable[[], bool], on_wait: Callable[[Place], None]) -> None:
        with self._changed:
            self._waiting.append(turn)
            self._changed.notify_all()
            place: Place | None = None
            while len(self._held) >= self.places or self._line()[0] is not turn:
                if gone():
                    self._waiting.remove(turn)
                    self._changed.notify_all()
                    raise Gone
                if (now := self._place(turn)) != place:
                    on_wait(place := now)
                self._changed.wait(LISTEN)
            self._waiting.remove(turn)
            self._held.append(turn)
            turn.since = self._clock()
            self._changed.notify_all()  # there may be room for the next one, too

    def _release(self, turn: Turn) -> None:
        with self._changed:
            if turn.since is None:  # it was lost while it waited
                return
            took = self._clock() - turn.since
            self._served[turn.client] += took
            turn.had += took
            self._usual += 0.2 * (took - self._usual)
            self._held.remove(turn)
            turn.since = None
            self._changed.notify_all()

    def _hand_on(self, turn: Turn, gone: Callable[[], bool]) -> None:
        with self._changed:
            now = self._clock()
            if not any(self._rank(other, now) < self._rank(turn, now) for other in self._waiting):
                return
        self._release(turn)
        self._wait(turn, gone, lambda place: None)  # it has begun: how far it is tells more

    def _had(self, client: str, now: float) -> float:
        """Seconds that a client was served until now, beginning at the floor."""
        held = (now - turn.since for turn in self._held if turn.client == client and turn.since is not None)
        return self._served[client] + sum(held)

    def _line(self) -> list[Turn]:
        now = self._clock()
        return sorted(self._waiting, key=lambda turn: (*self._rank(turn, now), turn.number))

    def _rank(self, turn: Turn, now: float) -> tuple[float, float]:
        """The lower, the sooner: what its client had, and what it had itself."""
        return self._had(turn.client, now), turn.had + (0.0 if turn.since is None else now - turn.since)

    def _place(self, turn: Turn) -> Place:
        ahead = self._line().index(turn)
        return Place(ahead, round((ahead + 1) * self._usual / self.places, 1))
