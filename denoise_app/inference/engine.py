"""The engine: sound of any rate, length and number of channels through a denoiser, and back to what it was.

`separate` runs the denoiser once and keeps what it takes away; `render` makes a file of it by `Settings`, as often as
wanted, without running the denoiser again. Both go through the sound block by block.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np

from denoise_app.audio.clip import Clip, FileInfo, Samples
from denoise_app.audio.convert import mid
from denoise_app.audio.encodings import Encoding, encoding_for
from denoise_app.audio.files import encoding_like, open_writer, probe
from denoise_app.audio.level import TruePeakMeter, from_db, to_db
from denoise_app.audio.notes import Note
from denoise_app.audio.tags import carry
from denoise_app.denoiser import Denoiser

from . import threads
from .high_band import gain_at
from .progress import Cancelled, Progress, Question, Report, Watch
from .separation import Separation, disk_errors_explained, separate, separate_within
from .settings import Channels, HighBand, Settings
from .sources import LevelMeter, Levels, block_frames, open_sound, window
from .tracks import Track, resampled, with_low_band

__all__ = [
    "Cancelled",
    "Channels",
    "HighBand",
    "Levels",
    "Progress",
    "Rendered",
    "Separation",
    "Settings",
    "denoise",
    "denoise_file",
    "mixed_blocks",
    "output_encoding",
    "render",
    "separate",
]

SEPARATING = 0.8  # of the time that `denoise_file` takes; the rest is rendering


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
    return _render(separation, settings, out, removed, Watch(progress, cancelled), 0.0)


def _render(
    separation: Separation, settings: Settings, out: Path, removed: Path | None, watch: Watch, begin: float
) -> Rendered:
    """`render`, from fraction `begin` of a longer work on."""
    began = time.perf_counter()
    info = separation.info
    encoding = output_encoding(info, settings)
    middle = begin if settings.loudness_lufs is None else (begin + 1) / 2
    target = _target(separation, settings, watch, begin, middle)
    step = watch.stage("render", info.seconds, middle)
    meter = LevelMeter(info.channels, info.sample_rate)
    bounded = encoding.bit_depth is not None and encoding.codec not in ("FLOAT", "DOUBLE")
    cut, position = 0, 0
    with threads.limited(), ExitStack() as files:
        writers = [
            files.enter_context(open_writer(path, info.sample_rate, info.channels, encoding, info.frames))
            for path in (out, removed)
            if path is not None
        ]
        for sound, mixed in mixed_blocks(separation, settings):
            output = target.applied(mixed)
            for writer, samples in zip(writers, (output, sound - mixed), strict=False):
                writer.write(samples)
            meter.push(output)
            cut += int((np.abs(output) > 1).sum()) if bounded else 0
            position += output.shape[1]
            step(position / info.sample_rate)
    lost: tuple[Note, ...] = ()
    if isinstance(separation.sound, Path) and _is_untouched(separation, settings, encoding):
        _copy(separation.sound, out)
    elif isinstance(separation.sound, Path) and not separation.is_part:
        lost = carry(separation.sound, out)
    return Rendered(
        path=out,
        removed=removed,
        info_in=info,
        info_out=probe(out),
        model_rate=separation.model_rate,
        high_band=settings.high_band if _has_high_band(separation) else None,
        channels=separation.channels,
        gain_db=target.gain_db,
        limited=target.limited,
        levels_in=separation.levels,
        levels_out=meter.levels(),
        true_peak_dbtp=target.true_peak_dbtp,
        cut_samples=cut,
        seconds_taken=time.perf_counter() - began,
        notes=separation.notes + lost,
    )


@dataclass(frozen=True)
class _Target:
    """The gain in dB that brings a mix to its loudness, and what it then is (see `Rendered`)."""

    gain_db: float = 0.0
    limited: bool = False
    true_peak_dbtp: float | None = None

    def applied(self, samples: Samples) -> Samples:
        return samples * np.float32(from_db(self.gain_db)) if self.gain_db else samples


def _target(separation: Separation, settings: Settings, watch: Watch, begin: float, end: float) -> _Target:
    """Measures the mix where a loudness is asked for. What is too soft for a loudness keeps its level."""
    if settings.loudness_lufs is None:
        return _Target()
    info = separation.info
    step = watch.stage("measure", info.seconds, begin, end)
    loudness, highest, position = LevelMeter(info.channels, info.sample_rate), TruePeakMeter(info.channels), 0
    for _, mixed in mixed_blocks(separation, settings):
        loudness.push(mixed)
        highest.push(mixed)
        position += mixed.shape[1]
        step(position / info.sample_rate)
    lufs, true_peak = loudness.levels().loudness_lufs, to_db(highest.finish())
    if not isfinite(lufs):
        return _Target(true_peak_dbtp=true_peak)
    wanted, allowed = settings.loudness_lufs - lufs, settings.true_peak_dbtp - true_peak
    gain = min(wanted, allowed)
    return _Target(gain, allowed < wanted, true_peak + gain)


def _has_high_band(separation: Separation) -> bool:
    return separation.info.sample_rate > separation.model_rate


def mixed_blocks(separation: Separation, settings: Settings) -> Iterator[tuple[Samples, Samples]]:
    """Blocks (C, n) of the input, each with the mix that replaces it.

    The mix is the input minus what is taken from it, so that where nothing is taken the input's bits remain. Its
    constant offset, which is no sound, is taken with the noise.
    """
    info, rate, rows = separation.info, separation.info.sample_rate, separation.rows
    with open_sound(separation.sound, separation.track) as reader:
        blocks = window(reader.blocks(block_frames(rate, info.channels), separation.start), info.frames)
        if settings.wet == 0:
            yield from ((sound, sound) for sound in blocks)
            return
        taken = Track(resampled(separation.taken_blocks(), rows, separation.model_rate, rate), rows)
        position = 0
        for centred, high in _with_high_band(separation, settings, _without_offset(separation, blocks)):
            offset = separation.offset.at(position, centred.shape[1])
            heard = mid(centred) if separation.channels == "mid" else centred
            change = offset + (centred - heard) + taken.take(centred.shape[1]) + high
            sound = centred + offset
            position += centred.shape[1]
            yield sound, sound - settings.wet * change


def _without_offset(separation: Separation, blocks: Iterator[Samples]) -> Iterator[Samples]:
    """Blocks (C, n) as the denoiser heard them."""
    position = 0
    for sound in blocks:
        yield sound - separation.offset.at(position, sound.shape[1])
        position += sound.shape[1]


def _with_high_band(
    separation: Separation, settings: Settings, blocks: Iterator[Samples]
) -> Iterator[tuple[Samples, Samples | float]]:
    """Blocks (C, n), each with what is taken from it above the model's band, (rows, n) or 0."""
    info, model_rate = separation.info, separation.model_rate
    if settings.high_band == "keep" or not _has_high_band(separation):
        yield from ((sound, 0.0) for sound in blocks)
        return
    gains = separation.read_gains()
    frames_per_sample = model_rate / info.sample_rate / separation.gain_hop
    position = separation.skipped * info.sample_rate // model_rate
    for sound, low in with_low_band(blocks, info.channels, info.sample_rate, model_rate):
        high = mid(sound - low) if separation.channels == "mid" else sound - low
        if settings.high_band == "follow":
            times = np.arange(position, position + sound.shape[1]) * frames_per_sample
            high = high * (1 - gain_at(gains, times))
        position += sound.shape[1]
        yield sound, high


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


