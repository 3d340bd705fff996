"""Sounds and wav files for the tests of the audio room, made without the house's own readers and writers."""

from __future__ import annotations

import struct

import numpy as np

from denoise_app.audio.clip import Samples


def noise(channels: int, frames: int, seed: int = 0, peak: float = 0.5) -> Samples:
    """(channels, frames) float32, coloured like speech (falling by 6 dB an octave), so that lossy codecs keep it."""
    white = np.random.default_rng(seed).standard_normal((channels, frames))
    spectrum = np.fft.rfft(white) / np.maximum(np.arange(frames // 2 + 1), frames / 100)
    coloured = np.fft.irfft(spectrum, frames) if frames > 1 else white
    return (coloured * peak / np.abs(coloured).max()).astype(np.float32)


def wav(samples: Samples, rate: int = 16_000, data_size: int | None = None, bits: int = 16) -> bytes:
    """A 16-bit or float wav file, written by hand; `data_size` is what its header claims."""
    scaled = np.rint(samples.T * 32768).clip(-32768, 32767).astype("<i2") if bits == 16 else samples.T.astype("<f4")
    data = scaled.tobytes()
    size = len(data) if data_size is None else data_size
    channels, width = samples.shape[0], bits // 8 * samples.shape[0]
    form = struct.pack("<HHIIHH", 1 if bits == 16 else 3, channels, rate, rate * width, width, bits)
    header = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", (size + len(header)) & 0xFFFFFFFF) + header + data
