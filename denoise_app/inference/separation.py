"""The first half of the engine: a denoiser runs over a sound once, and what it takes away is kept."""

from __future__ import annotations

import errno
import math
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BufferedWriter
from itertools import chain
from pathlib import Path
from typing import NamedTuple, Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn

from denoise_app.audio.clip import Clip, FileInfo, Samples
from denoise_app.audio.convert import Resampler, mid, resampled_length
from denoise_app.audio.errors import AudioError
from denoise_app.audio.files import Reader
from denoise_app.audio.level import CancellationMeter
from denoise_app.audio.notes import Note
from denoise_app.audio.offset import Offset, OffsetRemover
from denoise_app.denoiser import Denoiser, StreamingDenoiser

from . import threads
from .blocks import Blocks
from .chunks import Chunks, Plan
from .errors import EngineError
from .high_band import Gains, TopBand
from .progress import Question, Report, Step, Watch
from .settings import Channels, treatment
from .sources import ClipReader, LevelMeter, Levels, block_frames, open_sound, window
from .tracks import Queue

SIDE_BY_SIDE = 4  # signals that one call of a denoiser treats: two thirds of the time of one by one where it recurs
SIDE_BY_SIDE_ON_GPU = 16
WARM_UP_SECONDS = 2  # processed before a preview, for denoisers that estimate the noise as they go


class Piece(NamedTuple):
    """What is known next of a separation; each part of it goes on where that of the piece before ended.

    Attributes:
        sound: The input, (channels, n).
        centred: The same without its offset, as the denoiser heard it, (channels, n).
        taken: What the denoiser takes from it, (rows, m) at the denoiser's rate.
        gains: How much of its top band it leaves, (frames, rows).
    """

    sound: Samples
    centred: Samples
    taken: Samples
    gains: Gains


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

    def pieces(self) -> Iterator[Piece]:
        """It once more, from its files; raises AudioError where the input is gone."""
        rate, rows = self.info.sample_rate, self.rows
        first, position = self.skipped // self.gain_hop, 0
        with (
            open_sound(self.sound, self.track) as reader,
            _Rows(self.taken, rows, self.skipped) as taken,
            _Rows(self.gains, rows, first) as gains,
        ):
            for sound in window(reader.blocks(block_frames(rate, self.info.channels), self.start), self.info.frames):
                offset = self.offset.at(position, sound.shape[1])
                position += sound.shape[1]
                end = self.skipped + resampled_length(position, rate, self.model_rate)
                last = end // self.gain_hop + 1  # a gain lies at or after the last sample
                yield Piece(sound, sound - offset, taken.up_to(end).T, gains.up_to(last + 1))

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
    watch = Watch(progress, cancelled)
    with separating(watch, sound, denoiser, work, channels, start=start, seconds=seconds, track=track) as under_way:
        for _ in under_way.pieces():
            pass  # they are kept in its files
        return under_way.result()


@contextmanager
def separating(
    watch: Watch,
    sound: Path | str | Clip,
    denoiser: Denoiser,
    work: Path,
    channels: Channels = "each",
    *,
    share: float = 1.0,
    start: float = 0.0,
    seconds: float | None = None,
    track: int | None = None,
) -> Iterator[Separating]:
    """`separate` while it goes on, as the first `share` of a longer work; what fails within leaves nothing."""
    sound = sound if isinstance(sound, Clip) else Path(sound)
    with (
        threads.limited(),
        open_sound(sound, track) as reader,
        _work_files(work) as (taken, gains),
        taken.open("wb") as taken_file,
        gains.open("wb") as gains_file,
    ):
        span = _span(reader.info, start, seconds)
        length = (span[1] or reader.info.frames - span[0]) / reader.info.sample_rate
        step = watch.stage("separate", length, 0.0, share)
        yield Separating(sound, track, reader, denoiser, channels, span, (taken_file, gains_file), step)


