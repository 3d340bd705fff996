"""Many runs from one TOML file, each in a process of its own: what is finished is skipped, what is begun goes on.

The top of a plan is what all its runs share, as a file for one run has it; every [[run]] adds its own. A run is called
<model>/<loss> where it has no `name`; several losses in a list make a run of each, alike in all else. `init` may name
an earlier run of the plan.
"""

from __future__ import annotations

import multiprocessing
import re
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from denoise_app.audio.errors import UserError
from denoise_app.checkpoints.manifest import SLUG

from .config import Table, TrainConfig, TrainingError, merged, parse, read_table
from .distributed import Ranks, launched
from .loop import interruptible, load_corpora, train
from .run import STATE, Outcome, Run, standing
from .start import check, sized
from .validation import Validator

NAME = re.compile(f"({SLUG.pattern})/({SLUG.pattern})")
CHECK_SECONDS = 1.0  # between looks at whether somebody interrupted

Say = Callable[[str], None]


@dataclass(frozen=True)
class Planned:
    """A run of a plan.

    Attributes:
        name: <model>/<loss>, or the plan's own name for it; its folder in that of the plan.
        config: What it does.
        after: The run that it starts from, None where it waits for none.
    """

    name: str
    config: TrainConfig
    after: Planned | None = None


@dataclass(frozen=True)
class Ended:
    """What became of a run: how far it came, None where it never began; and what went wrong, if anything."""

    name: str
    outcome: Outcome | None = None
    error: str | None = None

    @property
    def finished(self) -> bool:
        return self.outcome is not None and self.outcome.finished


def read(path: Path, above: Table) -> list[Planned]:
    """The runs of a plan, in its order.

    Args:
        path: The file.
        above: What goes before everything in it: the command line.

    Raises:
        TrainingError: anything in it that cannot be done, by the place where it stands.
    """
    shared = read_table(path)
    entries = shared.pop("run", [])
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise TrainingError(f"{path} is not a plan: it has no [[run]]")
    found: dict[str, Planned] = {}
    for number, entry in enumerate(entries, 1):
        if entry.get("loss") == []:
            raise TrainingError(f"{path}, run {number}: the list of losses is empty")
        for own in _each_loss(entry):
            own_name = own.pop("name", None)
            table = merged(merged(shared, own), above)
            name = own_name or f"{table.get('model')}/{table.get('loss')}"
            try:
                found[name] = _planned(name, table, found)
            except TrainingError as error:
                raise TrainingError(f"{path}, run {number}, {name}: {error}") from error
    return list(found.values())


def _each_loss(entry: Table) -> Iterator[dict[str, Any]]:
    losses = entry.get("loss")
    for loss in losses if isinstance(losses, list) else [losses]:
        yield {**entry} if loss is None else {**entry, "loss": loss}


def _planned(name: Any, table: Table, found: dict[str, Planned]) -> Planned:
    config = parse(table)
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise TrainingError("a name is like gru/hybrid: lower-case letters, digits and hyphens on both sides")
    if name in found:
        raise TrainingError("there is an earlier run of that name; give this one a `name`")
    after = found.get(config.init.as_posix()) if config.init else None
    config = replace(config, out=config.out / name, init=after.config.out if after else config.init)
    before = after.config if after else None
    check(sized(config, before), before)
    return Planned(name, config, after)


