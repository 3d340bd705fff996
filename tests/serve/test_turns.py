"""Who computes next: by what each was served, on a clock of the test's own."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from denoise_app.serve.turns import CREDIT, Gone, Place, Turns


class Clock:
    """Shows what it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1e-6  # as between any two looks at a clock
        return self.now


def until(holds: Callable[[], bool]) -> None:
    """Waits for other threads."""
    for _ in range(5000):
        if holds():
            return
        threading.Event().wait(0.002)
    raise AssertionError("it never came to that")


class Work:
    """Work of so many blocks, each of which takes a second of the clock and leaves its name in the order of service."""

    def __init__(self, turns: Turns, clock: Clock, order: list[str], name: str, blocks: int) -> None:
        self.name, self.stop = name, threading.Event()
        self.places: list[Place] = []
        self._given = turns, clock, order, blocks
        self.lost = False
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        turns, clock, order, blocks = self._given
        try:
            with turns.taken(self.name, self.stop.is_set, self.places.append) as turn:
                for _ in range(blocks):
                    order.append(self.name)
                    clock.now += 1
                    turn.hand_on(self.stop.is_set)
        except Gone:
            self.lost = True


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def turns(clock: Clock) -> Turns:
    return Turns(1, clock)


def served(turns: Turns, clock: Clock, *works: tuple[str, int], before: float = 0.0) -> list[str]:
    """The order in which blocks are done of work that waits, in the order given, when the place becomes free."""
    order: list[str] = []
    with turns.taken("first"):
        clock.now += before
        waiting = []
        for count, (name, blocks) in enumerate(works, 1):
            waiting.append(Work(turns, clock, order, name, blocks))
            waiting[-1].thread.start()
            until(lambda count=count: turns.waiting == count)
    for work in waiting:
        work.thread.join(20)
        assert not work.thread.is_alive()
    return order


def test_long_and_short_work_take_turns_block_by_block(turns: Turns, clock: Clock) -> None:
    order = served(turns, clock, ("long", 12), ("short", 2), ("other", 2))
    assert order[:3] == ["long", "short", "other"] and sorted(order[:6]) == sorted(2 * order[:3])
    assert order[6:] == ["long"] * 10


def test_one_client_with_much_work_gets_no_more_than_another(turns: Turns, clock: Clock) -> None:
    order = served(turns, clock, *[("many", 4)] * 5, ("one", 4))
    assert order.index("one") <= 1
    assert order[:8].count("one") == 4


def test_a_short_recording_that_comes_late_is_done_before_long_work_goes_on(turns: Turns, clock: Clock) -> None:
    order: list[str] = []
    short = Work(turns, clock, order, "short", int(CREDIT) - 1)
    with turns.taken("long") as turn:
        clock.now += 1000
        short.thread.start()
        until(lambda: turns.waiting == 1)
        turn.hand_on()
        order.append("long")
    short.thread.join(20)
    assert order == ["short"] * (int(CREDIT) - 1) + ["long"]


def test_short_work_of_the_same_client_does_not_wait_for_its_long_work(turns: Turns, clock: Clock) -> None:
    order: list[str] = []
    short = Work(turns, clock, order, "one", 2)
    with turns.taken("one") as turn:
        clock.now += 100
        short.thread.start()
        until(lambda: turns.waiting == 1)
        turn.hand_on()
        order.append("long")
    short.thread.join(20)
    assert order == ["one", "one", "long"]


def test_whoever_comes_late_is_not_owed_what_others_had_before(turns: Turns, clock: Clock) -> None:
    order: list[str] = []
    late = Work(turns, clock, order, "late", 40)
    with turns.taken("long") as turn:
        clock.now += 1000
        late.thread.start()
        until(lambda: turns.waiting == 1)
        for _ in range(20):
            turn.hand_on()
            order.append("long")
            clock.now += 1
    late.thread.join(20)
    assert order[: int(CREDIT) + 2].count("long") <= 2
    shared = order[int(CREDIT) + 1 : 30]
    assert abs(shared.count("long") - shared.count("late")) <= 2


def test_as_many_compute_at_once_as_there_are_places(clock: Clock) -> None:
    turns = Turns(3, clock)
    go = threading.Event()
    inside: list[int] = []

    def work(k: int) -> None:
        with turns.taken(f"client {k}"):
            inside.append(k)
            go.wait(20)

    threads = [threading.Thread(target=work, args=(k,), daemon=True) for k in range(5)]
    for thread in threads:
        thread.start()
    until(lambda: len(inside) == 3 and turns.waiting == 2)
    go.set()
    for thread in threads:
        thread.join(20)
    assert sorted(inside) == [0, 1, 2, 3, 4] and turns.waiting == 0


def test_who_waits_is_told_its_place(turns: Turns, clock: Clock) -> None:
    order: list[str] = []
    works = [Work(turns, clock, order, name, 1) for name in ("a", "b")]
    with turns.taken("first"):
        for count, work in enumerate(works, 1):
            work.thread.start()
            until(lambda count=count: turns.waiting == count)
        until(lambda: all(work.places for work in works))
        assert works[0].places[-1].ahead == 0 and works[1].places[-1].ahead == 1
        assert works[1].places[-1].seconds > works[0].places[-1].seconds > 0
    for work in works:
        work.thread.join(20)


def test_who_leaves_the_line_takes_no_turn_and_blocks_nobody(turns: Turns, clock: Clock) -> None:
    order: list[str] = []
    gone, stays = (Work(turns, clock, order, name, 1) for name in ("gone", "stays"))
    with turns.taken("first"):
        gone.thread.start()
        stays.thread.start()
        until(lambda: turns.waiting == 2)
        gone.stop.set()
        gone.thread.join(20)
        assert gone.lost and turns.waiting == 1
    stays.thread.join(20)
    assert order == ["stays"]
    with turns.taken("next"):  # the place is free, once
        assert turns.waiting == 0


def test_who_is_stopped_while_others_have_its_turn_gives_it_up(turns: Turns, clock: Clock) -> None:
    order: list[str] = []
    with pytest.raises(Gone), turns.taken("long") as turn:
        clock.now += 100
        other = Work(turns, clock, order, "other", 1)
        other.thread.start()
        until(lambda: turns.waiting == 1)
        turn.hand_on(lambda: True)
    other.thread.join(20)
    assert order == ["other"]
    with turns.taken("next"):
        assert turns.waiting == 0


def test_work_within_work_of_the_same_thread_waits_for_nobody(turns: Turns) -> None:
    with turns.taken("one") as outer, turns.taken("one") as inner:
        assert inner is outer
    with turns.taken("other"):
        assert turns.waiting == 0
