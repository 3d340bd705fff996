"""The first half of the engine: a denoiser runs over a sound once, and what it takes away is kept."""

from __future__ import annotations

import errno
import math
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from denoise_app.audio.clip import Clip, FileInfo, Samples
from denoise_app.audio.convert import Resampler, mid
from denoise_app.audio.errors import AudioError
from denoise_app.audio.level import CancellationMeter
from denoise_app.audio.notes import Note
from denoise_app.audio.offset import Offset, OffsetRemover
from denoise_app.denoiser import Denoiser, StreamingDenoiser

from . import threads
from .blocks import Blocks
from .chunks import Chunks, Plan
from .errors import EngineError
from .high_band import Gains, TopBand
from .progress import Question, Report, Watch
from .settings import Channels, treatment
from .sources import LevelMeter, Levels, block_frames, open_sound, window
from .tracks import Queue

SIDE_BY_SIDE = 4  # signals that one call of a denoiser treats: two thirds of the time of one by one where it recurs
SIDE_BY_SIDE_ON_GPU = 16
WARM_UP_SECONDS = 2  # processed before a preview, for denoisers that estimate the noise as they go


@dataclass(frozen=True)
class Separation:
    """What a denoiser takes from a sound, on disk at the denoiser's rate; `render` makes a file of it.

    Attributes:
        sound: The input, which is read again when rendering.
        track: Which sound track of it, from 1; None for the first.
        info: What the input was; its length is that of the part that was denoised.
        start: Its first sample in the input.
        channels: How the channels were treated.
        model_rate: Hz.
        delay_seconds: The denoiser's latency.
        device: "cpu", "cuda:0", ...: where the denoiser ran.
        seconds_taken: Wall clock.
        levels: Of the input.
        notes: What is odd about the input.
        is_part: True where only a stretch of the input was asked for.
        is_whole: True where nothing of the input was left out, and nothing of it is missing.
        taken: File of float32 (time, rows) at the model's rate: input without its offset minus denoised.
        gains: File of float32 (frames, rows): see `high_band.Gains`.
        offset: The constant offset of each channel, which is subtracted before the denoiser and counts as removed.
        rows: Signals that were denoised side by side: one per channel, or 1 for "mid".
        gain_hop: Samples at the model's rate between gains.
        skipped: Samples of `taken` that lie before it, where it is a part of another: see `part`.
    """

    sound: Path | Clip
    track: int | None
    info: FileInfo
    start: int
    channels: Channels
    model_rate: int
    delay_seconds: float
    device: str
    seconds_taken: float
    levels: Levels
    notes: tuple[Note, ...]
    is_part: bool
    is_whole: bool
    taken: Path
    gains: Path
    offset: Offset
    rows: int
    gain_hop: int
    skipped: int = 0

    @property
    def real_time_factor(self) -> float:
        """Seconds of work per second of sound; 0 for no sound."""
        return self.seconds_taken / self.info.seconds if self.info.frames else 0.0

    def taken_blocks(self) -> Iterator[Samples]:
        """What the denoiser takes away, as blocks (rows, n) at the model's rate."""
        size = block_frames(self.model_rate, self.rows)
        with self.taken.open("rb") as file:
            file.seek(4 * self.rows * self.skipped)
            while data := file.read(4 * self.rows * size):
                yield np.ascontiguousarray(np.frombuffer(data, np.float32).reshape(-1, self.rows).T)

    def read_gains(self) -> Gains:
        """How much of its top band the denoiser leaves, (frames, rows)."""
        return np.fromfile(self.gains, np.float32).reshape(-1, self.rows)

    @property
    def grain(self) -> int:
        """Samples of the input after which both rates meet at a whole sample again."""
        return self.info.sample_rate // math.gcd(self.info.sample_rate, self.model_rate)

    def part(self, start: int, frames: int) -> Separation:
        """A stretch of it; its first 0.1 s may differ a little, for filters begin there.

        Args:
            start: Its first sample, a multiple of `grain`.
            frames: Its length; it ends where this one does.
        """
        assert start % self.grain == 0
        info = replace(self.info, frames=max(0, min(frames, self.info.frames - start)))
        skipped = self.skipped + start * self.model_rate // self.info.sample_rate
        return replace(self, info=info, start=self.start + start, skipped=skipped, offset=self.offset.later(start))

    def remove(self) -> None:
        """Deletes its files; it cannot be rendered any more."""
        for path in (self.taken, self.gains):
            path.unlink(missing_ok=True)


