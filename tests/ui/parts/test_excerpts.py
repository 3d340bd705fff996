"""What is listened to of a recording."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from denoise_app.audio.files import probe
from denoise_app.audio.level import loudness as whole_loudness
from denoise_app.ui.parts.excerpts import listened_to, loudness, mono, write_part


def test_a_long_recording_is_listened_to_in_excerpts(recording: Callable[..., Path]) -> None:
    short, long = recording("a.wav", 60.0, 8_000), recording("b.wav", 61.0, 8_000)
    assert listened_to(probe(short)) == [slice(0, 480_000)]
    parts = listened_to(probe(long))
    assert len(parts) == 4 and {part.stop - part.start for part in parts} == {120_000}
    samples = soundfile.read(long, dtype="float32")[0]
    np.testing.assert_array_equal(mono(long, probe(long)), np.concatenate([samples[part] for part in parts]))


def test_the_loudness_of_a_short_recording_is_that_of_the_whole(recording: Callable[..., Path]) -> None:
    path = recording(seconds=3.0, channels=2)
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    assert loudness(path) == pytest.approx(whole_loudness(samples.T, rate), abs=1e-6)


def test_a_cut_is_the_beginning_bit_by_bit(recording: Callable[..., Path], tmp_path: Path) -> None:
    path = recording(seconds=3.0, channels=2, codec="PCM_24")
    cut = write_part(path, 1.5, tmp_path / "cut.wav")
    whole, rate = soundfile.read(path, dtype="float32")
    np.testing.assert_array_equal(soundfile.read(cut, dtype="float32")[0], whole[: round(1.5 * rate)])
