"""Several denoisers over one recording, as data: sounds first, then numbers, then what the figures show.

The steps are generators, as in the Clean tab. One that fails becomes a column with its error, and the
others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from denoise_app.audio import files
from denoise_app.audio.clip import FileInfo, Samples
from denoise_app.audio.convert import fit
from denoise_app.audio.encodings import suffix
from denoise_app.audio.errors import UserError
from denoise_app.inference import engine
from denoise_app.inference.catalog import Entry
from denoise_app.inference.progress import Question, Report
from denoise_app.metrics.blind import pause_attenuation_db
from denoise_app.metrics.errors import MetricUnavailable
from denoise_app.metrics.report import Measured, paired
from denoise_app.metrics.table import keys
from denoise_app.plots.grid import COLUMNS
from denoise_app.plots.spectrogram import SpectrogramData, describe, spectrogram_db
from denoise_app.plots.waveform import Envelope, envelope
from denoise_app.ui.blind.work import Material, Stimulus
from denoise_app.ui.parts import excerpts, figures
from denoise_app.ui.parts.loudness import equal_loudness
from denoise_app.ui.parts.player import MOST_VERSIONS, NOISY, WINDOW_SECONDS
from denoise_app.ui.texts import LANGUAGES
from denoise_app.ui.worker.background import Background, Step
from denoise_app.ui.worker.session import Job, Session
from denoise_app.ui.worker.worker import Worker

FEWEST, MOST = 2, 6  # columns
MOST_LOSSES = MOST_VERSIONS - 1  # columns of one model, which may be compared over all its training losses
MOST_SECONDS = WINDOW_SECONDS  # of a recording: what the player holds at once; it also bounds the disk
SETTINGS = engine.Settings(container="wav")  # a lossy format would be heard beside the denoiser


class ComparisonError(UserError):
    """Such a comparison is not made; reasons: "too-few-columns", "too-many-columns", "same-column-twice"."""

    sentences = {  # noqa: RUF012
        reason: LANGUAGES["en"][f"error.{reason}"]
        for reason in ("too-few-columns", "too-many-columns", "same-column-twice")
    }


@dataclass(frozen=True)
class Column:
    """What one denoiser made of the recording.

    Attributes:
        offer: The denoiser.
        rendered: The file and its facts; None where it failed.
        error: Why it failed; what has no `reason` is nobody's fault but the program's.
        gain_db: What makes it as loud as its neighbours, at most 0.
        numbers: Metric key -> before and after; without those that are still to be measured.
        computing: Seconds that the denoiser took.
        device: Where it ran.
    """

    offer: Entry
    rendered: engine.Rendered | None = None
    error: Exception | None = None
    gain_db: float = 0.0
    numbers: dict[str, Measured] = field(default_factory=dict)
    computing: float = 0.0
    device: str = ""

    @property
    def key(self) -> str:
        """Its name in the page's widgets; there are no two of it in one comparison."""
        return self.offer.key

    @property
    def path(self) -> Path:
        """Its sound, where it came out."""
        assert self.rendered is not None
        return self.rendered.path


@dataclass(frozen=True)
class Comparison:
    """One recording and what several denoisers made of it so far.

    Attributes:
        path: The recording, in the visit's folder; of a long one its beginning.
        info: What it is.
        columns: In the order that was asked for.
        gain_db: What makes the noisy recording as loud as the columns, at most 0.
        whole_seconds: Length of the recording before it was cut.
        view: What the figures show of some of its columns, once somebody has looked.
    """

    path: Path
    info: FileInfo
    columns: tuple[Column, ...] = ()
    gain_db: float = 0.0
    whole_seconds: float = 0.0
    view: View | None = None

    @property
    def key(self) -> Path:
        """By what it is known again."""
        return self.path

    @property
    def files(self) -> tuple[Path, ...]:
        """What it needs on the disk."""
        return self.path, *(column.path for column in self.ready)

    @property
    def ready(self) -> tuple[Column, ...]:
        """The columns that came out."""
        return tuple(column for column in self.columns if column.rendered is not None)

    @property
    def measured(self) -> bool:
        """Whether every column that came out has all its numbers."""
        return all(set(keys("clean")) <= column.numbers.keys() for column in self.ready)

    @property
    def is_cut(self) -> bool:
        """Whether only the beginning of the recording was compared."""
        return self.info.seconds < self.whole_seconds

    def with_numbers(self, key: str, numbers: dict[str, Measured]) -> Comparison:
        """The same with more numbers of a column."""
        columns = (
            replace(column, numbers=column.numbers | numbers) if column.key == key else column
            for column in self.columns
        )
        return replace(self, columns=tuple(columns))

    def matched(self) -> Comparison:
        """The same with gains that make everything equally loud, without making anything louder: it would clip."""
        if not self.ready:
            return self
        levels = {column.key: _loudness(column, "levels_out") for column in self.ready}
        gains = equal_loudness(levels | {NOISY: _loudness(self.ready[0], "levels_in")}, NOISY)
        columns = (
            replace(column, gain_db=gains[column.key]) if column.key in gains else column for column in self.columns
        )
        return replace(self, columns=tuple(columns), gain_db=gains[NOISY])


