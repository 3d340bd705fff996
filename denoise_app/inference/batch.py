"""Many files, one after the other: their targets and their outcomes."""

from __future__ import annotations

import glob
import os
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from denoise_app.audio import names
from denoise_app.audio.encodings import Encoding, fits, suffix
from denoise_app.audio.errors import AudioError
from denoise_app.audio.files import SUFFIXES, probe
from denoise_app.audio.folders import look, matching, most_first
from denoise_app.audio.notes import Note
from denoise_app.denoiser import Denoiser

from . import engine
from .errors import EngineError
from .progress import Question, Report
from .selection import EVERYTHING, Selection
from .separation import disk_errors_explained

SCRATCH = ".denoise-"  # begins the names of folders in which results lie until they are complete
Place = tuple[str, str]  # a folder, whatever links lead there, and a name as the least exact file system knows it


@dataclass(frozen=True)
class Job:
    """One file to denoise, and where its result goes.

    Attributes:
        source: The input as it was named.
        target: Where the result goes, under the input's own name: its suffix is settled when the format is known.
        adds_suffix: Whether a new suffix follows the old one instead of taking its place: talk.aiff becomes
            talk.aiff.wav where there is a talk.wav too.
        problem: Why it cannot be done, where that is known beforehand: a folder that cannot be listed.
    """

    source: Path | str
    target: Path
    adds_suffix: bool = False
    problem: AudioError | None = None


@dataclass(frozen=True)
class Plan:
    """What is to be done with the inputs.

    Attributes:
        jobs: One for each file, with targets that are kept apart.
        passed_over: What lies in the folders and is not taken -> how often; see `folders.Found`.
    """

    jobs: tuple[Job, ...]
    passed_over: Mapping[str, int]


@dataclass(frozen=True)
class Outcome:
    """What became of one job.

    Attributes:
        output: The file that was written, or its address elsewhere; None where it failed.
        error: Why it failed; None where it was written.
        seconds: Length of the sound, 0 where it failed.
        computing: Seconds it took from reading to writing.
        notes: What is odd about the input, or was lost on the way.
    """

    job: Job
    output: Path | str | None
    error: AudioError | OSError | None
    seconds: float
    computing: float
    notes: tuple[Note, ...] = ()


def plan(inputs: Sequence[Path | str], out: Path, alone: bool | None = None) -> Plan:
    """Every sound file that is named, or lies below a folder that is named.

    A folder's tree is mirrored in `out`, below the folder's own name when it is not the only input. In folders,
    hidden files, other kinds of files, links to folders, and an `out` that lies in it are passed over; a file that is
    named is always tried, and once where it is named twice. A pattern, such as `in/**/*.wav`, stands for what it
    matches, see `folders.matching`, unless there is a file of that very name.

    Args:
        alone: Whether a folder's own name is left out of its targets; None for where it is the only input.
    """
    inputs = [path for named in inputs for path in _matching(named, out)]
    alone = len(inputs) == 1 if alone is None else alone
    jobs: list[Job] = []
    passed_over: Counter[str] = Counter()
    for named in inputs:
        path = Path(named)
        if not os.path.isdir(named):
            jobs.append(
                Job(named, out / (path.name or "unnamed"))
            )  # an address on the web would not be known from its Path any more
            continue
        root = out if alone else out / os.path.basename(os.path.realpath(path))
        found = look(path, out)
        jobs += [_refused(folder, problem) for folder, problem in found.closed]
        jobs += [Job(file, root / file.relative_to(path)) for file in found.sounds]
        passed_over.update(found.passed_over)
    return Plan(tuple(kept_apart(list(dict.fromkeys(jobs)))), most_first(passed_over))


def _matching(named: Path | str, out: Path) -> list[Path | str]:
    """What a pattern matches, sorted; what is no pattern, or matches nothing, as it was named."""
    if os.path.lexists(named) or not glob.has_magic(str(named)):
        return [named]
    return [*matching(str(named), out)] or [named]


def _refused(folder: Path, problem: OSError) -> Job:
    """What stands for a folder that cannot be listed: to pass over what is in it would lose it without a word."""
    reason = problem.strerror or str(problem)
    return Job(folder, folder, problem=AudioError.of("unreadable", name=str(folder), problem=reason))


