"""What the Bench does, as data: noisy speech whose clean speech is known, denoised and truly measured.

The steps are generators, as in the other tabs; a denoiser that fails leaves the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

from denoise_app.audio import files
from denoise_app.audio.clip import Clip
from denoise_app.audio.encodings import Encoding
from denoise_app.audio.notes import Note
from denoise_app.evaluation import pairs
from denoise_app.evaluation import sweep as evaluation
from denoise_app.evaluation.pairs import Pair
from denoise_app.evaluation.sweep import Score, Scores, Sweep, System, scores
from denoise_app.inference.catalog import Entry
from denoise_app.inference.engine import Cancelled, Progress
from denoise_app.inference.progress import Question, Report
from denoise_app.metrics.activity import Activity, activity
from denoise_app.metrics.alignment import Alignment
from denoise_app.serve.turns import Place
from denoise_app.ui.parts.downloads import Bundle, csv_text
from denoise_app.ui.parts.excerpts import loudness
from denoise_app.ui.parts.loudness import equal_loudness
from denoise_app.ui.worker.background import Background
from denoise_app.ui.worker.session import Job, Session
from denoise_app.ui.worker.worker import Worker

MOST = 6  # denoisers at once
STEPS = (10, 5, 2)  # dB between the points of a sweep
ARCHIVE = "bench-results.zip"

What = Literal["mixing", "aligning", "measuring", "running", "sweeping"]


@dataclass(frozen=True)
class Mix:
    """Speech to be mixed with noise.

    Attributes:
        clean: The speech.
        noise: A recording of noise, or the name of one by rule.
        seed: Draws what is drawn.
        snr_db: For a single mixture.
    """

    clean: Path
    noise: Path | str
    seed: int
    snr_db: float


@dataclass(frozen=True)
class Recorded:
    """The same speech, recorded twice."""

    noisy: Path
    clean: Path


@dataclass(frozen=True)
class Doing:
    """Where the work is.

    Attributes:
        what: The kind of work.
        offer: Which denoiser is at work, where one is.
        done, count: Denoisers that are done, and all of them.
        progress: How far this one, or the sweep, is.
    """

    what: What
    offer: Entry | None = None
    done: int = 0
    count: int = 1
    progress: Progress | Place | None = None


@dataclass(frozen=True)
class Take:
    """What one denoiser made of it.

    Attributes:
        offer: The denoiser.
        path: Its sound; None where it failed.
        scores: True metrics.
        gain_db: What makes it as loud as its neighbours, at most 0.
        error: Why it failed.
        activity: Its energy and zero crossings along time.
    """

    offer: Entry
    path: Path | None = None
    scores: Scores = field(default_factory=dict)
    gain_db: float = 0.0
    error: Exception | None = None
    activity: Activity | None = None


@dataclass(frozen=True)
class Trial:
    """Noisy speech, the same clean, and what denoisers made of it so far.

    Attributes:
        asked: What was asked for.
        clean, noisy: Files in the visit's folder.
        sample_rate: Hz.
        snr_db, alignment, notes: As `Pair` has them.
        before: True metrics of the noisy side.
        takes: In the order of the denoisers.
        levels: File -> loudness in LUFS, of the clean and the noisy side.
        clean_activity, noisy_activity: Energy and zero crossings of both sides along time.
    """

    asked: Mix | Recorded
    clean: Path
    noisy: Path
    sample_rate: int
    snr_db: float | None
    alignment: Alignment | None
    notes: tuple[Note, ...]
    before: Scores
    clean_activity: Activity
    noisy_activity: Activity
    takes: tuple[Take, ...] = ()
    levels: tuple[tuple[Path, float], ...] = ()

    @property
    def finished(self) -> tuple[Take, ...]:
        """The takes that came out."""
        return tuple(take for take in self.takes if take.path is not None)

    def gains_db(self) -> dict[Path, float]:
        """What makes all sounds equally loud without making any of them louder."""
        return equal_loudness(dict(self.levels), self.noisy)


@dataclass(frozen=True)
class Swept:
    """A sweep that may still be growing.

    Attributes:
        asked: Speech and noise.
        offers: Who takes part.
        snrs: dB, rising.
        found: What there is of it.
    """

    asked: Mix
    offers: tuple[Entry, ...]
    snrs: tuple[float, ...]
    found: Sweep


@dataclass(frozen=True)
class Found:
    """What a visit's Bench shows.

    Attributes:
        trial: The newest mixture or pair.
        swept: The newest sweep.
    """

    trial: Trial | None = None
    swept: Swept | None = None

    @property
    def key(self) -> Path | None:
        """By what it is known again."""
        return self.trial.noisy if self.trial else None

    @property
    def files(self) -> tuple[Path, ...]:
        """What it needs on the disk: all lies in one folder."""
        return (self.trial.noisy,) if self.trial else ()


def found(session: Session[Found]) -> Found:
    """What a visit's Bench shows; nothing at first."""
    return session.result or Found()


