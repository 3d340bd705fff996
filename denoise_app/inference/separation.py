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
from .noise_profile import profiled
from .progress import Question, Report, Step, Watch
from .selection import ENDLESS, EVERYTHING, Selection, Stretch, beyond_the_end
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
        centred: The same without its offset, as the denoiser got it, (channels, m); from `processed[0]` on.
        taken: What the denoiser takes from it, (rows, k) at the denoiser's rate; from there on too.
        gains: How much of its top band it leaves, (frames, rows).
        done: Whether that is all of these three; only sound that nothing is taken from may follow.
    """

    sound: Samples
    centred: Samples
    taken: Samples
    gains: Gains
    done: bool = False


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
        processed: First sample and end of what `taken` and `gains` are of, ENDLESS for all that follows.
        stretch: What is denoised of it; None for all.
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
    processed: tuple[int, int] = (0, ENDLESS)
    stretch: Stretch | None = None
    skipped: int = 0

    @property
    def real_time_factor(self) -> float:
        """Seconds of work per second of sound that was denoised; 0 for no sound."""
        begin, end = self.processed
        frames = min(end, self.info.frames) - begin
        return self.seconds_taken / (frames / self.info.sample_rate) if frames > 0 else 0.0

    def pieces(self) -> Iterator[Piece]:
        """It once more, from its files; raises AudioError where the input is gone."""
        rate, rows = self.info.sample_rate, self.rows
        first, position, known = self.skipped // self.gain_hop, 0, 0
        with (
            open_sound(self.sound, self.track) as reader,
            _Rows(self.taken, rows, self.skipped) as taken,
            _Rows(self.gains, rows, first) as gains,
        ):
            for sound in window(reader.blocks(block_frames(rate, self.info.channels), self.start), self.info.frames):
                signal = _cut(sound, position, self.processed)[1]
                position += sound.shape[1]
                centred = signal - self.offset.at(known, signal.shape[1])
                known += signal.shape[1]
                end = self.skipped + resampled_length(known, rate, self.model_rate)
                last = end // self.gain_hop + 1  # a gain lies at or after the last sample
                done = position >= self.processed[1]
                yield Piece(sound, centred, taken.up_to(end).T, gains.up_to(last + 1), done)

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
        begin, end = self.processed
        inside = max(0, start - begin)  # of what is processed, before the part
        return replace(
            self,
            info=replace(self.info, frames=max(0, min(frames, self.info.frames - start))),
            start=self.start + start,
            skipped=self.skipped + inside * self.model_rate // self.info.sample_rate,
            offset=self.offset.later(inside),
            processed=(max(0, begin - start), max(0, _later(end, -start))),
            stretch=self.stretch and self.stretch.later(start),
        )

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
    selection: Selection = EVERYTHING,
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
        selection: The stretch that is denoised, the denoiser hearing what is around it too, and that of the noise.
            It is one of a whole sound, and goes with no `start` or `seconds`.

    Raises:
        AudioError: the sound cannot be read or treated so, or the disk is full.
        Cancelled: `cancelled` said so; nothing is left in `work`.
    """
    watch = Watch(progress, cancelled)
    with separating(
        watch, sound, denoiser, work, channels, start=start, seconds=seconds, track=track, selection=selection
    ) as under_way:
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
    selection: Selection = EVERYTHING,
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
        if span != (0, None) and selection != EVERYTHING:
            raise ValueError("a selection is one of a whole sound")
        length = (span[1] or reader.info.frames - span[0]) / reader.info.sample_rate
        step = watch.stage("separate", length, 0.0, share)
        yield Separating(sound, track, reader, denoiser, channels, span, (taken_file, gains_file), step, selection)


