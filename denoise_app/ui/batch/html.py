"""What the Batch tab says: pure functions from a batch to HTML."""

from __future__ import annotations

from markupsafe import Markup

from denoise_app.audio.names import printable
from denoise_app.scale.archive import megabytes
from denoise_app.scale.items import Item
from denoise_app.ui.parts import numbers
from denoise_app.ui.parts.markup import (
    decoration,
    head,
    hidden_text,
    hint,
    missing,
    region,
    row,
    row_head,
    table,
    tag,
    titled,
    working,
)
from denoise_app.ui.parts.orders import queued
from denoise_app.ui.parts.problems import explained
from denoise_app.ui.parts.recording import notes
from denoise_app.ui.texts import Say

from .work import Batch, Done, Step

COLUMNS = ("state", "length", "snr", "notes")


def progress(say: Say, step: Step) -> Markup:
    """How many files are done, and how long the others take."""
    if step.place is not None:
        return queued(say, step.place)
    tally = step.tally
    left = tally.seconds_left()
    parts = [say("batch.heard", time=numbers.clock(tally.seconds))]
    parts += [say("run.left", time=numbers.duration(left))] if left is not None else []
    stage = say("batch.running", number=tally.done + tally.failed, count=tally.files)
    return working(say, stage, tally.fraction, parts, say("batch.keeps"))


def chosen(say: Say, count: int, size: int) -> Markup:
    """What was uploaded."""
    return hint(say("batch.chosen", count=count, size=megabytes(size)))


def heading(say: Say, made: Batch) -> Markup:
    """How many files there are, how large, and what was left out."""
    size = megabytes(sum(item.size for item in made.items))
    failed = sum(done.outcome.error is not None for done in made.done.values())
    facts = say("batch.facts", done=len(made.done) - failed, failed=failed, left=unfinished(made), size=size)
    kinds = ", ".join(f"{kind} {count}" for kind, count in made.passed_over.items())
    over = hint(say("batch.passed-over", kinds=kinds)) if kinds else Markup()
    return titled(say("batch.result"), facts) + over


def rows(say: Say, made: Batch) -> Markup:
    """A row for each file."""
    heads = [head(say("batch.file")), *(head(say(f"batch.{column}")) for column in COLUMNS)]
    lines = [_row(say, made, number, item) for number, item in enumerate(made.items)]
    return region(say("batch.table"), table(heads, lines, say("batch.table")), "files")


def _row(say: Say, made: Batch, number: int, item: Item) -> Markup:
    done = made.done.get(item.target)
    name = printable(made.name(item))
    play = Markup()
    if done is not None and done.outcome.output is not None:
        play = tag(
            "button",
            decoration("▶"),
            hidden_text(say("batch.play", name=name)),
            type="button",
            class_="play",
            data_row=number,
        )
    cells = (_state(say, made, item, done), _length(say, done), _snr(say, done), _notes(say, done))
    named = [say(f"batch.{column}") for column in COLUMNS]
    return row(
        row_head(tag("span", play, tag("span", name), class_="named")),
        *(tag("td", cell, data_head=title) for cell, title in zip(cells, named, strict=True)),
    )


def unfinished(made: Batch) -> int:
    """Files that are neither done nor have failed."""
    return sum(state(made, item) in ("waiting", "running") for item in made.items)


def state(made: Batch, item: Item) -> str:
    """Of "done", "failed", "running", "waiting"."""
    done = made.done.get(item.target)
    if done is None:
        return "running" if made.current == item.target else "waiting"
    return "failed" if done.outcome.error else "done"


def _state(say: Say, made: Batch, item: Item, done: Done | None) -> Markup:
    word = state(made, item)
    why = explained(say, done.outcome.error) if done is not None and done.outcome.error else ""
    return tag("span", say(f"batch.state.{word}"), class_=f"state {word}") + (tag("p", why) if why else Markup())


def _length(say: Say, done: Done | None) -> Markup | str:
    if done is None or done.outcome.error:
        return missing(say("batch.none"))
    return numbers.clock(done.outcome.seconds)


def _snr(say: Say, done: Done | None) -> Markup | str:
    before, after = done.snr if done is not None and done.snr else (None, None)
    if not (isinstance(before, float) and isinstance(after, float)):
        return missing(say("batch.none"))
    return say("batch.from-to", before=numbers.plain(before), after=numbers.plain(after))


def _notes(say: Say, done: Done | None) -> Markup:
    return notes(say, done.outcome.notes) if done is not None and done.outcome.notes else missing(say("batch.no-notes"))