class Separating:
    """A separation under way. Once its pieces have been gone through, it has its result.

    Attributes:
        info: What the header says of the input.
        channels, model_rate, rows, gain_hop, skipped: See `Separation`.
    """

    skipped = 0

    def __init__(
        self,
        sound: Path | Clip,
        track: int | None,
        reader: Reader | ClipReader,
        denoiser: Denoiser,
        channels: Channels,
        span: tuple[int, int | None],
        files: tuple[BufferedWriter, BufferedWriter],
        step: Step,
    ) -> None:
        self.info = info = reader.info
        self.channels: Channels = channels
        self.model_rate = denoiser.sample_rate
        self.rows = 1 if channels == "mid" else info.channels
        self._sound, self._track, self._reader = sound, track, reader
        self._denoiser = denoiser
        self._first, self._length = span
        self._taken, self._gains = files
        self._step = step
        self._warm_up = min(self._first // info.sample_rate, WARM_UP_SECONDS)  # whole, as in samples of both rates
        skip = self._warm_up * self.model_rate
        self._run = _Run(_suited(denoiser, channels, info), self.rows, info.sample_rate, skip)
        self.gain_hop = self._run.top_band.hop
        self._levels = LevelMeter(info.channels, info.sample_rate)
        self._cancelling = CancellationMeter(info.channels, info.sample_rate)
        self._remover = OffsetRemover(info.channels, info.sample_rate)
        self._frames = 0  # that were heard, without those of the warm-up
        self._seconds = 0.0  # of work, without those of who goes through the pieces

    def pieces(self) -> Iterator[Piece]:
        """What becomes known as the denoiser advances, and is kept; to be gone through once, and to the end."""
        began = time.perf_counter()
        for piece in self._known():
            self._taken.write(piece.taken.T.tobytes())  # (rows, n) -> (n, rows)
            self._gains.write(piece.gains.tobytes())
            self._seconds += time.perf_counter() - began
            yield piece
            began = time.perf_counter()
            self._step(self._frames / self.info.sample_rate)
        self._taken.flush()
        self._gains.flush()

    def _known(self) -> Iterator[Piece]:
        skip = self._warm_up * self.info.sample_rate
        for sound, centred in self._centred():
            if self.channels == "mid":
                self._cancelling.push(centred)
            taken, gains = self._run.push(mid(centred) if self.channels == "mid" else centred)
            yield Piece(sound[:, skip:], centred[:, skip:], taken, gains)
            skip = max(0, skip - sound.shape[1])
        yield Piece(sound[:, :0], sound[:, :0], *self._run.finish())

    def _centred(self) -> Iterator[tuple[Samples, Samples]]:
        """Blocks (channels, n) from the warm-up on, with and without their offset."""
        rate, channels = self.info.sample_rate, self.info.channels
        position = -self._warm_up * rate
        waiting = Queue(channels)  # for its offset to become known
        blocks = self._reader.blocks(block_frames(rate, channels), self._first + position)
        for block in window(blocks, None if self._length is None else self._length - position):
            waiting.put(block)
            self._levels.push(block[:, max(0, -position) :])
            position += block.shape[1]
            self._frames = max(0, position)
            centred = self._remover.push(block)
            yield _shared(waiting.take(centred.shape[1]), centred)
        if self._first and not self._frames:
            raise _beyond_the_end(self.info, self._first / rate)
        yield _shared(waiting.take(waiting.frames), self._remover.finish())

    def result(self) -> Separation:
        """What was found, once all pieces have been gone through."""
        levels = self._levels.levels()
        is_part = self._first > 0 or self._length is not None
        notes = self._reader.notes
        return Separation(
            sound=self._sound,
            track=self._track,
            info=replace(self.info, frames=self._frames),
            start=self._first,
            channels=self.channels,
            model_rate=self.model_rate,
            delay_seconds=self._denoiser.latency / self.model_rate,
            device=self._run.device,
            seconds_taken=self._seconds,
            levels=levels,
            notes=(*levels.notes(), *self._cancelling.notes(), *notes),
            is_part=is_part,
            is_whole=not is_part and not notes,
            taken=Path(self._taken.name),
            gains=Path(self._gains.name),
            offset=self._remover.offset().later(self._warm_up * self.info.sample_rate),
            rows=self.rows,
            gain_hop=self.gain_hop,
        )


def _shared(sound: Samples, centred: Samples) -> tuple[Samples, Samples]:
    """Both, as one array where they are alike: of non-causal denoisers both are held for half a minute."""
    return sound, sound if np.array_equal(sound, centred) else centred


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


class _Rows:
    """A file of float32 (time, rows) that is read in order, from a time on."""

    def __init__(self, path: Path, rows: int, start: int) -> None:
        self._file = path.open("rb")
        self._rows = rows
        self._file.seek(4 * rows * start)
        self._position = start

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def up_to(self, end: int) -> Gains:
        """The next (n, rows) until time `end`, fewer where the file ends."""
        data = self._file.read(4 * self._rows * (end - self._position))
        self._position = end
        return np.frombuffer(data, np.float32).reshape(-1, self._rows)


class _Run:
    """One pass of a denoiser over blocks at the sound's rate.

    Args:
        denoiser: At its own rate.
        rows: Signals side by side.
        sample_rate: Of the blocks, in Hz.
        skip: Samples at the denoiser's rate that are processed but not given.
    """

    def __init__(self, denoiser: Denoiser, rows: int, sample_rate: int, skip: int) -> None:
        self.top_band = TopBand(rows, denoiser.sample_rate)
        self.device = device_of(denoiser)
        self._resampler = Resampler(rows, sample_rate, denoiser.sample_rate)
        self._runner = runner(denoiser, rows)
        self._dry = Queue(rows)
        self._skip = skip

    def push(self, block: Samples) -> tuple[Samples, Gains]:
        """(rows, n) float32 -> what is taken away, (rows, m), and the gains of the top band that are then known."""
        return self._settled(self._hear(self._resampler.push(block)))

    def finish(self) -> tuple[Samples, Gains]:
        """What is left of both."""
        parts = [self._settled(self._hear(self._resampler.finish())), self._settled(self._runner.finish())]
        taken, gains = zip(*parts, strict=True)
        return np.concatenate(taken, axis=1), np.concatenate([*gains, self.top_band.finish()])

    def _hear(self, dry: Samples) -> Tensor:
        self._dry.put(dry)
        return self._runner.push(torch.tensor(dry, device=self.device))

    def _settled(self, clean: Tensor) -> tuple[Samples, Gains]:
        dry, wet = self._dry.take(clean.shape[1])[:, self._skip :], clean.cpu().numpy()[:, self._skip :]
        self._skip -= clean.shape[1] - wet.shape[1]
        taken = dry - wet
        if not np.isfinite(taken).all():
            raise EngineError.of("not-computable")
        return taken, self.top_band.push(dry, wet)
