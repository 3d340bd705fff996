"""One click, as data: from a file and settings to a result, step by step, without a widget in sight.

The steps are generators, so that a page can show where the work is; each belongs to a `Job`, which can be stopped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

from denoise_app.audio.clip import FileInfo
from denoise_app.denoiser import Denoiser
from denoise_app.inference import engine
from denoise_app.metrics.report import Measured
from denoise_app.metrics.table import keys
from denoise_app.ui.parts.figures import Survey
from denoise_app.ui.worker.background import Background
from denoise_app.ui.worker.session import Job, Session
from denoise_app.ui.worker.worker import Offer, Worker

PREVIEW_SECONDS = 10.0
LONG_SECONDS = 30.0  # longer recordings get a preview first
MOST_TURNED_DOWN = 20.0  # dB: a denoiser that leaves next to nothing does not silence the others

Sound = TypeVar("Sound")  # a name of it, or its file

Stage = Literal["waiting", "loading", "preview", "separate", "measure", "render"]


@dataclass(frozen=True)
class Order:
    """What a user asked for.

    Attributes:
        path: The recording, in the visit's folder.
        offer: The denoiser.
        channels: How channels are treated.
        settings: What to make of it; can be changed afterwards.
        track: Which sound track of the recording, from 1; None for the first.
    """

    path: Path
    offer: Offer
    channels: engine.Channels
    settings: engine.Settings
    track: int | None = None


@dataclass(frozen=True)
class Step:
    """Where the work is; without `progress` it has just come to this stage."""

    stage: Stage
    progress: engine.Progress | None = None


@dataclass(frozen=True)
class Numbers:
    """What was measured of a result.

    Attributes:
        measured: Metric key -> before and after; without those that are still being measured.
        excerpts: How many stretches were listened to, 1 for the whole.
        excerpt_seconds: How long each is.
    """

    measured: dict[str, Measured] = field(default_factory=dict)
    excerpts: int = 1
    excerpt_seconds: float = 0.0


@dataclass(frozen=True)
class Result:
    """What is shown: a recording, what became of it, and how.

    Attributes:
        order: What was asked for.
        separation: What the denoiser took, to be rendered again when settings change.
        rendered: The files and their facts.
        loudness_removed: Of what was removed, LUFS.
        preview: True for the beginning of a long recording, while the whole is still being denoised.
        numbers: What was measured so far.
    """

    order: Order
    separation: engine.Separation
    rendered: engine.Rendered
    loudness_removed: float
    preview: bool = False
    numbers: Numbers = field(default_factory=Numbers)

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
    def removed(self) -> Path:
        assert self.rendered.removed is not None
        return self.rendered.removed

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


def matching_gain(loudness: float, target: float) -> float:
    """dB, at most 0, from a loudness down to a target in LUFS; 0 where one of them is silence.

    >>> matching_gain(-20.0, -23.0), matching_gain(-30.0, -23.0), matching_gain(-20.0, float("-inf"))
    (-3.0, 0.0, 0.0)
    """
    return min(0.0, target - loudness) if math.isfinite(target) and math.isfinite(loudness) else 0.0


def equal_loudness(levels: Mapping[Sound, float], noisy: Sound) -> dict[Sound, float]:
    """What makes sounds as loud as the softest of them, in dB, at most 0; none is made louder: it would clip.

    Args:
        levels: Sound -> loudness in LUFS, -inf for silence.
        noisy: The recording among them; what lies more than MOST_TURNED_DOWN below it is left as soft as it is.

    >>> equal_loudness({"noisy": -20.0, "after": -26.0, "gone": -70.0}, "noisy")
    {'noisy': -6.0, 'after': 0.0, 'gone': 0.0}
    """
    lowest = levels[noisy] - MOST_TURNED_DOWN
    target = min(level for level in levels.values() if level >= lowest)
    return {sound: matching_gain(level, target) for sound, level in levels.items()}


def denoise(worker: Worker, session: Session, order: Order, job: Job, preview: bool = True) -> Iterator[Step | Result]:
    """Runs a denoiser over a recording. The last thing that comes is the result.

    Args:
        preview: Whether the beginning of a long recording is to come first.

    Raises:
        AudioError, CheckpointError: The recording or the denoiser cannot be used; what was shown before stays.
        Cancelled: The job was told to stop.
    """
    cut: Path | None = None
    try:
        yield Step("loading")
        info = worker.probe(order.path, order.track)
        loading = Background(lambda report, stopped: worker.denoiser(order.offer), job)
        yield from (Step("loading", progress) for progress in loading)
        if preview and info.seconds > LONG_SECONDS:
            yield Step("preview")
            cut = session.room() / f"{order.path.stem}.wav"
            worker.cut(order.path, PREVIEW_SECONDS, cut)
            yield from _denoised(worker, session, replace(order, path=cut), loading.result, job, preview=True)
        yield Step("separate")
        yield from _denoised(worker, session, order, loading.result, job)
    finally:
        for path in (order.path, *([cut] if cut else [])):
            if not _shows(session, path):
                session.discard(path)


def _denoised(
    worker: Worker, session: Session, order: Order, denoiser: Denoiser, job: Job, preview: bool = False
) -> Iterator[Step | Result]:
    room = session.room()
    separating = Background(
        lambda report, stopped: worker.separate(
            order.path, denoiser, room, order.channels, report, stopped, order.track
        ),
        job,
    )
    try:
        yield from (Step("preview" if preview else "separate", progress) for progress in separating)
        yield from _rendered(worker, session, order, separating.result, job, preview)
    finally:
        if not _shows(session, order.path):
            session.discard(room)


def _shows(session: Session, path: Path) -> bool:
    """Whether the result that is shown is of this recording."""
    return session.result is not None and session.result.order.path == path


def render_again(worker: Worker, session: Session, settings: engine.Settings, job: Job) -> Iterator[Step | Result]:
    """Another file from the separation that is shown, by other settings; the denoiser does not run.

    Raises:
        AudioError: It cannot be written so, or the recording is gone; what was shown before stays.
        Cancelled: The job was told to stop.
    """
    shown: Result = session.result
    order = replace(shown.order, settings=settings)
    yield from _rendered(worker, session, order, shown.separation, job, shown.preview)


def _rendered(
    worker: Worker, session: Session, order: Order, separation: engine.Separation, job: Job, preview: bool
) -> Iterator[Step | Result]:
    room = session.room()
    rendering = Background(
        lambda report, stopped: worker.render(separation, order.settings, room, report, stopped),
        job,
    )
    try:
        for progress in rendering:
            yield Step("measure" if progress.stage == "measure" else "render", progress)
        rendered = rendering.result
        assert rendered.removed is not None
        if job.stopped:
            raise engine.Cancelled
        result = Result(order, separation, rendered, worker.loudness(rendered.removed), preview)
    except BaseException:
        session.discard(room)
        raise
    former, session.result = session.result, result
    if former is not None:
        _forget(session, former, result)
    yield result


def _forget(session: Session, former: Result, shown: Result) -> None:
    """Deletes the files of a result that is no longer shown, but for those that the new one still needs."""
    session.discard(former.after)
    if former.separation is not shown.separation:
        former.separation.remove()
        session.discard(former.separation.taken)  # the folder that is empty now
        session.discard(former.order.path)


def measure(worker: Worker, session: Session, result: Result, slow: Sequence[bool] = (False, True)) -> Iterator[Result]:
    """The result with more and more numbers: by default the quick metrics first, then the slow ones.

    It ends early where another result has taken its place.
    """
    excerpts = worker.excerpts(result.before, result.after, result.order.track)
    numbers = Numbers({}, excerpts.count, excerpts.seconds)
    for is_slow in slow:
        found = worker.measure(excerpts, keys("clean", is_slow))
        numbers = replace(numbers, measured=numbers.measured | found)
        shown: Result | None = session.result
        if shown is None or shown.rendered is not result.rendered:
            return
        session.result = replace(shown, numbers=numbers)
        yield session.result


def look(worker: Worker, session: Session, result: Result) -> Survey:
    """What the figures of a result show; read once, however often they are drawn."""
    if session.drawn is None or session.drawn[0] is not result.rendered:
        looked = worker.survey(result.before, result.after, result.removed, result.rendered.gain_db)
        session.drawn = result.rendered, looked
    survey: Survey = session.drawn[1]
    return survey