def _loudness(column: Column, levels: str) -> float:
    """LUFS; -inf for silence."""
    found: engine.Levels = getattr(column.rendered, levels)
    return found.loudness_lufs


# --------------------------------------------------------------------------------------------------------------- sounds


def checked(offers: Sequence[Entry]) -> tuple[Entry, ...]:
    """The columns of a comparison: two to six, more only for the losses of one model.

    Raises:
        ComparisonError: Too few, too many, or one of them twice.
    """
    most = MOST_LOSSES if len({offer.model for offer in offers}) == 1 else MOST
    if len({offer.key for offer in offers}) < len(offers):
        raise ComparisonError.of("same-column-twice")
    if len(offers) < FEWEST:
        raise ComparisonError.of("too-few-columns", fewest=FEWEST, most=most)
    if len(offers) > most:
        raise ComparisonError.of("too-many-columns", count=len(offers), most=most)
    return tuple(offers)


def compare(
    worker: Worker, session: Session[Comparison], path: Path, offers: Sequence[Entry], job: Job
) -> Iterator[Step | Comparison]:
    """Runs denoisers over a recording, one after another; after each comes the comparison with one more column.

    From the first column that came out on it is the session's result, and what was shown before is deleted.

    Args:
        path: The recording, in the visit's folder; of more than two minutes only the first two are compared.
        offers: See `checked`.

    Raises:
        ComparisonError: See `checked`.
        AudioError: The recording cannot be used, or no denoiser could do anything with it.
        ServiceError: The client has too much sound under way.
        Cancelled: The job was told to stop; what was done by then is the session's result.
    """
    comparison: Comparison | None = None
    try:
        columns = checked(offers)
        comparison = _beginning(session, Comparison(path, files.probe(path)))
        with worker.order(job.client, comparison.info.seconds * len(columns)):
            for offer in columns:
                column = yield from _column(worker, session, comparison.path, offer, job)
                comparison = replace(comparison, columns=(*comparison.columns, column)).matched()
                if comparison.ready:
                    session.show(comparison)
                yield comparison
        if not comparison.ready and comparison.columns[0].error is not None:
            raise comparison.columns[0].error
    finally:
        session.discard_unshown(path, comparison.path if comparison else path)


def _beginning(session: Session[Comparison], comparison: Comparison) -> Comparison:
    """The comparison over no more than its first two minutes."""
    path, seconds = comparison.path, comparison.info.seconds
    comparison = replace(comparison, whole_seconds=seconds)
    if seconds <= MOST_SECONDS:
        return comparison
    cut = excerpts.write_part(path, MOST_SECONDS, session.room() / f"{path.stem}.wav")
    return replace(comparison, path=cut, info=files.probe(cut))


