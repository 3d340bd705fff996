"""One click, as data: from a file and settings to a result, step by step, without a widget in sight.

The steps are generators, so that a page can show where the work is; each belongs to a `Job`, which can be stopped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

from denoise_app.audio import files
from denoise_app.audio.clip import FileInfo
from denoise_app.audio.encodings import suffix
from denoise_app.denoiser import Denoiser
from denoise_app.inference import engine
from denoise_app.inference.catalog import Entry
from denoise_app.inference.progress import Progress, Question, Report
from denoise_app.inference.removed import Mixed, Removed
from denoise_app.inference.selection import EVERYTHING, Selection
from denoise_app.metrics.report import Measured, paired
from denoise_app.metrics.table import keys
from denoise_app.ui.parts import excerpts
from denoise_app.ui.parts.loudness import equal_loudness, matching_gain
from denoise_app.ui.parts.measured import Numbers
from denoise_app.ui.parts.receipt import Made, report
from denoise_app.ui.worker.background import Background, Stage, Step
from denoise_app.ui.worker.session import Job, Session
from denoise_app.ui.worker.worker import Worker

from .figures import Survey, survey

PREVIEW_SECONDS = 10.0
LONG_SECONDS = 30.0  # longer recordings get a preview first


@dataclass(frozen=True)
class Order:
    """What a user asked for.

    Attributes:
        path: The recording, in the visit's folder.
        offer: The denoiser.
        channels: How channels are treated.
        settings: What to make of it; can be changed afterwards.
        track: Which sound track of the recording, from 1; None for the first.
        selection: The stretch to denoise, and that of the noise.
        preview_at: Seconds into a long recording where its preview begins; 0 where so little would be left.
    """

    path: Path
    offer: Entry
    channels: engine.Channels
    settings: engine.Settings
    track: int | None = None
    selection: Selection = EVERYTHING
    preview_at: float = 0.0


@dataclass(frozen=True)
class Result:
    """What is shown: a recording, what became of it, and how.

    Attributes:
        order: What was asked for.
        rendered: The file and its facts.
        removed: What the denoiser took, computed when it is listened to.
        loudness_removed: Of that, LUFS.
        preview: True for the beginning of a long recording, while the whole is still being denoised.
        numbers: What was measured so far.
        looked: What the figures show, once somebody has looked.
    """

    order: Order
    rendered: engine.Rendered
    removed: Removed
    loudness_removed: float
    preview: bool = False
    numbers: Numbers = field(default_factory=Numbers)
    looked: Survey | None = None

    @property
    def separation(self) -> engine.Separation:
        """What the denoiser took, to be rendered again when settings change."""
        return self.removed.separation

    @property
    def info(self) -> FileInfo:
        """What the recording was."""
        return self.rendered.info_in

    @property
    def before(self) -> Path:
        """The recording; of a preview its beginning."""
        return self.order.path

    @property
    def after(self) -> Path:
        return self.rendered.path

    @property
    def key(self) -> Path:
        """By what it is known again: each rendering has a file of its own."""
        return self.after

    @property
    def files(self) -> tuple[Path, ...]:
        """What it needs on the disk."""
        return self.before, self.after, self.separation.taken

    def copy_name(self, what: Literal["denoised", "removed", "plots", "report", "zip"]) -> str:
        """What a file is called that the user downloads."""
        ending = {"report": ".json", "plots": ".html", "zip": ".zip"}.get(what, self.after.suffix)
        return f"{self.order.path.stem}.{'denoised' if what == 'zip' else what}{ending}"

    def gains_db(self) -> dict[str, float]:
        """What makes versions equally loud, without making any of them louder: it would clip."""
        levels = {
            "before": self.rendered.levels_in.loudness_lufs,
            "after": self.rendered.levels_out.loudness_lufs,
            "removed": self.loudness_removed,
        }
        target = min((level for key, level in levels.items() if key != "removed"), default=-math.inf)
        return {key: matching_gain(level, target) for key, level in levels.items()}

    def with_numbers(self, found: dict[str, Measured], count: int, seconds: float) -> Result:
        """The same with more numbers, from so many excerpts of this length."""
        return replace(self, numbers=Numbers(self.numbers.measured | found, count, seconds))


@dataclass(frozen=True)
class Playable:
    """A long recording that is denoised, while its file is still to be written, as where a loudness is asked for.

    Attributes:
        order: What was asked for.
        after: What can be heard already, computed when it is listened to.
        gains_db: What makes "before" and "after" equally loud, in dB, at most 0.
    """

    order: Order
    after: Mixed
    gains_db: Mapping[str, float]

    @classmethod
    def of(cls, order: Order, separation: engine.Separation) -> Playable:
        after = Mixed(separation, order.settings)
        levels = {"before": excerpts.loudness(order.path), "after": excerpts.loudness(after)}
        return cls(order, after, equal_loudness(levels, "before"))


# --------------------------------------------------------------------------------------------------------------- sounds


def denoise(
    worker: Worker, session: Session[Result], order: Order, job: Job, preview: bool = True
) -> Iterator[Step | Playable | Result]:
    """Runs a denoiser over a recording. The last thing that comes is the result.

    A long recording can be heard before its file is written, where that takes another pass.

    Args:
        preview: Whether a part of a long recording is to come first, and the whole as soon as it can be heard. A part
            has not the times of a selection, so that it has no preview.

    Raises:
        AudioError, CheckpointError: The recording or the denoiser cannot be used; what was shown before stays.
        ServiceError: The client has too much sound under way.
        Cancelled: The job was told to stop.
    """
    yield Step("loading")
    try:
        info = files.probe(order.path, track=order.track)
        with worker.order(job.client, info.seconds):
            yield from _previewed(worker, session, order, info, job, preview)
    finally:
        session.discard_unshown(order.path)


def _previewed(
    worker: Worker, session: Session[Result], order: Order, info: FileInfo, job: Job, preview: bool
) -> Iterator[Step | Playable | Result]:
    paths: list[Path] = []
    try:
        loading = Background(worker, lambda report, stopped: worker.offers.load(order.offer), job)
        yield from (Step("loading", progress) for progress in loading)
        is_long = preview and info.seconds > LONG_SECONDS and order.selection == EVERYTHING
        if is_long:
            yield Step("preview")
            start = order.preview_at if order.preview_at <= info.seconds - PREVIEW_SECONDS else 0.0
            paths.append(cut := session.room() / order.path.with_suffix(".wav").name)
            excerpts.write_part(order.path, PREVIEW_SECONDS, cut, order.track, start)
            part = replace(order, path=cut, track=None, preview_at=start)
            yield from _denoised(worker, session, part, files.probe(cut), loading.result, job, preview=True)
        yield Step("separate")
        early = is_long
        yield from _denoised(worker, session, order, info, loading.result, job, early=early)
    finally:
        session.discard_unshown(*paths)


def _denoised(
    worker: Worker,
    session: Session[Result],
    order: Order,
    info: FileInfo,
    denoiser: Denoiser,
    job: Job,
    preview: bool = False,
    early: bool = False,
) -> Iterator[Step | Playable | Result]:
    room = session.room()
    separated: list[engine.Separation] = []  # while its file is still to be written

    def make(out: Path, report: Report, stopped: Question) -> tuple[engine.Separation, engine.Rendered]:
        return engine.denoise_keeping(
            order.path,
            out,
            denoiser,
            room,
            order.settings,
            channels=order.channels,
            track=order.track,
            selection=order.selection,
            separated=separated.append,
            progress=report,
            cancelled=stopped,
        )

    try:
        with closing(_made(worker, session, order, info, make, job, preview)) as steps:
            for step in steps:
                if early and separated and isinstance(step, Step):
                    early = False
                    yield Playable.of(order, separated[0])
                yield step
    finally:
        session.discard_unshown(room)


def render_again(
    worker: Worker, session: Session[Result], settings: engine.Settings, job: Job
) -> Iterator[Step | Result]:
    """Another file from the separation that is shown, by other settings; the denoiser does not run.

    Raises:
        AudioError: It cannot be written so, or the recording is gone; what was shown before stays.
        Cancelled: The job was told to stop.
    """
    shown = session.result
    assert shown is not None
    separation, order = shown.separation, replace(shown.order, settings=settings)

    def make(out: Path, report: Report, stopped: Question) -> tuple[engine.Separation, engine.Rendered]:
        return separation, engine.render(separation, settings, out, progress=report, cancelled=stopped)

    yield from _made(worker, session, order, separation.info, make, job, shown.preview)


def _made(
    worker: Worker,
    session: Session[Result],
    order: Order,
    info: FileInfo,
    make: Callable[[Path, Report, Question], tuple[engine.Separation, engine.Rendered]],
    job: Job,
    preview: bool,
) -> Generator[Step | Result]:
    """Has a file made in a room of its own, and shows it."""
    room = session.room()

    def work(report: Report, stopped: Question) -> tuple[engine.Rendered, Removed, float]:
        out = room / f"after{suffix(engine.output_encoding(info, order.settings))}"
        separation, rendered = make(out, report, stopped)
        removed = Removed(separation, order.settings)
        return rendered, removed, excerpts.loudness(removed)

    try:
        working = Background(worker, work, job)
        for progress in working:
            stage: Stage = progress.stage if isinstance(progress, Progress) else "separate"
            yield Step("preview" if preview and stage == "separate" else stage, progress)
        if job.stopped:
            raise engine.Cancelled
        result = Result(order, *working.result, preview)
        session.show(result)
    except BaseException:
        session.discard(room)
        raise
    yield result


# ------------------------------------------------------------------------------------------------- numbers and figures


def measure(
    worker: Worker, session: Session[Result], result: Result, slow: Sequence[bool] = (False, True)
) -> Iterator[Result]:
    """The result with more and more numbers: by default the quick metrics first, then the slow ones.

    It ends early where another result has taken its place.
    """
    info, rate = files.probe(result.before, track=result.order.track), result.info.sample_rate
    before, after = excerpts.mono(result.before, info, result.order.track), excerpts.mono(result.after, info)
    frames = min(before.size, after.size)  # a lossy format may end a little later
    parts = excerpts.listened_to(info)
    length = (parts[0].stop - parts[0].start) / rate
    for is_slow in slow:
        wanted = keys("clean", is_slow)
        found = paired(*(worker.score(samples[:frames], rate, wanted) for samples in (before, after)))
        shown = session.update(result, partial(Result.with_numbers, found=found, count=len(parts), seconds=length))
        if shown is None:
            return
        yield shown


def look(worker: Worker, session: Session[Result], result: Result) -> Survey:
    """What the figures of a result show; computed once, however often they are drawn.

    Raises:
        AudioError: The recording is gone.
    """
    shown = session.latest(result)
    if shown is not None and shown.looked is not None:
        return shown.looked
    with worker.at_work() as turn:
        looked = survey(result.separation, result.order.settings, turn.hand_on)
    session.update(result, lambda now: replace(now, looked=looked))
    return looked


# ----------------------------------------------------------------------------------- files that are made when asked for


def write_removed(result: Result) -> Path:
    """What was removed, as a file beside the result and in its encoding; returns where."""
    return result.removed.write(result.after.with_name(f"removed{result.after.suffix}"))


def write_report(result: Result) -> Path:
    """The report of a result, beside it; returns where."""
    written = result.after.with_name("report.json")
    written.write_text(json.dumps(report(made(result)), indent=1, ensure_ascii=False), "utf-8")
    return written


def made(result: Result) -> Made:
    """What a report tells of a result."""
    order, separation = result.order, result.separation
    facts = (result.rendered, separation.device, separation.real_time_factor, result.numbers)
    return Made(order.path, order.offer, order.settings, *facts, order.track, order.selection)