def separate(
    sound: Path | str | Clip,
    denoiser: Denoiser,
    work: Path,
    *,
    channels: Channels = "each",
    progress: Report | None = None,
    cancelled: Question | None = None,
    start: float = 0.0,
    seconds: float | None = None,
    track: int | None = None,
) -> Separation:
    """Run a denoiser over a sound, once.

    Args:
        sound: A file or a clip.
        denoiser: Runs on the device where its weights lie.
        work: Folder for what is kept until rendering: 4 bytes for every sample at the denoiser's rate.
        channels: "each" on its own; "mid": their mean, whose result goes to every channel; "reference": the second
            of two channels is a noise reference, for denoisers that offer it.
        progress: Called with a `Progress`, once a block.
        cancelled: Asked once a block whether to stop.
        start: Seconds into the sound where to begin.
        seconds: How much to treat, None for all; together with `start` a preview.
        track: Which sound track of a file, from 1; None for the first, with a note where there are others.

    Raises:
        AudioError: the sound cannot be read or treated so, or the disk is full.
        Cancelled: `cancelled` said so; nothing is left in `work`.
    """
    return separate_within(Watch(progress, cancelled), 1.0, sound, denoiser, work, channels, start, seconds, track)


def separate_within(
    watch: Watch,
    share: float,
    sound: Path | str | Clip,
    denoiser: Denoiser,
    work: Path,
    channels: Channels,
    start: float = 0.0,
    seconds: float | None = None,
    track: int | None = None,
) -> Separation:
    """`separate`, as the first `share` of a longer work."""
    began = time.perf_counter()
    sound = sound if isinstance(sound, Clip) else Path(sound)
    with threads.limited(), open_sound(sound, track) as reader, _work_files(work) as (taken, gains):
        info = reader.info
        rate = info.sample_rate
        first, length = _span(info, start, seconds)
        warm_up = min(first // rate, WARM_UP_SECONDS)  # whole seconds are whole samples at both rates
        rows = 1 if channels == "mid" else info.channels
        meter, cancelling = LevelMeter(info.channels, rate), CancellationMeter(info.channels, rate)
        remover = OffsetRemover(info.channels, rate)
        step = watch.stage("separate", (length or info.frames - first) / rate, 0.0, share)
        position = -warm_up * rate
        with taken.open("wb") as taken_file, gains.open("wb") as gains_file:
            files = taken_file, gains_file
            run = _Run(_suited(denoiser, channels, info), rows, rate, files, skip=warm_up * denoiser.sample_rate)

            def hear(sound: Samples) -> None:
                """Hears (channels, n) without offset."""
                if channels == "mid":
                    cancelling.push(sound)
                run.push(mid(sound) if channels == "mid" else sound)

            blocks = reader.blocks(block_frames(rate, info.channels), first + position)
            for block in window(blocks, None if length is None else length - position):
                hear(remover.push(block))
                meter.push(block[:, max(0, -position) :])
                position += block.shape[1]
                step(max(0, position) / rate)
            hear(remover.finish())
            run.finish()
        if first and position <= 0:
            raise _beyond_the_end(info, start)
        levels = meter.levels()
        return Separation(
            sound=sound,
            track=track,
            info=replace(info, frames=position),
            start=first,
            channels=channels,
            model_rate=denoiser.sample_rate,
            delay_seconds=denoiser.latency / denoiser.sample_rate,
            device=run.device,
            seconds_taken=time.perf_counter() - began,
            levels=levels,
            notes=(*levels.notes(), *cancelling.notes(), *reader.notes),
            is_part=(is_part := first > 0 or length is not None),
            is_whole=not is_part and not reader.notes,
            taken=taken,
            gains=gains,
            offset=remover.offset().later(warm_up * rate),
            rows=rows,
            gain_hop=run.top_band.hop,
        )


def _span(info: FileInfo, start: float, seconds: float | None) -> tuple[int, int | None]:
    """The first sample, and how many; None for all that follow."""
    if start < 0 or (seconds is not None and seconds <= 0):
        raise ValueError(f"a part begins at 0 s or later and lasts longer than 0 s, not {start} and {seconds}")
    first = round(start * info.sample_rate)
    if first and first >= info.frames:
        raise _beyond_the_end(info, start)
    return first, None if seconds is None else max(1, min(info.frames - first, round(seconds * info.sample_rate)))


def _beyond_the_end(info: FileInfo, start: float) -> AudioError:
    return EngineError.of("start-beyond-end", start=start, seconds=info.seconds)


def _suited(denoiser: Denoiser, channels: Channels, info: FileInfo) -> Denoiser:
    """The denoiser for this treatment of channels."""
    if treatment(channels) != "reference":
        return denoiser
    with_reference: Callable[[], Denoiser] | None = getattr(denoiser, "with_reference", None)
    if with_reference is None:
        raise EngineError.of("no-reference-denoiser")
    if info.channels != 2:
        raise EngineError.of("reference-needs-two-channels", channels=info.channels)
    return with_reference()


@contextmanager
def _work_files(work: Path) -> Iterator[tuple[Path, Path]]:
    """Names of two new files in a folder, which are deleted where the work fails."""
    name = uuid.uuid4().hex
    paths = work / f"{name}.taken", work / f"{name}.gains"
    with disk_errors_explained("a work file"):
        work.mkdir(parents=True, exist_ok=True)
    try:
        with disk_errors_explained("a work file"):
            yield paths
    except BaseException:
        for path in paths:
            path.unlink(missing_ok=True)
        raise


@contextmanager
def disk_errors_explained(name: str) -> Iterator[None]:
    """Turns an OSError while writing into an AudioError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise AudioError.of("disk-full", name=name) from error
        raise AudioError.of("cannot-write", name=name, problem=error.strerror or str(error)) from error


class Runner(Protocol):
    """What `Blocks` and `Chunks` have in common."""

    def push(self, block: Tensor) -> Tensor: ...

    def finish(self) -> Tensor: ...


def runner(denoiser: Denoiser, rows: int) -> Runner:
    """A causal denoiser carries its state from block to block; another one processes chunks that overlap."""
    if denoiser.causal and isinstance(denoiser, StreamingDenoiser):
        return Blocks(denoiser, rows)
    together = (SIDE_BY_SIDE if device_of(denoiser) == "cpu" else SIDE_BY_SIDE_ON_GPU) // rows
    return Chunks(denoiser, rows, Plan.for_denoiser(denoiser, max(1, together)))


def device_of(denoiser: Denoiser) -> str:
    """Where its weights lie; one without weights computes on the CPU."""
    if not isinstance(denoiser, nn.Module):
        return "cpu"
    weight = next(chain(denoiser.parameters(), denoiser.buffers()), None)
    return "cpu" if weight is None else str(weight.device)


class _Run:
    """One pass of a denoiser over blocks at the sound's rate; what it takes away goes to a file.

    Args:
        denoiser: At its own rate.
        rows: Signals side by side.
        sample_rate: Of the blocks, in Hz.
        files: Get what is taken away, float32 (time, rows), and the gains of the top band, float32 (frames, rows).
        skip: Samples at the denoiser's rate that are processed but not kept.
    """

    def __init__(
        self, denoiser: Denoiser, rows: int, sample_rate: int, files: tuple[IO[bytes], IO[bytes]], skip: int
    ) -> None:
        self.top_band = TopBand(rows, denoiser.sample_rate)
        self.device = device_of(denoiser)
        self._resampler = Resampler(rows, sample_rate, denoiser.sample_rate)
        self._runner = runner(denoiser, rows)
        self._dry = Queue(rows)
        self._taken, self._gains = files
        self._skip = skip

    def push(self, block: Samples) -> None:
        """Push (rows, n) float32."""
        self._hear(self._resampler.push(block))

    def finish(self) -> None:
        self._hear(self._resampler.finish())
        self._keep(self._runner.finish())
        self._gains.write(self.top_band.finish().tobytes())

    def _hear(self, dry: Samples) -> None:
        self._dry.put(dry)
        self._keep(self._runner.push(torch.tensor(dry, device=self.device)))

    def _keep(self, clean: Tensor) -> None:
        dry, wet = self._dry.take(clean.shape[1])[:, self._skip :], clean.cpu().numpy()[:, self._skip :]
        self._skip -= clean.shape[1] - wet.shape[1]
        taken = dry - wet
        if not np.isfinite(taken).all():
            raise EngineError.of("not-computable")
        self._taken.write(taken.T.tobytes())  # (rows, n) -> (n, rows)
        self._gains.write(self.top_band.push(dry, wet).tobytes())