def run(
    worker: Worker, session: Session[Found], asked: Mix | Recorded, offers: tuple[Entry, ...], job: Job
) -> Iterator[Doing | Trial]:
    """One mixture or one pair of recordings, then one denoiser after the other; each `Trial` has one more.

    Raises:
        UserError: The sounds cannot be used, or the client has too much sound under way; what was shown before stays.
        Cancelled: The job was told to stop; what has come so far stays.
    """
    with worker.order(job.client, pairs.MOST_SECONDS * len(offers)):
        yield from _tried(worker, session, asked, offers, job)


def _tried(
    worker: Worker, session: Session[Found], asked: Mix | Recorded, offers: tuple[Entry, ...], job: Job
) -> Iterator[Doing | Trial]:
    room = session.room()
    try:
        yield Doing("mixing" if isinstance(asked, Mix) else "aligning")
        with worker.at_work():
            pair = _pair(asked)
        yield Doing("measuring")
        with worker.at_work():
            trial = _trial(asked, pair, room)
        _check(job)
    except BaseException:
        session.discard(room)
        raise
    session.show(replace(found(session), trial=trial))
    yield trial
    for number, offer in enumerate(offers):
        yield Doing("running", offer, number, len(offers))
        try:
            out = room / f"{number}.wav"
            working = Background(worker, partial(_take, worker, pair, offer, out), job)
            yield from (Doing("running", offer, number, len(offers), progress) for progress in working)
            take, level = working.result
            trial = replace(trial, levels=(*trial.levels, (out, level)))
        except Cancelled:
            raise
        except Exception as error:
            take = Take(offer, error=error)
        _check(job)
        trial = _matched(replace(trial, takes=(*trial.takes, take)))
        session.show(replace(found(session), trial=trial))
        yield trial


def _pair(asked: Mix | Recorded) -> Pair:
    if isinstance(asked, Recorded):
        return pairs.pair(asked.noisy, asked.clean)
    return pairs.mix(pairs.prepare(asked.clean, asked.noise, asked.seed), asked.snr_db)


def _trial(asked: Mix | Recorded, pair: Pair, room: Path) -> Trial:
    """The two sides as files and in numbers."""
    paths = room / "clean.wav", room / "noisy.wav"
    for path, samples in zip(paths, (pair.clean, pair.noisy), strict=True):
        files.write(path, Clip(samples[None], pair.sample_rate), Encoding("wav", "FLOAT"))
    return Trial(
        asked=asked,
        clean=paths[0],
        noisy=paths[1],
        sample_rate=pair.sample_rate,
        snr_db=pair.snr_db,
        alignment=pair.alignment,
        notes=pair.notes,
        before=scores(pair, pair.noisy),
        clean_activity=activity(pair.clean, pair.sample_rate),
        noisy_activity=activity(pair.noisy, pair.sample_rate),
        levels=tuple((path, loudness(path)) for path in paths),
    )


def _take(worker: Worker, pair: Pair, offer: Entry, out: Path, report: Report, stopped: Question) -> tuple[Take, float]:
    """A result and its loudness."""
    samples = evaluation.denoise(pair, worker.offers.load(offer), out, report, stopped)
    take = Take(offer, out, scores(pair, samples), activity=activity(samples, pair.sample_rate))
    return take, loudness(out)