def denoise(clip: Clip, denoiser: Denoiser, settings: Settings = DEFAULTS, *, channels: Channels = "each") -> Clip:
    """A short sound in memory, denoised; the settings of the file's format are of no effect.

    Raises:
        AudioError: the sound cannot be treated so, or the disk for temporary files is full.
    """
    with threads.limited(), tempfile.TemporaryDirectory(prefix="denoise-") as work:
        separation = separate(clip, denoiser, Path(work), channels=channels)
        target = _target(separation, settings, Watch(), 0.0, 0.5)
        blocks = [target.applied(mixed) for _, mixed in mixed_blocks(separation, settings)]
    return clip.with_samples(np.concatenate([clip.samples[:, :0], *blocks], axis=1))


def denoise_file(
    source: Path,
    out: Path,
    denoiser: Denoiser,
    settings: Settings = DEFAULTS,
    *,
    channels: Channels = "each",
    track: int | None = None,
    removed: Path | None = None,
    progress: Report | None = None,
    cancelled: Question | None = None,
) -> Rendered:
    """A file denoised into another; what lies between is kept beside it and deleted. See `separate` and `render`."""
    watch = Watch(progress, cancelled)
    with disk_errors_explained(out.name), tempfile.TemporaryDirectory(prefix=".denoise-", dir=out.parent) as work:
        separation = separate_within(watch, SEPARATING, source, denoiser, Path(work), channels, track=track)
        return _render(separation, settings, out, removed, watch, SEPARATING)
