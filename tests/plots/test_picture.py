"""Pictures of spectrograms, read back by another program's decoder."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from denoise_app.plots.picture import GAP, HEIGHT, STEP_DB, spectrograms_png
from denoise_app.plots.spectrogram import spectrogram_db

RATE = 16_000


def picture(*levels: float, hertz: float = 1000.0) -> np.ndarray:
    """Sines of these amplitudes side by side -> (height, width, 3)."""
    tone = np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE).astype(np.float32)
    panels = [spectrogram_db(np.float32(level) * tone, RATE, max_columns=50) for level in levels]
    image = Image.open(io.BytesIO(spectrograms_png(panels)))
    image.load()
    return np.asarray(image.convert("RGB")).astype(int)


def test_a_sine_is_a_bright_line_at_its_height() -> None:
    pixels = picture(1.0)
    assert pixels.shape == (HEIGHT, 50, 3)
    brightness = pixels[:, 25].sum(1)
    assert abs(int(brightness.argmax()) - HEIGHT * (1 - 1000 / 8000)) <= 2  # low frequencies lie below
    assert brightness.max() > 600 and np.median(brightness) < 100


def test_panels_share_their_scale_and_are_parted_by_white() -> None:
    pixels = picture(1.0, 0.01, 0.0)
    assert pixels.shape == (HEIGHT, 3 * 50 + 2 * GAP, 3)
    assert (pixels[:, 50 : 50 + GAP] == 255).all()
    loud, soft, silent = (pixels[:, start : start + 50].sum(2).max() for start in (0, 50 + GAP, 2 * (50 + GAP)))
    assert loud > soft + 100 > silent + 200
    assert silent == pixels[0, -1].sum()  # the darkest colour everywhere


def test_levels_within_a_step_look_alike_and_the_next_does_not() -> None:
    same, other = 10 ** (-0.2 / 20), 10 ** (-(STEP_DB + 0.5) / 20)
    line = [panel[HEIGHT * 7 // 8, 25].tolist() for panel in (picture(0.9 * 0.5), picture(0.9 * 0.5 * other))]
    assert line[0] != line[1]
    assert len(np.unique(picture(same).reshape(-1, 3), axis=0)) <= 90 // STEP_DB + 1