def _column(
    worker: Worker, session: Session[Comparison], path: Path, offer: Entry, job: Job
) -> Generator[Step, None, Column]:
    """Runs one denoiser; returns its column."""
    room = session.room()

    def work(report: Report, stopped: Question) -> Column:
        denoiser = worker.offers.load(offer)
        separation = engine.separate(path, denoiser, room, progress=report, cancelled=stopped)
        out = room / f"after{suffix(engine.output_encoding(separation.info, SETTINGS))}"
        try:
            rendered = engine.render(separation, SETTINGS, out, cancelled=stopped)
        finally:
            separation.remove()
        return Column(offer, rendered, computing=separation.seconds_taken, device=separation.device)

    running = Background(worker, work, job)
    try:
        yield Step("loading")
        yield from (Step("separate", progress) for progress in running)
        if job.stopped:
            raise engine.Cancelled
    except (engine.Cancelled, GeneratorExit):
        session.discard(room)
        raise
    except Exception as error:
        session.discard(room)
        return Column(offer, error=error)
    return running.result


def material(comparison: Comparison) -> Material:
    """What blind tests have to listen to: every column that came out, the recording itself last."""
    found = []
    for column in comparison.ready:
        offer = column.offer
        sha256 = offer.manifest.sha256 if offer.manifest else None
        found.append(Stimulus(column.key, offer.model, offer.loss, sha256 or None, column.path, column.gain_db))
    noisy = Stimulus(NOISY, NOISY, None, None, comparison.path, comparison.gain_db)
    return Material(comparison.path.name, (*found, noisy))


# -------------------------------------------------------------------------------------------------------------- numbers


def measure(worker: Worker, session: Session[Comparison], comparison: Comparison) -> Iterator[Comparison]:
    """The comparison with more and more numbers: what is quick for all columns, then the slow ones column by column.

    It ends early where another comparison has taken its place.
    """
    rate, noisy = comparison.info.sample_rate, excerpts.mono(comparison.path, comparison.info)
    for slow in (False, True):
        wanted = keys("clean", slow)
        before = worker.score(noisy, rate, wanted)
        for column in comparison.ready:
            sound = fit(excerpts.mono(column.path, comparison.info)[None], noisy.size)[0]
            found = paired(before, worker.score(sound, rate, wanted))
            shown = session.update(comparison, partial(Comparison.with_numbers, key=column.key, numbers=found))
            if shown is None:
                return
            yield shown


# ----------------------------------------------------------------------------------------------------------- to be seen


@dataclass(frozen=True)
class Look:
    """What is drawn of a column, and said of it.

    Attributes:
        spectrogram: Of the mean of all channels, as is `removed`.
        removed: The outline of what was taken away.
        change_db: Of the level over the whole recording.
        speech_db, noise_db: How much speech and noise were attenuated; None where there was nothing to tell it from.
    """

    spectrogram: SpectrogramData
    removed: Envelope
    change_db: float
    speech_db: float | None
    noise_db: float | None


@dataclass(frozen=True)
class View:
    """What the figures of a comparison show.

    Attributes:
        noisy: The spectrogram of the recording.
        columns: Key -> what is drawn of that column.
    """

    noisy: SpectrogramData
    columns: dict[str, Look]


def look(worker: Worker, session: Session[Comparison], comparison: Comparison) -> View:
    """What the figures show; read once, however often they are drawn.

    Raises:
        AudioError: A file is gone.
    """
    columns = {column.key for column in comparison.ready}
    shown = session.latest(comparison)
    if shown is not None and shown.view is not None and columns == set(shown.view.columns):
        return shown.view
    with worker.at_work() as turn:
        view = _view(comparison, turn.hand_on)
    session.update(comparison, lambda now: replace(now, view=view))
    return view


def _view(comparison: Comparison, between: Callable[[], None]) -> View:
    rate, noisy = comparison.info.sample_rate, figures.mean(comparison.path, comparison.info.frames)
    before = spectrogram_db(noisy, rate, COLUMNS)
    looks = {}
    for column in comparison.ready:
        sound = figures.mean(column.path, comparison.info.frames)
        after = spectrogram_db(sound, rate, COLUMNS)
        change = describe(before, after)
        speech, noise = change.speech_median_db, _noise_db(noisy, sound, rate)
        looks[column.key] = Look(after, envelope(noisy - sound, rate, COLUMNS), change.overall_db, speech, noise)
        between()
    return View(before, looks)


def _noise_db(noisy: Samples, processed: Samples, sample_rate: int) -> float | None:
    try:
        return pause_attenuation_db(noisy, processed, sample_rate)
    except MetricUnavailable:
        return None
