"""The engine: sound of any rate, length and number of channels through a denoiser, and back to what it was.

`separate` runs the denoiser once and keeps what it takes away; `render` makes a file of it by `Settings`, as often as
wanted, without running the denoiser again; `denoise_keeping` does both in one pass where it can. All go through the
sound block by block.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np

from denoise_app.audio.clip import Clip, FileInfo, Samples
from denoise_app.audio.encodings import Encoding, encoding_for
from denoise_app.audio.files import encoding_like, open_writer, probe
from denoise_app.audio.level import TruePeakMeter, from_db, to_db
from denoise_app.audio.notes import Note
from denoise_app.audio.tags import carry
from denoise_app.denoiser import Denoiser

from . import threads
from .mixing import Separated, has_high_band, mixed_blocks
from .progress import Cancelled, Progress, Question, Report, Step, Watch
from .selection import EVERYTHING, Selection
from .separation import Separation, disk_errors_explained, separate, separating
from .settings import Channels, HighBand, Settings
from .sources import LevelMeter, Levels

__all__ = [
    "Cancelled",
    "Channels",
    "HighBand",
    "Levels",
    "Progress",
    "Rendered",
    "Selection",
    "Separation",
    "Settings",
    "denoise",
    "denoise_file",
    "denoise_keeping",
    "mixed_blocks",
    "output_encoding",
    "render",
    "separate",
]

SEPARATING = 0.8  # of the time that a file takes in two passes; the rest is rendering


DEFAULTS = Settings()


@dataclass(frozen=True)
class Rendered:
    """A result on disk, and all that the line of promises needs.

    Attributes:
        path: The denoised sound.
        removed: What was taken away, at the input's level (input = output before gain + removed); None if not wanted.
        info_in: What the input was.
        info_out: What the output is.
        model_rate: Hz.
        high_band: What was done above half the model's rate; None where the input has no such band.
        channels: How the channels were treated.
        gain_db: The gain that brought the output to its loudness, 0 without one.
        limited: True where the true peak's cap kept the output below the loudness that was asked for.
        levels_in: Of the input.
        levels_out: Of the output, as written.
        true_peak_dbtp: Of the output; None where no loudness was asked for.
        cut_samples: Samples of the output beyond full scale, which an integer encoding cuts; 0 for float.
        seconds_taken: Wall clock of rendering.
        notes: What is odd about the input, and what it carries besides its sound that the output cannot.
    """

    path: Path
    removed: Path | None
    info_in: FileInfo
    info_out: FileInfo
    model_rate: int
    high_band: HighBand | None
    channels: Channels
    gain_db: float
    limited: bool
    levels_in: Levels
    levels_out: Levels
    true_peak_dbtp: float | None
    cut_samples: int
    seconds_taken: float
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class _Target:
    """The gain in dB that brings a mix to its loudness, and what it then is (see `Rendered`)."""

    gain_db: float = 0.0
    limited: bool = False
    true_peak_dbtp: float | None = None

    def applied(self, samples: Samples) -> Samples:
        return samples * np.float32(from_db(self.gain_db)) if self.gain_db else samples


@dataclass(frozen=True)
class _Written:
    """What was written, and how: see `Rendered`."""

    out: Path
    removed: Path | None
    target: _Target
    levels: Levels
    cut_samples: int


def output_encoding(info: FileInfo, settings: Settings) -> Encoding:
    """How the result of a sound like `info` is written; raises AudioError for a format that is not."""
    if settings.container is None and settings.bit_depth is None:
        return encoding_like(info)
    container = settings.container or encoding_like(info).container
    return encoding_for(container, settings.bit_depth or info.bit_depth, info.bit_rate)


def render(
    separation: Separation,
    settings: Settings,
    out: Path,
    removed: Path | None = None,
    *,
    progress: Report | None = None,
    cancelled: Question | None = None,
) -> Rendered:
    """Write the result of a separation; the denoiser does not run again.

    Args:
        separation: What `separate` found.
        settings: What to make of it.
        out: Where the denoised sound goes; a file of that name is replaced. Its encoding is `output_encoding`.
        removed: Where what was taken away goes, in the same encoding; None if it is not wanted.
        progress: Called with a `Progress`, once a block.
        cancelled: Asked once a block whether to stop.

    Raises:
        AudioError: the input is gone, or the output cannot be written; nothing is left of it.
        Cancelled: `cancelled` said so; nothing is left of the output.
    """
    watch = Watch(progress, cancelled)
    measuring = 0.0 if settings.loudness_lufs is None else 0.5
    mixed = _stepping(separation, settings, watch.stage("measure", separation.info.seconds, 0.0, measuring))
    target = _target(separation.info, settings, (block for _, block in mixed))
    return _render(separation, settings, out, removed, target, watch, measuring)


def _render(
    separation: Separation,
    settings: Settings,
    out: Path,
    removed: Path | None,
    target: _Target,
    watch: Watch,
    begin: float,
) -> Rendered:
    """`render` with its gain known, from fraction `begin` of a longer work on."""
    began = time.perf_counter()
    step = watch.stage("render", separation.info.seconds, begin)
    with threads.limited():
        written = _write(separation, settings, out, removed, target, _stepping(separation, settings, step))
    return _rendered(separation, settings, written, began)


def _stepping(separation: Separation, settings: Settings, step: Step) -> Iterator[tuple[Samples, Samples]]:
    """`mixed_blocks`, told to a stage of the work."""
    position = 0
    for sound, mixed in mixed_blocks(separation, settings):
        yield sound, mixed
        position += mixed.shape[1]
        step(position / separation.info.sample_rate)


def _write(
    separated: Separated,
    settings: Settings,
    out: Path,
    removed: Path | None,
    target: _Target,
    blocks: Iterable[tuple[Samples, Samples]],
) -> _Written:
    """Writes blocks of a sound and its mix."""
    info = separated.info
    encoding = output_encoding(info, settings)
    meter = LevelMeter(info.channels, info.sample_rate)
    bounded = encoding.bit_depth is not None and encoding.codec not in ("FLOAT", "DOUBLE")
    cut = 0
    with ExitStack() as files:
        writers = [
            files.enter_context(open_writer(path, info.sample_rate, info.channels, encoding, info.frames))
            for path in (out, removed)
            if path is not None
        ]
        for sound, mixed in blocks:
            output = target.applied(mixed)
            for writer, samples in zip(writers, (output, sound - mixed), strict=False):
                writer.write(samples)
            meter.push(output)
            cut += int((np.abs(output) > 1).sum()) if bounded else 0
    return _Written(out, removed, target, meter.levels(), cut)


def _rendered(separation: Separation, settings: Settings, written: _Written, began: float) -> Rendered:
    """What was written, and gets what the input carries besides its sound."""
    out, target = written.out, written.target
    lost: tuple[Note, ...] = ()
    if isinstance(separation.sound, Path):
        if _is_untouched(separation, settings, output_encoding(separation.info, settings)):
            _copy(separation.sound, out)
        elif not separation.is_part:
            lost = carry(separation.sound, out)
    return Rendered(
        path=out,
        removed=written.removed,
        info_in=separation.info,
        info_out=probe(out),
        model_rate=separation.model_rate,
        high_band=settings.high_band if has_high_band(separation) else None,
        channels=separation.channels,
        gain_db=target.gain_db,
        limited=target.limited,
        levels_in=separation.levels,
        levels_out=written.levels,
        true_peak_dbtp=target.true_peak_dbtp,
        cut_samples=written.cut_samples,
        seconds_taken=time.perf_counter() - began,
        notes=separation.notes + lost,
    )


def _target(info: FileInfo, settings: Settings, mixed: Iterable[Samples]) -> _Target:
    """Measures a mix where a loudness is asked for. What is too soft for a loudness keeps its level."""
    if settings.loudness_lufs is None:
        return _Target()
    loudness, highest = LevelMeter(info.channels, info.sample_rate), TruePeakMeter(info.channels)
    for block in mixed:
        loudness.push(block)
        highest.push(block)
    lufs, true_peak = loudness.levels().loudness_lufs, to_db(highest.finish())
    if not isfinite(lufs):
        return _Target(true_peak_dbtp=true_peak)
    wanted, allowed = settings.loudness_lufs - lufs, settings.true_peak_dbtp - true_peak
    gain = min(wanted, allowed)
    return _Target(gain, allowed < wanted, true_peak + gain)


def _is_untouched(separation: Separation, settings: Settings, encoding: Encoding) -> bool:
    """Whether the output is to be the whole input in its own encoding: then the file itself is the best output."""
    source = separation.info
    return (
        settings.wet == 0
        and settings.loudness_lufs is None
        and separation.is_whole
        and (encoding.container, encoding.codec.lower()) == (source.container, source.codec.lower())
    )


def _copy(source: Path, target: Path) -> None:
    """A copy that appears when it is complete."""
    scratch = target.with_name(f".{uuid.uuid4().hex}.tmp")
    with disk_errors_explained(target.name):
        try:
            shutil.copyfile(source, scratch)
            changed = source.stat().st_mtime_ns
            os.utime(scratch, ns=(changed, changed))
            scratch.replace(target)
        finally:
            scratch.unlink(missing_ok=True)


# ----------------------------------------------------------------------------------------------------------- at once


def denoise(
    clip: Clip,
    denoiser: Denoiser,
    settings: Settings = DEFAULTS,
    *,
    channels: Channels = "each",
    selection: Selection = EVERYTHING,
) -> Clip:
    """A short sound in memory, denoised; the settings of the file's format are of no effect. See `separate`.

    Raises:
        AudioError: the sound cannot be treated so, or the disk for temporary files is full.
    """
    with (
        tempfile.TemporaryDirectory(prefix="denoise-") as work,
        separating(Watch(), clip, denoiser, Path(work), channels, selection=selection) as under_way,
    ):
        blocks = [mixed for _, mixed in mixed_blocks(under_way, settings)]
        target = _target(under_way.info, settings, blocks)
    return clip.with_samples(np.concatenate([clip.samples[:, :0], *map(target.applied, blocks)], axis=1))


def denoise_file(
    source: Path,
    out: Path,
    denoiser: Denoiser,
    settings: Settings = DEFAULTS,
    *,
    channels: Channels = "each",
    track: int | None = None,
    selection: Selection = EVERYTHING,
    removed: Path | None = None,
    progress: Report | None = None,
    cancelled: Question | None = None,
) -> Rendered:
    """A file denoised into another; what lies between is kept beside it and deleted. See `separate` and `render`."""
    with disk_errors_explained(out.name), tempfile.TemporaryDirectory(prefix=".denoise-", dir=out.parent) as work:
        made = denoise_keeping(
            source,
            out,
            denoiser,
            Path(work),
            settings,
            channels=channels,
            track=track,
            selection=selection,
            removed=removed,
            progress=progress,
            cancelled=cancelled,
        )
        return made[1]


def denoise_keeping(
    source: Path,
    out: Path,
    denoiser: Denoiser,
    work: Path,
    settings: Settings = DEFAULTS,
    *,
    channels: Channels = "each",
    track: int | None = None,
    selection: Selection = EVERYTHING,
    removed: Path | None = None,
    separated: Callable[[Separation], None] | None = None,
    progress: Report | None = None,
    cancelled: Question | None = None,
) -> tuple[Separation, Rendered]:
    """`separate` into `work` and `render`, in one pass: the result is written while the denoiser advances.

    Where a loudness is asked for, which the whole tells, it is measured on the way, and a second pass writes.

    Args:
        separated: Told what was separated before that second pass.

    Raises:
        AudioError: As `separate` and `render` do; nothing is left in `work`, nor of the output.
        Cancelled: `cancelled` said so; nothing is left either.
    """
    watch = Watch(progress, cancelled)
    in_one_pass = settings.loudness_lufs is None
    share = 1.0 if in_one_pass else SEPARATING
    began = time.perf_counter()
    with separating(
        watch, source, denoiser, work, channels, share=share, track=track, selection=selection
    ) as under_way:
        blocks = mixed_blocks(under_way, settings)
        if in_one_pass:
            written = _write(under_way, settings, out, removed, _Target(), blocks)
            separation = under_way.result()
            return separation, _rendered(separation, settings, written, began + separation.seconds_taken)
        target = _target(under_way.info, settings, (mixed for _, mixed in blocks))
        separation = under_way.result()
        if separated is not None:
            separated(separation)
        return separation, _render(separation, settings, out, removed, target, watch, SEPARATING)
