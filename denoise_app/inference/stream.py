"""Sound denoised while it comes in: chunks of any length, at any rate, for sound cards, sockets and pipes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
import torch
from torch import Tensor

from denoise_app.audio.clip import Samples
from denoise_app.audio.convert import Resampler
from denoise_app.denoiser import Denoiser, StreamingDenoiser

from . import threads
from .blocks import Blocks
from .errors import EngineError
from .high_band import TopBand, gain_at
from .separation import device_of
from .settings import Settings
from .tracks import Queue

RAMP_SECONDS = 0.02  # over which a new strength sets in, so that turning it makes no click


class Stream:
    """A causal denoiser that takes a sound chunk by chunk, and returns each sample as soon as it is final.

    All that `push` and `flush` give, one after the other, has the input's length, is aligned with it, and is what
    denoising the whole sound at once gives, however it is cut. What is remembered is bounded, however long it runs. A
    constant offset alone is left in, for the engine estimates it from the seconds that follow.

    Args:
        denoiser: It is shared, never changed; what is remembered lies here.
        sample_rate: Of the sound, in Hz.
        channels: Each is denoised on its own.
        strength: Percent, 0 (the input as it is) to 100 (all that the denoiser does).
        max_attenuation_db: Nothing is made softer by more than this; dB, 0 to inf.

    Raises:
        EngineError: "not-causal" where the denoiser needs later samples.
        SettingError: a strength or an attenuation out of its range.
        ValueError: no rate, or no channel.

    >>> from denoise_app.classical.wiener import Wiener
    >>> stream, noisy = Stream(Wiener(), 48_000), np.ones(1000, np.float32)
    >>> len(stream.push(noisy)) + len(stream.push(noisy)) + len(stream.flush())
    2000
    """

    def __init__(
        self,
        denoiser: Denoiser,
        sample_rate: int,
        channels: int = 1,
        strength: float = 100.0,
        max_attenuation_db: float = inf,
    ) -> None:
        if not (denoiser.causal and isinstance(denoiser, StreamingDenoiser)):
            raise EngineError.of("not-causal")
        if sample_rate < 1 or channels < 1:
            raise ValueError(f"a sound has a rate and a channel, not {sample_rate} Hz and {channels}")
        self.denoiser = denoiser
        self.sample_rate, self.channels = sample_rate, channels
        self._has_high_band = sample_rate > denoiser.sample_rate
        self._flat = channels == 1
        self.strength, self.max_attenuation_db = strength, max_attenuation_db
        self._wanted = Settings(strength, max_attenuation_db).wet
        self.reset()

    def adjust(self, strength: float | None = None, max_attenuation_db: float | None = None) -> None:
        """Change the strength, the most attenuation or both while it runs; what is to come is faded over in 20 ms.

        Raises:
            SettingError: a number out of its range; nothing is changed.
        """
        wanted = self.strength if strength is None else strength
        most = self.max_attenuation_db if max_attenuation_db is None else max_attenuation_db
        self._wanted = Settings(wanted, most).wet
        self.strength, self.max_attenuation_db = wanted, most

    def reset(self) -> None:
        """Forgets everything but its settings; the next push begins a new sound."""
        rows, rate = self.channels, self.denoiser.sample_rate
        self._down = Resampler(rows, self.sample_rate, rate)
        self._taken_up = Resampler(rows, rate, self.sample_rate)
        self._low_up = Resampler(rows, rate, self.sample_rate)
        self._blocks = Blocks(self.denoiser, rows)
        self._top_band = TopBand(rows, rate)
        self._gains = np.zeros((0, rows), np.float32)
        self._past_gains = 0  # that are not kept any more
        self._sound, self._low = Queue(rows), Queue(rows)  # at the sound's rate, as it is and below the denoiser's band
        self._dry = Queue(rows)  # at the denoiser's rate, until it has been denoised
        self._taken = Queue(rows)  # what is taken away, at the sound's rate
        self._given = 0
        self._wet = self._wanted
        self._seconds_taken = 0.0

    @property
    def held(self) -> int:
        """Samples of each channel that were pushed and have not come out yet: the delay at this moment."""
        return self._sound.frames

    @property
    def load(self) -> float:
        """Seconds of work per second of sound since the beginning: 1 or more cannot keep up. 0 before any sound."""
        seconds = (self._given + self.held) / self.sample_rate
        return self._seconds_taken / seconds if seconds else 0.0

    def push(self, chunk: Samples) -> Samples:
        """The samples that are settled by one more chunk.

        Args:
            chunk: (T,) for one channel, or (channels, T); float32, T >= 0. It may be used again after the call.

        Returns:
            (M,) or (channels, M) like the chunk, M >= 0.

        Raises:
            TypeError: not an array of float32.
            ValueError: another shape.
            EngineError: "chunk-not-finite", and the chunk counts as not pushed; "not-computable", and it is reset.
        """
        began = time.perf_counter()
        signal = self._checked(chunk)
        self._flat = chunk.ndim == 1
        self._sound.put(signal)
        self._process(self._down.push(signal))
        return self._given_out(self._settled(), began)

    def flush(self) -> Samples:
        """The samples that are left at the end of a sound, in the shape of the last chunk; then it is reset."""
        began = time.perf_counter()
        self._process(self._down.finish())
        with threads.limited():
            rest = self._blocks.finish()
        self._keep(rest)
        if self._has_high_band:
            self._gains = np.concatenate([self._gains, self._top_band.finish()])
            self._low.put(self._low_up.finish())
        self._taken.put(self._taken_up.finish())
        given = self._given_out(self._sound.frames, began)
        self.reset()
        return given

    def _checked(self, chunk: Any) -> Samples:
        """The chunk as an array (channels, T) of its own."""
        if not isinstance(chunk, np.ndarray) or chunk.dtype != np.float32:
            kind = f"an array of {chunk.dtype}" if isinstance(chunk, np.ndarray) else type(chunk).__name__
            raise TypeError(f"a chunk is a NumPy array of float32, not {kind}")
        rows = chunk[None] if chunk.ndim == 1 else chunk
        if rows.ndim != 2 or rows.shape[0] != self.channels:
            shapes = f"({self.channels}, T)" + (" or (T,)" if self.channels == 1 else "")
            raise ValueError(f"a chunk of this stream has the shape {shapes}, not {chunk.shape}")
        if not np.isfinite(rows).all():
            raise EngineError.of("chunk-not-finite")
        return rows.copy()

    def _process(self, dry: Samples) -> None:
        """One more block (channels, n) at the denoiser's rate."""
        self._dry.put(dry)
        if self._has_high_band:
            self._low.put(self._low_up.push(dry))
        with threads.limited():
            clean = self._blocks.push(torch.tensor(dry, device=device_of(self.denoiser)))
        self._keep(clean)

    def _keep(self, clean: Tensor) -> None:
        """What the denoiser takes away from the next samples, and from its top band."""
        wet = clean.cpu().numpy()
        dry = self._dry.take(wet.shape[1])
        taken = dry - wet
        if not np.isfinite(taken).all():
            self.reset()
            raise EngineError.of("not-computable")
        self._taken.put(self._taken_up.push(taken))
        if self._has_high_band:
            self._gains = np.concatenate([self._gains, self._top_band.push(dry, wet)])

    def _settled(self) -> int:
        """Samples of which everything is known."""
        ready = min(self._sound.frames, self._taken.frames)
        if not self._has_high_band:
            return ready
        gains = self._past_gains + len(self._gains)  # a sample lies between two of them
        followed = -(-(gains - 1) * self._top_band.hop * self.sample_rate // self.denoiser.sample_rate)
        return max(0, min(ready, self._low.frames, followed - self._given))

    def _given_out(self, count: int, began: float) -> Samples:
        """The next `count` samples, in the shape of the last chunk."""
        sound = self._sound.take(count)
        change = self._taken.take(count)
        if self._has_high_band:
            change = change + self._high_band_taken(sound - self._low.take(count))
        mixed = sound - self._wet_shares(count) * change
        self._given += count
        self._seconds_taken += time.perf_counter() - began
        return mixed[0] if self._flat else mixed

    def _high_band_taken(self, high: Samples) -> Samples:
        """What goes of the band above the denoiser's, which follows its top band: (channels, n) -> the same."""
        frames = self.denoiser.sample_rate / self.sample_rate / self._top_band.hop
        times = np.arange(self._given, self._given + high.shape[1]) * frames - self._past_gains
        taken = high * (1 - gain_at(self._gains, times))
        past = int(times[-1]) if len(times) else 0
        self._gains, self._past_gains = self._gains[past:].copy(), self._past_gains + past
        return taken

    def _wet_shares(self, count: int) -> Samples:
        """The share of the denoised sound at each of the next samples: it moves towards the one that is wanted."""
        way = self._wanted - self._wet
        steps = np.arange(1, count + 1) / (RAMP_SECONDS * self.sample_rate)
        shares = self._wet + np.sign(way) * np.minimum(steps, abs(way))
        self._wet = float(shares[-1]) if count else self._wet
        return shares.astype(np.float32)


@dataclass(frozen=True)
class Loaded:
    """A denoiser as `denoise_app.load` gives it: to be called on tensors, or opened as a stream.

    Attributes:
        denoiser: What is called; keeps the contract of `denoise_app.denoiser`, as this does, too.
    """

    denoiser: Denoiser

    @property
    def sample_rate(self) -> int:
        """Hz; the only rate it can be called with, while a stream takes any."""
        return self.denoiser.sample_rate

    @property
    def latency(self) -> int:
        """Samples of look-ahead plus framing."""
        return self.denoiser.latency

    @property
    def causal(self) -> bool:
        """Whether it can be opened as a stream."""
        return self.denoiser.causal

    def __call__(self, noisy: Tensor) -> Tensor:
        """(batch, time) float32 at its rate -> the same, denoised."""
        return self.denoiser(noisy)

    def stream(
        self, sample_rate: int, channels: int = 1, *, strength: float = 100.0, max_attenuation_db: float = inf
    ) -> Stream:
        """Opens a stream; the arguments, and what is raised, are those of `Stream`."""
        return Stream(self.denoiser, sample_rate, channels, strength, max_attenuation_db)