class Separating:
    """A separation under way. Once its pieces have been gone through, it has its result.

    Attributes:
        info: What the header says of the input.
        channels, model_rate, rows, gain_hop, skipped, processed, stretch: See `Separation`.
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
        selection: Selection = EVERYTHING,
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
        self.stretch = selection.stretch(info)
        grain = info.sample_rate // math.gcd(info.sample_rate, self.model_rate)
        self.processed = self.stretch.surroundings(info.sample_rate, grain) if self.stretch else (0, ENDLESS)
        warm_up = WARM_UP_SECONDS if denoiser.causal else max(WARM_UP_SECONDS, self._reach)
        start = self._first + self.processed[0]
        self._warm_up = min(start // info.sample_rate, warm_up)  # whole seconds, as in samples of both
        suited = profiled(_suited(denoiser, channels, info), sound, track, channels, selection.noise_profile)
        self._run = _Run(suited, self.rows, info.sample_rate, self._warm_up * self.model_rate)
        self.gain_hop = self._run.top_band.hop
        self._levels = LevelMeter(info.channels, info.sample_rate)
        self._cancelling = CancellationMeter(info.channels, info.sample_rate)
        self._remover = OffsetRemover(info.channels, info.sample_rate)
        self._frames = 0  # that were processed, without those of the warm-up
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

    @property
    def _reach(self) -> int:
        """Whole seconds on either side of a sample that its result may depend on."""
        return math.ceil(self._denoiser.latency / self.model_rate)

    def _known(self) -> Iterator[Piece]:
        warm_up = self._warm_up * self.info.sample_rate
        early = warm_up if self.stretch is None else 0  # before a part the sound does not count either
        nothing = np.zeros((self.rows, 0), np.float32)
        for sound, centred, is_last in self._centred():
            if self.channels == "mid":
                self._cancelling.push(centred)
            signal = mid(centred) if self.channels == "mid" else centred
            taken, gains = self._run.push(signal) if centred.shape[1] else (nothing, nothing.T)
            yield Piece(sound[:, early:], centred[:, warm_up:], taken, gains)
            early, warm_up = max(0, early - sound.shape[1]), max(0, warm_up - centred.shape[1])
            if is_last:
                yield Piece(sound[:, :0], sound[:, :0], *self._run.finish(), done=True)

    def _centred(self) -> Iterator[tuple[Samples, Samples, bool]]:
        """Blocks (channels, n) of the sound; what is processed of it, without its offset; whether that is all."""
        rate, channels = self.info.sample_rate, self.info.channels
        first = self.processed[0] - self._warm_up * rate
        limits = first, _later(self.processed[1], self._reach * rate)
        position = min(0, first)
        waiting = Queue(channels)  # for its offset to become known
        is_open = True
        blocks = self._reader.blocks(block_frames(rate, channels), self._first + position)
        for block in window(blocks, None if self._length is None else self._length - position):
            before, signal, after = _cut(block, position, limits)
            self._levels.push(block[:, max(0, -position) :])
            waiting.put(signal)
            position += block.shape[1]
            self._frames = max(0, position)
            if before.shape[1]:
                yield before, before[:, :0], False
            if signal.shape[1]:
                centred = self._remover.push(signal)
                yield *_shared(waiting.take(centred.shape[1]), centred), False
            if is_open and position >= limits[1]:
                is_open = False
                yield *_shared(waiting.take(waiting.frames), self._remover.finish()), True
            if after.shape[1]:
                yield after, after[:, :0], False
        begin = self.stretch.first if self.stretch else 0
        if self._frames <= begin and self._first + begin:
            raise beyond_the_end(self.info, (self._first + begin) / rate)
        if is_open:
            yield *_shared(waiting.take(waiting.frames), self._remover.finish()), True

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
            device=getattr(self._denoiser, "computes_on", self._run.device),  # one may hand its work on
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
            processed=self.processed,
            stretch=self.stretch,
        )


def _later(end: int, frames: int) -> int:
    """So many samples later; ENDLESS stays."""
    return end if end == ENDLESS else end + frames


def _cut(block: Samples, position: int, span: tuple[int, int]) -> tuple[Samples, Samples, Samples]:
    """A block that begins at a position, as what lies before a span, in it and after it."""
    first, last = (min(max(0, edge - position), block.shape[1]) for edge in span)
    return block[:, :first], block[:, first:last], block[:, last:]


def _shared(sound: Samples, centred: Samples) -> tuple[Samples, Samples]:
    """Both, as one array where they are alike: of non-causal denoisers both are held for half a minute."""
    return sound, sound if np.array_equal(sound, centred) else centred


def _span(info: FileInfo, start: float, seconds: float | None) -> tuple[int, int | None]:
    """The first sample, and how many; None for all that follow."""
    if start < 0 or (seconds is not None and seconds <= 0):
        raise ValueError(f"a part begins at 0 s or later and lasts longer than 0 s, not {start} and {seconds}")
    first = round(start * info.sample_rate)
    if first and first >= info.frames:
        raise beyond_the_end(info, start)
    return first, None if seconds is None else max(1, min(info.frames - first, round(seconds * info.sample_rate)))


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
        return self._settled(self._denoise(self._resampler.push(block)))

    def finish(self) -> tuple[Samples, Gains]:
        """What is left of both."""
        parts = [self._settled(self._denoise(self._resampler.finish())), self._settled(self._runner.finish())]
        taken, gains = zip(*parts, strict=True)
        return np.concatenate(taken, axis=1), np.concatenate([*gains, self.top_band.finish()])

    def _denoise(self, dry: Samples) -> Tensor:
        self._dry.put(dry)
        return self._runner.push(torch.tensor(dry, device=self.device))

    def _settled(self, clean: Tensor) -> tuple[Samples, Gains]:
        dry, wet = self._dry.take(clean.shape[1])[:, self._skip :], clean.cpu().numpy()[:, self._skip :]
        self._skip -= clean.shape[1] - wet.shape[1]
        taken = dry - wet
        if not np.isfinite(taken).all():
            raise EngineError.of("not-computable")
        return taken, self.top_band.push(dry, wet)
