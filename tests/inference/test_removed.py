"""What was removed, computed anywhere: the same samples as the input minus the result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from denoise_app.audio.errors import AudioError
from denoise_app.classical import CLASSICAL
from denoise_app.inference import engine
from denoise_app.inference.engine import Settings
from denoise_app.inference.removed import Removed


def separated(folder: Path, rate: int, channels: int, treated: str = "each") -> engine.Separation:
    rng = np.random.default_rng(rate)
    swell = 0.2 + 0.1 * np.sin(np.arange(round(2.3 * rate)) / rate)
    soundfile.write(folder / "in.wav", swell[:, None] * rng.uniform(-1, 1, (swell.size, channels)), rate, "FLOAT")
    denoiser = CLASSICAL["wiener"]()
    return engine.separate(folder / "in.wav", denoiser, folder / "work", channels=treated)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("settings", [Settings(), Settings(strength=40), Settings(high_band="drop"), Settings(0.0)])
@pytest.mark.parametrize(
    ("rate", "channels", "treated"), [(16_000, 1, "each"), (44_100, 2, "each"), (48_000, 2, "mid")]
)
def test_it_is_the_input_minus_the_result(
    tmp_path: Path, rate: int, channels: int, treated: str, settings: Settings
) -> None:
    separation = separated(tmp_path, rate, channels, treated)
    engine.render(separation, settings, tmp_path / "out.wav")
    before, after = (soundfile.read(tmp_path / name, always_2d=True)[0].T for name in ("in.wav", "out.wav"))
    removed = Removed(separation, settings)
    whole = np.concatenate(list(removed.blocks()), axis=1)
    np.testing.assert_allclose(whole, before - after, atol=1e-6)
    frames = before.shape[1]
    for start, count in ((0, 1), (0, frames), (rate + 7, 1001), (frames - 13, 50), (frames, 10)):
        part = removed.read(start, count)
        np.testing.assert_allclose(part, whole[:, start : start + count], atol=2e-4)  # filters begin 0.1 s before it


def test_as_a_file_it_has_the_encoding_of_the_result(tmp_path: Path) -> None:
    separation = separated(tmp_path, 48_000, 2)
    path = Removed(separation, Settings(container="flac", bit_depth=24)).write(tmp_path / "removed.flac")
    info = soundfile.info(path)
    assert (info.format, info.subtype, info.channels, info.frames) == ("FLAC", "PCM_24", 2, separation.info.frames)


def test_without_its_files_it_is_gone(tmp_path: Path) -> None:
    removed = Removed(separated(tmp_path, 16_000, 1), Settings())
    removed.separation.remove()
    with pytest.raises(AudioError) as raised:
        removed.info  # noqa: B018
    assert raised.value.reason == "missing"
