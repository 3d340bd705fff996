"""Many files, one after the other: their targets and their outcomes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from denoise_app.audio.errors import AudioError
from denoise_app.audio.files import probe, sounds, suffix
from denoise_app.denoiser import Denoiser

from . import engine
from .errors import EngineError


@dataclass(frozen=True)
class Job:
    """One file to denoise as it was named, and where its result goes: the suffix is settled when the file is known."""

    source: Path | str
    target: Path


@dataclass(frozen=True)
class Outcome:
    """What became of one job.

    Attributes:
        output: The file that was written; None where it failed.
        error: Why it failed; None where it was written.
        seconds: Length of the sound, 0 where it failed.
        computing: Seconds it took from reading to writing.
    """

    job: Job
    output: Path | None
    error: AudioError | OSError | None
    seconds: float
    computing: float


def plan(inputs: Sequence[Path | str], out: Path) -> list[Job]:
    """Every sound file that is named, or lies below a folder that is named.

    A folder's tree is mirrored in `out`, below the folder's own name when it is not the only input. In folders,
    hidden files, other kinds of files, and an `out` that lies in it are passed over; a file that is named is always
    tried.
    """
    jobs: list[Job] = []
    for named in inputs:
        path = Path(named)
        if not path.is_dir():
            jobs.append(Job(named, out / path.name))  # an address on the web would not be known from its Path any more
            continue
        root = out if len(inputs) == 1 else out / path.resolve().name
        jobs += [Job(file, root / file.relative_to(path)) for file in sounds(path, out.resolve())]
    return jobs


def run(
    jobs: Sequence[Job],
    denoiser: Denoiser,
    settings: engine.Settings,
    *,
    channels: engine.Channels = "each",
    progress: Callable[[Job, engine.Progress], None] | None = None,
) -> Iterator[Outcome]:
    """Denoise one job after the other; a bad file is an outcome like the others.

    An existing file is replaced, but neither an input of any job nor what another one has written.

    Raises:
        Cancelled: passed on from the engine; what is done stays.
    """
    inputs = {Path(job.source).resolve() for job in jobs}
    written: set[Path] = set()
    for job in jobs:
        began = time.perf_counter()
        tell = partial(progress, job) if progress else None
        try:
            target = _target(job, settings, inputs, written)
            target.parent.mkdir(parents=True, exist_ok=True)
            source = Path(job.source)
            rendered = engine.denoise_file(source, target, denoiser, settings, channels=channels, progress=tell)
        except (AudioError, OSError) as problem:
            yield Outcome(job, None, problem, 0.0, time.perf_counter() - began)
        else:
            written.add(rendered.path.resolve())
            yield Outcome(job, rendered.path, None, rendered.info_out.seconds, time.perf_counter() - began)


def _target(job: Job, settings: engine.Settings, inputs: set[Path], written: set[Path]) -> Path:
    """The job's target with the suffix of the format it becomes; the name is kept whole where that is the input's."""
    info = probe(job.source)
    encoding = engine.output_encoding(info, settings)
    same = encoding.container == info.container
    target = job.target if same else job.target.with_name(job.target.stem + suffix(encoding))
    if target.resolve() in inputs:
        raise EngineError.of("onto-input", target=str(target))
    if target.resolve() in written:
        raise EngineError.of("same-target", target=str(target))
    return target