def train_all(planned: Sequence[Planned], jobs: int, say: Say) -> list[Ended]:
    """Train what is not finished, in order, `jobs` runs side by side; a run that fails stops only those after it.

    Args:
        planned: From `read`.
        jobs: Processes at a time; each has the thread count of its environment.
        say: Receives lines of text, from the processes too; so it must be a function of a module.

    Raises:
        TrainingError: the sound of a run cannot be used, or its folder holds another run; nothing has begun then.
    """
    if launched() > 1:
        raise TrainingError("a plan starts its own processes: use --jobs in place of torchrun")
    _check_sound(planned, say)
    before = [Ended(each.name, standing(each.config)) for each in planned]
    ended = {end.name: end for end in before if end.finished}
    say(f"{len(planned)} runs, of which {len(ended)} are finished")
    waiting = [each for each in planned if each.name not in ended]
    running: dict[Connection, tuple[Planned, SpawnProcess]] = {}
    stopping = False
    with interruptible() as stopped:
        while running or (waiting and not stopped.is_set()):
            if stopped.is_set() and not stopping:
                stopping = True
                for _, process in running.values():
                    process.terminate()  # it saves its state and ends
            while not stopping and len(running) < jobs and (each := _next(waiting, ended)):
                say(f"{each.name}: begins, {len(waiting)} more wait")
                running.update([_start(each, say)])
            for receiver in _ended(running):
                name = running[receiver][0].name
                ended[name] = _end(receiver, *running.pop(receiver))
                say(f"{name}: {_words(ended[name])}")
    return [ended.get(each.name, Ended(each.name)) for each in planned]


def _check_sound(planned: Sequence[Planned], say: Say) -> None:
    """Decode, and read the validation pairs, once for all runs with the same data."""
    seen = set()
    for config in (each.config for each in planned):
        rate = Run(config, Ranks()).sample_rate
        data = (config.clean, config.noise, config.rir, config.cache, config.valid_clean, config.valid_noisy, rate)
        if data not in seen:
            seen.add(data)
            load_corpora(config, rate, say)
            if config.valid_clean:
                Validator.load(config, rate, say)


def _ended(running: Iterable[Connection]) -> list[Connection]:
    """Connections of the processes that have ended, after CHECK_SECONDS at most."""
    ready = wait(list(running), CHECK_SECONDS)
    return [receiver for receiver in running if receiver in ready]


def _next(waiting: list[Planned], ended: dict[str, Ended]) -> Planned | None:
    """Take the first run that waits for none out of the list; end those on the way whose start has failed."""
    for each in list(waiting):
        start = ended.get(each.after.name) if each.after else None
        if start and not start.finished:
            waiting.remove(each)
            ended[each.name] = Ended(each.name, error=f"not begun, since {start.name} failed")
        elif start or not each.after:
            waiting.remove(each)
            return each
    return None


def _start(each: Planned, say: Say) -> tuple[Connection, tuple[Planned, SpawnProcess]]:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(each, say, sender), name=each.name, daemon=True)
    with _interrupts_ignored():
        process.start()
    sender.close()  # the process has its own end: when it dies, the receiver sees the end of the pipe
    return receiver, (each, process)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ignore SIGINT here, and for good in a process that is started meanwhile.

    The parent stops that process by SIGTERM, so that it saves once and is not killed while it still imports.
    """
    if threading.current_thread() is not threading.main_thread():  # only that one may set handlers
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _work(each: Planned, say: Say, sender: Connection) -> None:
    """A run's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    config = replace(each.config, resume=(each.config.out / STATE).exists())
    try:
        outcome = train(config, say=lambda line: say(f"{each.name}: {line}"))
        sender.send(Ended(each.name, outcome))
    except (TrainingError, UserError, OSError) as error:
        sender.send(Ended(each.name, error=str(error)))


def _end(receiver: Connection, each: Planned, process: SpawnProcess) -> Ended:
    """The result of a process that has ended; one that was stopped before its imports were done has sent none."""
    try:
        end: Ended = receiver.recv()
    except EOFError:
        end = Ended(each.name)
    process.join()
    if end.outcome or end.error or process.exitcode == -signal.SIGTERM:
        return end
    return Ended(each.name, error=f"its process ended unexpectedly (status {process.exitcode})")


def _words(end: Ended) -> str:
    if end.error:
        return f"failed: {end.error}"
    if end.outcome is None or not end.finished:
        return "interrupted; the same command goes on"
    score = "" if end.outcome.score is None else f", score {end.outcome.score:.3f}"
    return f"finished after {end.outcome.steps} steps and {end.outcome.minutes:.0f} minutes{score}"
