"""Spectrograms as small pictures, for pages without plotly: PNG with a palette, written by hand."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from plotly.colors import sample_colorscale, unlabel_rgb

from .spectrogram import SpectrogramData, rows
from .theme import COLOUR_MAP, RANGE_DB

STEP_DB = 3  # between two colours: finer is not seen, and makes larger files
GAP = 4  # white pixels between two spectrograms
HEIGHT = 128  # rows
SIGNATURE = b"\x89PNG\r\n\x1a\n"
PALETTE_COLOURS = 8, 3, 0, 0, 0  # bits, colour type, deflate, filters by row, not interlaced


def spectrograms_png(panels: Sequence[SpectrogramData]) -> bytes:
    """Spectrograms side by side on one scale and in the colours of the figures, low frequencies below.

    Args:
        panels: At least one, all at one rate; a column is a pixel.

    Returns:
        A PNG of HEIGHT rows.
    """
    lowest, highest = RANGE_DB
    levels = np.arange(lowest, highest + 1, STEP_DB)
    colours = sample_colorscale(COLOUR_MAP, list((levels - lowest) / (highest - lowest)))
    palette = [tuple(round(part) for part in unlabel_rgb(colour)) for colour in colours] + [(255, 255, 255)]
    gap = np.full((HEIGHT, GAP), levels.size, np.uint8)
    parts: list[npt.NDArray[np.uint8]] = []
    for data in panels:
        decibels, _ = rows(data, log=False, max_rows=HEIGHT)
        parts += [((decibels[::-1].astype(int) - lowest) // STEP_DB).astype(np.uint8), gap]
    return _png(np.concatenate(parts[:-1], axis=1), palette)


def _png(pixels: npt.NDArray[np.uint8], palette: Sequence[tuple[int, ...]]) -> bytes:
    """Numbers of colours (height, width) -> a file (W3C, PNG Specification, second edition, clauses 5 and 11)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = pixels.shape
    unfiltered = np.pad(pixels, ((0, 0), (1, 0))).tobytes()  # each row begins with its filter's number, 0 for none
    return (
        SIGNATURE
        + chunk(b"IHDR", struct.pack(">II5B", width, height, *PALETTE_COLOURS))
        + chunk(b"PLTE", bytes(part for colour in palette for part in colour))
        + chunk(b"IDAT", zlib.compress(unfiltered, 9))
        + chunk(b"IEND", b"")
    )