def kept_apart(jobs: Sequence[Job]) -> list[Job]:
    """The jobs with targets such that no two write one file, whatever their formats turn out to be.

    Of several that have one name, as from two folders, all but the first are numbered. Where names differ in their
    suffix alone they stay whole, and a new suffix is added to them.
    """
    numbers: Counter[str] = Counter()
    taken: set[str] = set()

    def named(target: Path, blocked: Mapping[str, int]) -> Path:
        first = names.key(target)
        stem, ending = target.stem, target.suffix
        while (key := names.key(target)) in taken or key in blocked:
            numbers[first] += 1
            target = target.with_name(f"{stem} ({numbers[first] + 1}){ending}")
        taken.add(key)
        return target

    apart = [replace(job, target=named(job.target, {})) for job in jobs]
    stems = Counter(names.key(_stem(job.target)) for job in apart)
    for place, job in enumerate(apart):
        if stems[names.key(_stem(job.target))] > 1:
            taken.discard(names.key(job.target))
            apart[place] = replace(job, target=named(job.target, stems), adds_suffix=True)
    return apart


def _stem(target: Path) -> Path:
    """Without its suffix, where that is one of sound: in "talk 2024.05" it belongs to the name."""
    return target.with_name(target.stem) if target.suffix.lower() in SUFFIXES else target


def attempt(
    job: Job,
    denoiser: Denoiser,
    settings: engine.Settings,
    *,
    channels: engine.Channels = "each",
    track: int | None = None,
    selection: Selection = EVERYTHING,
    strict: bool = False,
    inputs: Collection[Place] = (),
    scratch: str = SCRATCH,
    progress: Report | None = None,
    cancelled: Question | None = None,
) -> Outcome:
    """Denoise one job of several; a bad file is an outcome like the others.

    An existing file is replaced, when the new one is complete, but no input of any job.

    Args:
        track: Which sound track of the file, from 1; None for the first, with a note where there are others.
        selection: The stretches that are pointed at, the same times in each file.
        strict: Whether notes make a job fail; then nothing is written of it.
        inputs: What must not be written onto: `endangered` of all jobs.
        scratch: How the name of the folder begins in which the result lies until it is complete.
        cancelled: Asked between blocks whether to stop.

    Raises:
        Cancelled: `cancelled` said so; nothing of it is left.
    """
    began = time.perf_counter()
    try:
        if job.problem is not None:
            raise job.problem
        target = _target(job, settings, track, inputs)
        with disk_errors_explained(str(target.parent)):
            target.parent.mkdir(parents=True, exist_ok=True)
        with (
            disk_errors_explained(target.name),
            tempfile.TemporaryDirectory(prefix=scratch, dir=target.parent) as work,
        ):
            draft = Path(work) / target.name
            rendered = engine.denoise_file(
                Path(job.source),
                draft,
                denoiser,
                settings,
                channels=channels,
                track=track,
                selection=selection,
                progress=progress,
                cancelled=cancelled,
            )
            if strict and rendered.notes:
                raise Strict.because(rendered.notes)
            draft.replace(target)
    except (AudioError, OSError) as problem:
        notes = problem.notes if isinstance(problem, Strict) else ()
        return Outcome(job, None, problem, 0.0, time.perf_counter() - began, notes)
    taken = time.perf_counter() - began
    return Outcome(job, target, None, rendered.info_out.seconds, taken, rendered.notes)


class Strict(EngineError):
    """A result that is not wanted because of its notes."""

    notes: tuple[Note, ...] = ()

    @classmethod
    def because(cls, notes: tuple[Note, ...]) -> Strict:
        error = cls.of("strict", notes=" ".join(note.message for note in notes))
        error.notes = notes
        return error


def endangered(jobs: Sequence[Job]) -> frozenset[Place]:
    """The inputs that lie where results go, so that a result could take the place of one."""
    folders = {os.path.realpath(folder) for folder in {job.target.parent for job in jobs}}
    places = (_place(Path(job.source)) for job in jobs)
    return frozenset(place for place in places if place[0] in folders)


def _place(path: Path) -> Place:
    """Where a file lies, whatever links lead there, and its name as the least exact file system knows it."""
    real = Path(os.path.realpath(path))
    return str(real.parent), names.key(Path(real.name))


def _target(job: Job, settings: engine.Settings, track: int | None, inputs: Collection[Place]) -> Path:
    """The job's target under a suffix that fits what it becomes."""
    target = _fitting(job, engine.output_encoding(probe(job.source, track=track), settings))
    if _place(target) in inputs:
        raise EngineError.of("onto-input", target=str(target))
    return target


def _fitting(job: Job, encoding: Encoding) -> Path:
    if fits(job.target.suffix, encoding):
        return job.target
    kept = job.target if job.adds_suffix else _stem(job.target)
    return kept.with_name(kept.name + suffix(encoding))
