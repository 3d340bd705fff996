"""Many recordings, one after the other, without a widget in sight: by the same manifest as the command line's."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from denoise_app.audio import files
from denoise_app.audio.errors import AudioError
from denoise_app.audio.files import SUFFIXES
from denoise_app.audio.names import printable
from denoise_app.inference import batch
from denoise_app.inference.catalog import Entry
from denoise_app.inference.engine import Cancelled, Settings
from denoise_app.inference.progress import Progress, Question, Report
from denoise_app.metrics.errors import MetricUnavailable
from denoise_app.scale import archive, run
from denoise_app.scale.errors import ScaleError
from denoise_app.scale.items import Item, endangered
from denoise_app.scale.manifest import Manifest, local_state
from denoise_app.scale.work import Bench, Work, reason_of, scratch_of
from denoise_app.serve.limits import ServiceLimits
from denoise_app.serve.turns import Place
from denoise_app.ui.parts import excerpts
from denoise_app.ui.parts.downloads import Bundle, OnDemand, csv_text
from denoise_app.ui.worker.background import Background
from denoise_app.ui.worker.session import Job, Session
from denoise_app.ui.worker.worker import Worker

CSV = "denoised.csv"
ARCHIVE = "denoised.zip"
SNR = "snr_estimated"
NUMBERS = ("seconds", "snr_estimated_before_db", "snr_estimated_after_db")
HEAD = ("file", "outcome", *NUMBERS, "result", "notes", "error")

Snr = tuple[float | MetricUnavailable, float | MetricUnavailable]
"""Estimated SNR before and after, dB."""


@dataclass(frozen=True)
class Done:
    """What became of a file, and its estimated SNR before and after; None where that could not be measured."""

    outcome: batch.Outcome
    snr: Snr | None = None


@dataclass
class Batch:
    """The files of a visit that are denoised together, and what became of them so far.

    Attributes:
        folder: Where everything of it lies.
        uploaded: What it was made from, by which it is known again.
        items: Its files.
        manifest: What is done.
        passed_over: What was uploaded and is no sound -> how often.
        done: By the items' targets.
        current: The target that is in hand.
    """

    folder: Path
    uploaded: tuple[str, ...]
    items: tuple[Item, ...]
    manifest: Manifest
    passed_over: Mapping[str, int]
    done: dict[str, Done] = field(default_factory=dict)
    current: str | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.folder,)

    @property
    def key(self) -> Path:
        return self.folder

    @property
    def results(self) -> Path:
        return self.folder / "out"

    def name(self, item: Item) -> str:
        """What a file is called on the page: its path in the zip, or its name."""
        return item.job.target.relative_to(self.results).as_posix()


@dataclass(frozen=True)
class Step:
    """Where the work is; with a place it waits for its turn.

    Attributes:
        tally: How far all files are.
        changed: Whether a row has changed.
    """

    tally: run.Tally
    place: Place | None = None
    changed: bool = False


# ------------------------------------------------------------------------------------------------------------ the files


def gather(session: Session[Batch], uploaded: Sequence[str], limits: ServiceLimits) -> Batch:
    """What was uploaded, as a batch: files as they are, zips unpacked; a zip that is refused is a row.

    Raises:
        ScaleError: too many, or too large; nothing is kept.
    """
    room = session.room()
    try:
        jobs: list[batch.Job] = []
        passed_over: dict[str, int] = {}
        results = room / "out"
        results.mkdir()
        for number, path in enumerate(map(Path, uploaded)):
            if path.name.startswith("."):  # as in folders and zips
                passed_over["hidden"] = passed_over.get("hidden", 0) + 1
            elif archive.is_archive(path):
                unpacked = _unpacked(path, room / f"zip-{number}", jobs, limits)
                jobs += [
                    batch.Job(member.path, results / member.relative, problem=member.problem)
                    for member in unpacked.members
                ]
                for kind, count in unpacked.passed_over.items():
                    passed_over[kind] = passed_over.get(kind, 0) + count
            elif path.suffix.lower() in SUFFIXES:
                jobs.append(batch.Job(_linked(path, room / f"file-{number}"), results / path.name))
            else:
                kind = printable(path.suffix.lower()) or "no suffix"
                passed_over[kind] = passed_over.get(kind, 0) + 1
        items = tuple(Item(job, local_state(job.source)) for job in batch.kept_apart(jobs))
        size = sum(item.size for item in items)
        archive.check_size(len(items), size, limits.max_batch, limits.max_batch_bytes)
        made = Batch(room, tuple(uploaded), items, Manifest(room / "manifest.jsonl"), passed_over)
    except BaseException:
        session.discard(room)
        raise
    session.show(made)
    return made


def _unpacked(path: Path, folder: Path, jobs: Sequence[batch.Job], limits: ServiceLimits) -> archive.Unpacked:
    """A zip, within what earlier files have left of the limits."""
    folder.mkdir()
    taken = sum(Path(job.source).stat().st_size for job in jobs if job.problem is None)
    files_left, bytes_left = limits.max_batch - len(jobs), limits.max_batch_bytes - taken
    try:
        return archive.unpack(path, folder, max(0, files_left), max(0, bytes_left), limits.min_free)
    except ScaleError as error:
        if error.reason not in archive.REFUSALS:
            raise
        return archive.Unpacked((archive.Member(Path(path.name), path, error),), {})


def _linked(path: Path, folder: Path) -> Path:
    """The same file in a folder of the visit: what was uploaded may be deleted before the visit ends."""
    folder.mkdir()
    own = folder / path.name
    try:
        own.hardlink_to(path)
    except FileNotFoundError:
        return own  # its row says that it is missing
    except OSError:  # another file system
        shutil.copyfile(path, own)
    return own


# ------------------------------------------------------------------------------------------------------------- the work


def carry_out(worker: Worker, made: Batch, offer: Entry, settings: Settings, job: Job) -> Iterator[Step]:
    """Denoises what is not done yet in this way, each file in a turn of its own; bad ones do not stop the others.

    Raises:
        Cancelled: the job was told to stop; what is done stays, and the next call goes on.
        AudioError, CheckpointError: the denoiser cannot be loaded; the disk is full.
    """
    work = _work(offer, settings)
    changed = {item.target for item in run.divided(made.items, work, made.manifest, resume=True).todo}
    todo = [item for item in made.items if item.target in changed or item.target not in made.done]
    for item in todo:
        made.done.pop(item.target, None)
    tally = run.Tally.of(todo)
    yield Step(tally, changed=True)
    loading = Background(worker, lambda report, stopped: worker.offers.load(offer), job)
    for progress in loading:
        yield Step(tally, progress if isinstance(progress, Place) else None)
    inputs = endangered(made.items)
    bench = Bench(work, loading.result, inputs, scratch_of(made.manifest.path))
    try:
        for item in todo:
            made.current = item.target
            yield Step(tally, changed=True)
            yield from _one(worker, bench, made, item, tally, job)
    finally:
        made.current = None
    yield Step(tally, changed=True)


def _one(worker: Worker, bench: Bench, made: Batch, item: Item, tally: run.Tally, job: Job) -> Iterator[Step]:
    def work(report: Report, stopped: Question) -> Done:
        outcome = bench.attempt(item, report, stopped)
        return Done(outcome, _snr(worker, item, outcome))

    working = Background(worker, work, job)
    for progress in working:
        if isinstance(progress, Progress):
            tally.tell(item, progress.fraction)
        yield Step(tally, progress if isinstance(progress, Place) else None)
    if job.stopped:
        raise Cancelled
    done = working.result
    made.manifest.add(bench.work.row(item, done.outcome))
    made.done[item.target] = done
    tally.count(item, done.outcome)
    error = done.outcome.error
    if error is not None and reason_of(error) in run.ENDING:
        raise error


def _work(offer: Entry, settings: Settings) -> Work:
    weights = offer.manifest.network_sha256 if offer.manifest else None
    return Work(offer.model, offer.loss, weights, settings, revision=offer.revision)


def _snr(worker: Worker, item: Item, outcome: batch.Outcome) -> Snr | None:
    """Of the excerpts that all numbers of the page are measured on."""
    if outcome.output is None:
        return None
    try:
        before, after = (
            worker.score(excerpts.mono(path, info), info.sample_rate, [SNR])[SNR]
            for path in (Path(item.job.source), Path(outcome.output))
            if (info := files.probe(path))
        )
    except AudioError:
        return None
    return before, after


# ---------------------------------------------------------------------------------------------------------- the results


def pack(made: Batch) -> Bundle | None:
    """What can be downloaded: a file of each result and a table of all; None before anything is done."""
    found = [(item, made.done[item.target].outcome) for item in made.items if item.target in made.done]
    results = {
        Path(outcome.output).relative_to(made.results).as_posix(): Path(outcome.output)
        for _, outcome in found
        if outcome.output is not None
    }
    return Bundle({**results, CSV: OnDemand(lambda: write_csv(made))}, ARCHIVE) if found else None


def write_csv(made: Batch) -> Path:
    """A line for each file; returns where."""
    path = made.folder / CSV
    path.write_text(csv_text(HEAD, [_cells(made, item) for item in made.items]), "utf-8-sig")  # spreadsheets see UTF-8
    return path


def _cells(made: Batch, item: Item) -> Sequence[object]:
    done = made.done.get(item.target)
    if done is None:
        return (_safe(made.name(item)), "waiting", "", "", "", "", "", "")
    outcome = done.outcome
    snr = [f"{value:.1f}" if isinstance(value, float) else "" for value in done.snr or ("", "")]
    notes = " ".join(note.message for note in outcome.notes)
    error = str(outcome.error) if outcome.error else ""
    result = Path(outcome.output).relative_to(made.results).as_posix() if outcome.output else ""
    told = "failed" if outcome.error else "done"
    seconds = "" if outcome.error else f"{outcome.seconds:.3f}"
    return (_safe(made.name(item)), told, seconds, *snr, _safe(result), _safe(notes), _safe(error))


def _safe(text: str) -> str:
    """Text that no spreadsheet takes for a formula, on one line.

    >>> _safe("=1+1.wav"), _safe("talk.wav")
    ("'=1+1.wav", 'talk.wav')
    """
    shown = printable(text)
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) else shown