def _matched(trial: Trial) -> Trial:
    gains = trial.gains_db()
    takes = (replace(take, gain_db=gains[take.path]) if take.path else take for take in trial.takes)
    return replace(trial, takes=tuple(takes))


def _check(job: Job) -> None:
    if job.stopped:
        raise Cancelled


def sweep(
    worker: Worker, session: Session[Found], asked: Mix, offers: tuple[Entry, ...], at: tuple[float, ...], job: Job
) -> Iterator[Doing | Swept]:
    """Improvements over SNRs; each `Swept` has more points. It also lies in the visit, where a cancel leaves it.

    Raises:
        UserError: The sounds cannot be used, or the client has too much sound under way; what was shown before stays.
        Cancelled: The job was told to stop; what has come so far stays.
    """
    with worker.order(job.client, pairs.MOST_SECONDS * len(offers) * len(at)):
        yield from _swept(worker, session, asked, offers, at, job)


def _swept(
    worker: Worker, session: Session[Found], asked: Mix, offers: tuple[Entry, ...], at: tuple[float, ...], job: Job
) -> Iterator[Doing | Swept]:
    yield Doing("mixing")
    made = pairs.prepare(asked.clean, asked.noise, asked.seed)
    _check(job)
    swept = Swept(asked, offers, at, Sweep())
    session.show(replace(found(session), swept=swept))
    systems = [
        System(offer.key, f"{offer.key} {_weights(offer)}", partial(worker.offers.load, offer)) for offer in offers
    ]
    working = Background(
        worker,
        lambda report, stopped: evaluation.sweep(made, systems, at, worker.measurements, swept.found, report, stopped),
        job,
    )
    shown = 0
    for progress in working:
        yield Doing("sweeping", progress=progress)
        if len(swept.found.points) > shown:
            shown = len(swept.found.points)
            yield swept
    yield swept


def _weights(offer: Entry) -> str:
    """The digest of what it has learnt, by which its results are known again."""
    return offer.manifest.sha256 if offer.manifest else ""


# ------------------------------------------------------------------------------------------------------------ downloads


def pack(session: Session[Found]) -> Bundle | None:
    """What a visit's Bench has found so far, sounds and numbers; None before it has found anything.

    Raises:
        OSError: The numbers cannot be written.
    """
    packed: dict[str, Path] = {}
    if trial := found(session).trial:
        packed = {path.name: path for path in (trial.clean, trial.noisy)}
        packed |= {f"{take.offer.key.replace('/', '-')}.wav": take.path for take in trial.finished if take.path}
        packed["scores.csv"] = trial.clean.with_name("scores.csv")
        packed["scores.csv"].write_text(scores_csv(trial), "utf-8")
    if (swept := found(session).swept) and swept.found.points:
        packed["sweep.csv"] = session.folder / "sweep.csv"
        packed["sweep.csv"].write_text(sweep_csv(swept), "utf-8")
    return Bundle(packed, ARCHIVE) if packed else None


def scores_csv(trial: Trial) -> str:
    """A row for the noisy side and for each denoiser that came out, a column for each true metric."""
    rows = [("noisy", trial.before), *((take.offer.key, take.scores) for take in trial.finished)]
    values = ([name, *(_number(scores[key]) for key in trial.before)] for name, scores in rows)
    return csv_text(["denoiser", *trial.before], values)


def sweep_csv(swept: Swept) -> str:
    """A row for each point, two columns for each metric: of the mixture and of the result."""
    points = list(swept.found.points)  # more may come while they are written
    keys = list(points[0].before)
    head = ["snr_db", "denoiser", *(f"{key}_{side}" for key in keys for side in ("before", "after"))]
    sides = ([side[key] for key in keys for side in (point.before, point.after)] for point in points)
    rows = zip(points, sides, strict=True)
    return csv_text(head, ([f"{point.snr_db:g}", point.name, *map(_number, scores)] for point, scores in rows))


def _number(score: Score) -> str:
    return f"{score:.6g}" if isinstance(score, float) else ""
