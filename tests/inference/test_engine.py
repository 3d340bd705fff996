"""The engine gives back what came in, less what the denoiser takes, and nothing else changes."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import torch
from torch import Tensor

from denoise_app.audio.clip import Clip, FileInfo
from denoise_app.audio.encodings import Encoding
from denoise_app.audio.errors import AudioError
from denoise_app.audio.level import active_speech_level, loudness, rms, to_db, true_peak
from denoise_app.classical import CLASSICAL
from denoise_app.denoiser import Denoiser
from denoise_app.inference import catalog, engine
from denoise_app.inference.engine import Cancelled, Progress, Settings
from denoise_app.inference.sources import LevelMeter, open_sound
from denoise_app.models.registry import build
from denoise_app.spectral.stft import SpectralDenoiser

Gain = Callable[..., Denoiser]
Array = npt.NDArray[np.float32]

RATES = [8000, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000]


def noise(channels: int, frames: int, seed: int = 0, scale: float = 0.1) -> Array:
    return (scale * np.random.default_rng(seed).standard_normal((channels, frames))).astype(np.float32)


def low_noise(rate: int, seconds: float = 1.0) -> Array:
    """Stereo noise below 0.4 of the lower of the two rates, where resampling changes nothing, faded at its ends."""
    frames = round(rate * seconds)
    spectrum = np.fft.rfft(noise(2, frames))
    spectrum[:, np.fft.rfftfreq(frames, 1 / rate) > 0.4 * min(rate, 16_000)] = 0
    return (np.fft.irfft(spectrum, frames) * np.hanning(frames)).astype(np.float32)


def tone(frequency: float, rate: int, seconds: float = 1.0) -> Array:
    time = np.arange(round(rate * seconds)) / rate
    return (0.2 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)[None]


def level_at(samples: Array, frequency: float, rate: int) -> float:
    """dB of the tone's amplitude in the middle of a signal, (1, T)."""
    middle = samples[0, len(samples[0]) // 4 :][: len(samples[0]) // 2].astype(np.float64)
    window = np.hanning(len(middle))
    carrier = np.exp(-2j * np.pi * frequency * np.arange(len(middle)) / rate)
    return float(20 * np.log10(2 * abs(np.sum(middle * window * carrier)) / window.sum() + 1e-12))


def run(denoiser: Denoiser, samples: Array, rate: int, channels: Any = "each", **settings: Any) -> Array:
    clip = Clip(samples, rate)
    result = engine.denoise(clip, denoiser, Settings(**settings), channels=channels)
    assert result.sample_rate == rate and result.samples.dtype == np.float32
    return result.samples


class Reference(SpectralDenoiser):
    """Takes the second signal of a pair from the first."""

    def with_reference(self) -> Reference:
        return Reference()

    def initial_frames(self, batch: int) -> None:
        return None

    def enhance(self, spectra: Tensor, memory: Any) -> tuple[Tensor, Any]:
        return torch.stack([spectra[0] - spectra[1], spectra[1]]), memory


# ------------------------------------------------------------------------------------------------ what came in goes out


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("high_band", ["follow", "keep"])
def test_an_identity_gives_every_rate_back(gain: Gain, rate: int, high_band: str) -> None:
    samples = noise(2, rate // 2 + 17)
    np.testing.assert_allclose(run(gain(1.0), samples, rate, high_band=high_band), samples, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("frames", [0, 1, 2, 255, 256, 257, 511, 512, 513, 1021, 4099])
@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 48_000])
def test_and_every_length(gain: Gain, rate: int, frames: int) -> None:
    samples = noise(1, frames)
    np.testing.assert_allclose(run(gain(1.0), samples, rate), samples, rtol=0, atol=1e-6)


@pytest.mark.parametrize("block", [257, 1000, 4801])
def test_and_every_block(gain: Gain, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A denoiser that halves tells also whether the blocks of the three sounds are in step."""
    samples = low_noise(48_000)
    whole = run(gain(0.5), samples, 48_000)
    monkeypatch.setattr("denoise_app.inference.sources.BLOCK_SAMPLES", block * 2)
    np.testing.assert_allclose(run(gain(1.0), samples, 48_000), samples, rtol=0, atol=1e-6)
    np.testing.assert_allclose(run(gain(0.5), samples, 48_000), whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rate", RATES)
def test_dry_and_wet_are_aligned_to_the_sample(gain: Gain, rate: int) -> None:
    """Muting takes away all of a sound that lies in the denoiser's band: what were late by a sample would be heard."""
    samples = low_noise(rate)
    left = run(gain(0.0), samples, rate, high_band="keep")
    assert to_db(rms(left) / rms(samples)) < -75
    np.testing.assert_allclose(run(gain(0.5), samples, rate, high_band="keep"), samples / 2, rtol=0, atol=2e-5)


def test_a_late_dry_sound_would_be_heard() -> None:
    """The test above can fail: one sample at 192 kHz leaves -25 dB."""
    samples = low_noise(192_000)
    assert to_db(rms(samples - np.roll(samples, 1, axis=1)) / rms(samples)) > -40


@pytest.mark.parametrize("high_band", ["follow", "keep"])
@pytest.mark.parametrize("rate", [8000, 44_100, 48_000])
def test_an_identity_keeps_the_level(gain: Gain, rate: int, high_band: str) -> None:
    samples = noise(2, rate)
    result = run(gain(1.0), samples, rate, high_band=high_band)
    assert loudness(result, rate) == pytest.approx(loudness(samples, rate), abs=0.01)
    assert to_db(rms(result)) == pytest.approx(to_db(rms(samples)), abs=0.01)


def test_a_model_above_the_sounds_rate_goes_up_and_back(gain: Gain) -> None:
    samples = low_noise(8000)
    np.testing.assert_allclose(run(gain(0.5, sample_rate=48_000), samples, 8000), samples / 2, rtol=0, atol=1e-5)


def test_the_clip_is_not_changed_and_its_source_is_kept(gain: Gain, speech: Clip) -> None:
    before = speech.samples.copy()
    clip = replace(speech, source=FileInfo("wav", "PCM_24", 16_000, 1, speech.frames, 24))
    result = engine.denoise(clip, gain(0.5))
    assert np.array_equal(speech.samples, before)
    assert result.source == clip.source


# ------------------------------------------------------------------------------------------------------------- strength


@pytest.mark.parametrize("strength", [0.0, 25.0, 50, 100])
def test_strength_blends_dry_and_wet(gain: Gain, strength: float) -> None:
    samples = low_noise(44_100)
    result = run(gain(0.0), samples, 44_100, strength=strength)
    np.testing.assert_allclose(result, samples * (1 - strength / 100), rtol=0, atol=1e-5)


@pytest.mark.parametrize("high_band", ["follow", "drop"])
def test_nothing_is_attenuated_by_more_than_the_most(gain: Gain, high_band: str) -> None:
    samples = noise(1, 48_000)
    result = run(gain(0.0), samples, 48_000, max_attenuation_db=12.0, high_band=high_band)
    middle = slice(4800, -4800)
    np.testing.assert_allclose(result[:, middle], samples[:, middle] * 10 ** (-12 / 20), rtol=0, atol=1e-4)


ENCODINGS = [
    ("wav", "PCM_U8"), ("wav", "PCM_16"), ("wav", "PCM_24"), ("wav", "PCM_32"), ("wav", "FLOAT"), ("wav", "DOUBLE"),
    ("flac", "PCM_16"), ("flac", "PCM_24"), ("ogg", "VORBIS"), ("mp3", "MPEG_LAYER_III"), ("wav", "ULAW"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("container", "codec"), ENCODINGS)
def test_strength_0_gives_the_samples_bit_for_bit(gain: Gain, tmp_path: Path, container: str, codec: str) -> None:
    source, out = tmp_path / f"in.{container}", tmp_path / f"out.{container}"
    samples = np.random.default_rng(0).uniform(-1, 1, (20_011, 2))  # double precision
    soundfile.write(source, samples, 44_100, subtype=codec, format=container.upper())
    rendered = engine.denoise_file(source, out, gain(0.5), Settings(strength=0.0), removed=tmp_path / f"no.{container}")
    (before, rate), (after, rate_after) = soundfile.read(source), soundfile.read(out)
    assert (rate, soundfile.info(source).subtype) == (rate_after, soundfile.info(out).subtype)
    assert np.array_equal(before, after)
    assert rendered.removed is not None and not soundfile.read(rendered.removed)[0].any()


@pytest.mark.slow
@pytest.mark.parametrize(("container", "codec"), [item for item in ENCODINGS if item[0] in ("wav", "flac")])
@pytest.mark.parametrize("strength", [0.0, 100.0])
def test_rate_channels_length_and_encoding_stay(
    gain: Gain, tmp_path: Path, container: str, codec: str, strength: float
) -> None:
    source, out = tmp_path / f"in.{container}", tmp_path / f"out.{container}"
    soundfile.write(source, noise(3, 12_345).T, 22_050, subtype=codec, format=container.upper())
    rendered = engine.denoise_file(source, out, gain(0.9), Settings(strength=strength))
    assert rendered.info_out == rendered.info_in
    assert (soundfile.info(out).frames, soundfile.info(out).channels) == (12_345, 3)


# ------------------------------------------------------------------------------------------------------ above the model


@pytest.mark.parametrize(
    ("number", "high_band", "expected"),
    [(1.0, "keep", 0), (1.0, "follow", 0), (1.0, "drop", -inf), (0.0, "keep", 0), (0.0, "follow", -inf),
     (0.0, "drop", -inf), (0.5, "follow", -6.02), (0.1, "follow", -20)],
)  # fmt: skip
def test_the_band_above_is_treated_as_asked(gain: Gain, number: float, high_band: str, expected: float) -> None:
    rate = 48_000
    samples = tone(12_000, rate) + 0.01 * low_band_noise(rate)
    change = level_at(run(gain(number), samples, rate, high_band=high_band), 12_000, rate) - level_at(
        samples, 12_000, rate
    )
    assert change < -60 if expected == -inf else change == pytest.approx(expected, abs=0.1)


def low_band_noise(rate: int) -> Array:
    """(1, one second) of noise up to 7.5 kHz: what the gain of the high band is learnt from."""
    spectrum = np.fft.rfft(noise(1, rate, scale=1.0))
    spectrum[:, np.fft.rfftfreq(rate, 1 / rate) > 7500] = 0
    return np.fft.irfft(spectrum, rate).astype(np.float32)


def test_the_high_band_follows_in_time() -> None:
    class SecondHalf:
        """Lets only the second half through."""

        sample_rate, latency, causal = 16_000, 0, False

        def __call__(self, noisy: Tensor) -> Tensor:
            return noisy * (torch.arange(noisy.shape[1]) >= noisy.shape[1] // 2)

    rate = 48_000
    samples = tone(12_000, rate) + 0.01 * low_band_noise(rate)
    result = run(SecondHalf(), samples, rate)
    assert level_at(result[:, : rate // 2], 12_000, rate) < level_at(samples[:, : rate // 2], 12_000, rate) - 40
    assert level_at(result[:, rate // 2 :], 12_000, rate) == pytest.approx(
        level_at(samples[:, rate // 2 :], 12_000, rate), abs=0.2
    )
    rise = np.abs(result[0]).reshape(-1, 480).max(1)  # every 10 ms
    assert (rise[:46] < 0.05).all() and (rise[54:] > 0.15).all()


# ------------------------------------------------------------------------------------------------------------- loudness


@pytest.fixture
def recording(tmp_path: Path, speech: Clip) -> Path:
    """4 s of speech with noise: 48 kHz, stereo, 24 bits."""
    path = tmp_path / "recording.wav"
    voice = np.repeat(speech.samples[0, : 4 * 16_000], 3)  # its images above 8 kHz are the band above
    stereo = np.stack([voice, 0.5 * voice]) + noise(2, len(voice), scale=0.005)
    soundfile.write(path, stereo.T, 48_000, subtype="PCM_24")
    return path


def samples_of(path: Path) -> Array:
    return np.ascontiguousarray(soundfile.read(path, dtype="float32", always_2d=True)[0].T)


@pytest.mark.parametrize("target", [-23.0, -40.0])
def test_a_loudness_is_reached(gain: Gain, recording: Path, tmp_path: Path, target: float) -> None:
    rendered = engine.denoise_file(recording, tmp_path / "out.wav", gain(0.3), Settings(loudness_lufs=target))
    assert loudness(samples_of(rendered.path), 48_000) == pytest.approx(target, abs=0.05)
    assert rendered.levels_out.loudness_lufs == pytest.approx(target, abs=0.05)
    assert rendered.gain_db == pytest.approx(target - loudness(0.3 * samples_of(recording), 48_000), abs=0.3)
    assert not rendered.limited


def test_the_true_peak_is_capped_and_said_so(gain: Gain, recording: Path, tmp_path: Path) -> None:
    settings = Settings(loudness_lufs=-5.0, true_peak_dbtp=-3.0)
    rendered = engine.denoise_file(recording, tmp_path / "out.wav", gain(1.0), settings)
    measured = to_db(true_peak(samples_of(rendered.path)))
    assert measured == pytest.approx(-3.0, abs=0.01)
    assert rendered.true_peak_dbtp == pytest.approx(measured, abs=0.01)
    assert rendered.limited and rendered.levels_out.loudness_lufs < -5
    assert rendered.cut_samples == 0


def test_silence_has_no_loudness_to_change(gain: Gain, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", np.zeros(16_000), 16_000)
    rendered = engine.denoise_file(tmp_path / "in.wav", tmp_path / "out.wav", gain(1.0), Settings(loudness_lufs=-23))
    assert (rendered.gain_db, rendered.limited) == (0, False)
    assert not samples_of(rendered.path).any()


def test_without_a_loudness_speech_keeps_its_level(gain: Gain, recording: Path, tmp_path: Path) -> None:
    rendered = engine.denoise_file(recording, tmp_path / "out.wav", gain(1.0))
    before, after = (active_speech_level(samples_of(path)[0], 48_000) for path in (recording, rendered.path))
    assert after == pytest.approx(before, abs=0.01)


# ------------------------------------------------------------------------------------------------------------- channels


def test_each_channel_is_its_own(gain: Gain) -> None:
    samples = noise(6, 4801)
    samples[3] = 0
    result = run(gain(0.5), samples, 16_000)
    np.testing.assert_allclose(result, samples / 2, rtol=0, atol=1e-6)
    assert not result[3].any()


@pytest.mark.parametrize("rate", [16_000, 48_000])
@pytest.mark.parametrize("high_band", ["follow", "keep"])
def test_mid_gives_every_channel_the_mean(gain: Gain, rate: int, high_band: str) -> None:
    samples = noise(3, rate // 3)
    mean = np.repeat(samples.mean(axis=0, keepdims=True), 3, axis=0)
    result = run(gain(1.0), samples, rate, channels="mid", high_band=high_band)
    np.testing.assert_allclose(result, mean, rtol=0, atol=1e-6)
    half = run(gain(1.0), samples, rate, channels="mid", high_band=high_band, strength=50)
    np.testing.assert_allclose(half, (samples + mean) / 2, rtol=0, atol=1e-6)


def test_mid_runs_the_denoiser_on_one_signal(speech: Clip) -> None:
    class Counting:
        sample_rate, latency, causal = 16_000, 0, False
        shapes: list[tuple[int, ...]] = []  # noqa: RUF012 - read below

        def __call__(self, noisy: Tensor) -> Tensor:
            self.shapes.append(tuple(noisy.shape))
            return noisy.clone()

    run(Counting(), noise(4, 1000), 16_000, channels="mid")
    assert Counting.shapes == [(1, 1000)]


def test_a_noise_reference_is_taken_from_the_first_channel() -> None:
    samples = np.stack([low_noise(48_000)[0] + tone(500, 48_000)[0], tone(500, 48_000)[0]])
    result = run(Reference(), samples, 48_000, channels="reference")
    np.testing.assert_allclose(result[0, 4800:-4800], low_noise(48_000)[0, 4800:-4800], rtol=0, atol=1e-4)
    np.testing.assert_allclose(result[1], samples[1], rtol=0, atol=1e-6)


def test_a_reference_needs_a_denoiser_that_uses_it_and_two_channels(gain: Gain, tmp_path: Path) -> None:
    for denoiser, channels, reason in (
        (gain(1.0), 2, "no-reference-denoiser"),
        (Reference(), 1, "reference-needs-two-channels"),
        (Reference(), 3, "reference-needs-two-channels"),
    ):
        with pytest.raises(AudioError) as caught:
            engine.separate(Clip(noise(channels, 100), 16_000), denoiser, tmp_path / "work", channels="reference")
        assert caught.value.reason == reason
    assert list((tmp_path / "work").iterdir()) == []


# --------------------------------------------------------------------------------------- once separated, often rendered


def test_rendering_never_runs_the_denoiser(recording: Path, tmp_path: Path) -> None:
    class Counting:
        sample_rate, latency, causal = 16_000, 0, False
        calls = 0

        def __call__(self, noisy: Tensor) -> Tensor:
            Counting.calls += 1
            return noisy * 0.25

    separation = engine.separate(recording, Counting(), tmp_path / "work")
    calls, results = Counting.calls, {}
    for name, settings in {
        "full.wav": Settings(),
        "half.wav": Settings(strength=50),
        "loud.flac": Settings(loudness_lufs=-16, container="flac"),
        "small.wav": Settings(container="wav", bit_depth=16),
    }.items():
        results[name] = engine.render(separation, settings, tmp_path / name)
    assert Counting.calls == calls > 0
    original, full, half = (samples_of(path) for path in (recording, tmp_path / "full.wav", tmp_path / "half.wav"))
    np.testing.assert_allclose(half, (original + full) / 2, rtol=0, atol=1e-6)
    assert results["loud.flac"].info_out.container == "flac" and results["loud.flac"].info_out.bit_depth == 24
    assert results["small.wav"].info_out.codec == "PCM_16"
    again = engine.render(separation, Settings(), tmp_path / "again.wav")
    assert again.path.read_bytes() == (tmp_path / "full.wav").read_bytes()
    separation.remove()
    assert list((tmp_path / "work").iterdir()) == []


def test_output_and_removed_make_the_input(gain: Gain, recording: Path, tmp_path: Path) -> None:
    rendered = engine.denoise_file(recording, tmp_path / "out.wav", gain(0.3), removed=tmp_path / "removed.wav")
    assert rendered.removed == tmp_path / "removed.wav"
    both = samples_of(rendered.path) + samples_of(rendered.removed)
    np.testing.assert_allclose(both, samples_of(recording), rtol=0, atol=2**-22)  # two roundings to 24 bits


def test_the_fidelity_line_has_its_facts(gain: Gain, recording: Path, tmp_path: Path) -> None:
    rendered = engine.denoise_file(recording, tmp_path / "out.wav", gain(0.5))
    assert rendered.info_in == rendered.info_out
    assert (rendered.info_in.sample_rate, rendered.info_in.channels, rendered.info_in.bit_depth) == (48_000, 2, 24)
    assert (rendered.model_rate, rendered.high_band, rendered.channels) == (16_000, "follow", "each")


def test_a_sound_without_a_band_above_says_so(gain: Gain, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", noise(1, 800).T, 8000)
    assert engine.denoise_file(tmp_path / "in.wav", tmp_path / "out.wav", gain(0.5)).high_band is None


def test_sound_beyond_full_scale_is_cut_and_counted(gain: Gain, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", 2 * tone(100, 16_000).T / 0.2, 16_000, subtype="FLOAT")
    settings = Settings(container="wav", bit_depth=16)
    rendered = engine.denoise_file(tmp_path / "in.wav", tmp_path / "out.wav", gain(1.0), settings)
    assert rendered.cut_samples == pytest.approx(16_000 * 2 / 3, rel=0.01)  # |2 sin| > 1 two thirds of the time
    assert np.abs(samples_of(rendered.path)).max() <= 1
    assert [note.key for note in rendered.notes] == ["clipped", "beyond-full-scale"]
    assert engine.denoise_file(tmp_path / "in.wav", tmp_path / "out.wav", gain(1.0)).cut_samples == 0


# ---------------------------------------------------------------------------------------------------------------- notes


@pytest.mark.parametrize(
    ("samples", "keys"),
    [
        (np.zeros((1, 8000), np.float32), ["silent"]),
        (np.clip(20 * noise(1, 8000), -1, 1), ["clipped"]),
        (noise(1, 8000) * 0.1 + 0.2, ["dc-offset"]),
        (noise(2, 8000), []),
    ],
    ids=["silence", "clipped", "dc", "ordinary"],
)
def test_what_is_odd_is_noted(gain: Gain, tmp_path: Path, samples: Array, keys: list[str]) -> None:
    separation = engine.separate(Clip(samples, 16_000), gain(1.0), tmp_path)
    assert [note.key for note in separation.notes] == keys


def test_a_file_that_ends_early_is_noted(gain: Gain, tmp_path: Path, recording: Path) -> None:
    data = recording.read_bytes()
    cut = tmp_path / "cut.wav"
    cut.write_bytes(data[: len(data) // 2])
    rendered = engine.denoise_file(cut, tmp_path / "out.wav", gain(1.0), Settings(strength=0))
    assert [note.key for note in rendered.notes] == ["cut-off"]
    assert soundfile.info(rendered.path).frames == rendered.info_in.frames


def test_a_denoiser_that_fails_says_so_and_leaves_nothing(tmp_path: Path, recording: Path) -> None:
    class Broken:
        sample_rate, latency, causal = 16_000, 0, False

        def __call__(self, noisy: Tensor) -> Tensor:
            return noisy / 0

    with pytest.raises(AudioError) as caught:
        engine.denoise_file(recording, tmp_path / "out.wav", Broken())
    assert caught.value.reason == "not-computable"
    assert list(tmp_path.iterdir()) == [recording]


def test_levels_of_the_input_are_told(gain: Gain, tmp_path: Path, recording: Path) -> None:
    levels = engine.separate(recording, gain(1.0), tmp_path / "work").levels
    samples = samples_of(recording)
    assert levels.peak_db == pytest.approx(to_db(float(np.abs(samples).max())), abs=1e-6)
    assert levels.loudness_lufs == pytest.approx(loudness(samples, 48_000), abs=1e-6)


@pytest.mark.parametrize("rate", [2000, 4000])
def test_very_low_rates_have_a_loudness_too(gain: Gain, tmp_path: Path, rate: int) -> None:
    levels = engine.separate(Clip(tone(500, rate), rate), gain(1.0), tmp_path).levels
    assert levels.loudness_lufs == pytest.approx(loudness(tone(500, 48_000), 48_000), abs=0.1)


def test_a_short_sound_of_a_low_rate_is_heard_to_its_end() -> None:
    """A tenth of a second at 8 kHz: all of it was still in the resampler, and it passed for silence."""
    meter = LevelMeter(1, 8_000)
    meter.push(tone(500, 8_000)[:, :800])
    expected = loudness(tone(500, 48_000)[:, :4_800], 48_000)
    assert meter.levels().loudness_lufs == pytest.approx(expected, abs=0.2)


# ------------------------------------------------------------------------------------------ progress, cancel, full disk


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("denoise_app.inference.sources.BLOCK_SECONDS", 0.5)


@pytest.mark.parametrize("target", [None, -23.0])
def test_progress_goes_from_0_to_1(
    gain: Gain, recording: Path, tmp_path: Path, small_blocks: None, target: float | None
) -> None:
    steps: list[Progress] = []
    settings = Settings(loudness_lufs=target)
    engine.denoise_file(recording, tmp_path / "out.wav", gain(0.5), settings, progress=steps.append)
    fractions = [step.fraction for step in steps]
    assert fractions == sorted(fractions) and (fractions[0], fractions[-1]) == (0, 1)
    assert len(set(fractions)) > (8 if target is None else 16)  # there are 8 blocks
    stages = list(dict.fromkeys(step.stage for step in steps))
    assert stages == (["separate"] if target is None else ["separate", "render"])
    told = [step for step in steps if step.fraction > 0]
    assert all(step.seconds_left is not None and step.seconds_left >= 0 for step in told)
    assert told[-1].seconds_left == 0
    assert all(step.speed is None or step.speed > 0 for step in steps) and told[-1].speed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("after", "settings"),
    [(after, Settings()) for after in (0, 3, 7, 10)]
    + [(3, Settings(container="m4a"))]
    + [(after, Settings(loudness_lufs=-23.0)) for after in (0, 7, 10, 14, 18)],
)
def test_cancel_stops_between_blocks_and_leaves_nothing(
    gain: Gain, recording: Path, tmp_path: Path, small_blocks: None, after: int, settings: Settings
) -> None:
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > after

    with pytest.raises(Cancelled):
        engine.denoise_file(
            recording, tmp_path / "out.wav", gain(0.5), settings, removed=tmp_path / "removed.wav", cancelled=cancelled
        )
    assert asked == after + 1
    assert list(tmp_path.iterdir()) == [recording]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The system refuses to write more than so many bytes to a file, as a full disk does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


# ------------------------------------------------------------------------------------------------------------- one pass


ASKED = [
    Settings(),
    Settings(strength=60.0, high_band="keep"),
    Settings(high_band="drop", container="flac", bit_depth=16),
    Settings(strength=0.0, container="flac"),
    Settings(loudness_lufs=-20.0),
]


@pytest.mark.slow
@pytest.mark.parametrize("settings", ASKED)
@pytest.mark.parametrize(("rate", "channels"), [(48_000, "each"), (44_100, "mid"), (16_000, "each"), (8000, "each")])
def test_writing_on_the_way_gives_the_file_of_a_later_rendering(
    gain: Gain, tmp_path: Path, rate: int, channels: Any, settings: Settings
) -> None:
    """Byte for byte, whatever is late in it: chunks, filters, and an offset that begins in the midst."""
    source = tmp_path / "in.wav"
    sound = noise(2, 11 * rate + 77)
    sound[0, 5 * rate :] += 0.1
    soundfile.write(source, sound.T, rate, subtype="PCM_24")
    separation, at_once = engine.denoise_keeping(
        source, tmp_path / "a", gain(0.3), tmp_path / "work", settings, channels=channels, removed=tmp_path / "b"
    )
    later = engine.render(separation, settings, tmp_path / "c", tmp_path / "d")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "c").read_bytes()
    assert (tmp_path / "b").read_bytes() == (tmp_path / "d").read_bytes()
    changed = {"path": later.path, "removed": later.removed, "seconds_taken": later.seconds_taken}
    assert replace(at_once, **changed) == later
    assert engine.separate(source, gain(0.3), tmp_path / "again", channels=channels).levels == separation.levels


@pytest.mark.parametrize(("target", "passes"), [(None, 1), (-23.0, 2)])
def test_a_sound_is_gone_through_once_and_for_a_loudness_twice(
    gain: Gain, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: float | None, passes: int
) -> None:
    opened = []

    def counted(*given: Any) -> Any:
        opened.append(given)
        return open_sound(*given)

    monkeypatch.setattr("denoise_app.inference.separation.open_sound", counted)
    engine.denoise_file(recording, tmp_path / "out.wav", gain(0.5), Settings(loudness_lufs=target))
    assert len(opened) == passes


def test_what_cannot_be_written_is_said_before_the_denoiser_runs(gain: Gain, recording: Path, tmp_path: Path) -> None:
    steps: list[Progress] = []
    settings = Settings(container="xyz")
    with pytest.raises(AudioError) as caught:
        engine.denoise_file(recording, tmp_path / "out.xyz", gain(0.5), settings, progress=steps.append)
    assert caught.value.reason == "unknown-format" and steps[-1].fraction == 0
    assert list(tmp_path.iterdir()) == [recording]


@pytest.mark.parametrize("size", [10, 100_000, 400_000])
def test_a_full_disk_is_said_and_leaves_nothing(
    gain: Gain, recording: Path, tmp_path: Path, small_blocks: None, size: int
) -> None:
    """At 10 bytes nothing can be kept, at 100 kB not all of what was taken, at 400 kB not the output."""
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with files_of_at_most(size), pytest.raises(AudioError) as caught:
        engine.denoise_file(recording, tmp_path / "out.wav", gain(0.5))
    assert caught.value.reason == "disk-full"
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_that_cannot_be_written_is_said(gain: Gain, recording: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AudioError) as caught:
        engine.separate(recording, gain(1.0), tmp_path / "file" / "work")
    assert caught.value.reason == "cannot-write"


# -------------------------------------------------------------------------------------------------------------- preview


@pytest.mark.slow
@pytest.mark.parametrize(("start", "seconds"), [(0.0, 1.0), (0.7, 1.5), (3.1, 0.5), (3.5, 10.0), (2.5, None)])
def test_a_preview_is_a_part_of_the_whole(
    gain: Gain, recording: Path, tmp_path: Path, start: float, seconds: float | None
) -> None:
    separation = engine.separate(recording, gain(0.5), tmp_path / "work", start=start, seconds=seconds)
    rendered = engine.render(separation, Settings(), tmp_path / "part.wav")
    whole = samples_of(engine.denoise_file(recording, tmp_path / "whole.wav", gain(0.5)).path)
    first = round(start * 48_000)
    expected = whole[:, first:] if seconds is None else whole[:, first : first + round(seconds * 48_000)]
    part = samples_of(rendered.path)
    assert part.shape == expected.shape and rendered.info_in.frames == part.shape[1]
    assert to_db(rms(part - expected) / rms(expected)) < -30  # at its ends the resampler hears silence instead


def test_a_preview_hears_what_came_before(tmp_path: Path, speech: Clip) -> None:
    class Rising(SpectralDenoiser):
        """Opens slowly: 1 - 0.99^k in frame k."""

        def initial_frames(self, batch: int) -> int:
            return 0

        def enhance(self, spectra: Tensor, memory: int) -> tuple[Tensor, int]:
            count = spectra.shape[2]
            return spectra * (1 - 0.99 ** torch.arange(memory, memory + count)), memory + count

    separation = engine.separate(speech, Rising(), tmp_path, start=3.0, seconds=0.5)
    heard = np.concatenate([piece.taken for piece in separation.pieces()], axis=1)
    share = rms(heard) / rms(speech.samples[:, 48_000:56_000])
    assert share == pytest.approx(0.99**141, rel=0.1)  # two seconds are 125 frames, and half of the part is heard too


def test_a_part_beyond_the_end_is_refused(gain: Gain, recording: Path, tmp_path: Path) -> None:
    with pytest.raises(AudioError) as caught:
        engine.separate(recording, gain(1.0), tmp_path / "work", start=4.0, seconds=1.0)
    assert caught.value.reason == "start-beyond-end"
    with pytest.raises(ValueError):
        engine.separate(recording, gain(1.0), tmp_path / "work", start=-1.0)


def test_a_preview_at_strength_0_is_a_part_and_no_copy(gain: Gain, recording: Path, tmp_path: Path) -> None:
    separation = engine.separate(recording, gain(0.5), tmp_path / "work", start=1.0, seconds=1.0)
    rendered = engine.render(separation, Settings(strength=0.0), tmp_path / "part.wav")
    assert np.array_equal(samples_of(rendered.path), samples_of(recording)[:, 48_000:96_000])


# -------------------------------------------------------------------------------------------------------------- formats


@pytest.mark.slow
@pytest.mark.parametrize("container", ["wav", "flac", "ogg", "mp3", "m4a"])
def test_every_format_can_be_asked_for(gain: Gain, recording: Path, tmp_path: Path, container: str) -> None:
    settings = Settings(container=container)
    rendered = engine.denoise_file(recording, tmp_path / f"out.{container}", gain(0.5), settings)
    assert rendered.info_out.container == container
    assert abs(rendered.info_out.frames - rendered.info_in.frames) < 3000  # mp3 pads


@pytest.mark.slow
@pytest.mark.parametrize("container", ["m4a", "mp4"])
def test_sound_that_ffmpeg_reads_goes_through(gain: Gain, recording: Path, tmp_path: Path, container: str) -> None:
    source = tmp_path / f"in.{container}"
    engine.denoise_file(recording, tmp_path / "in.m4a", gain(1.0), Settings(container="m4a"))
    if container == "mp4":
        (tmp_path / "in.m4a").rename(source)
    separation = engine.separate(source, gain(1.0), tmp_path / "work")
    rendered = engine.render(separation, Settings(container="wav"), tmp_path / "out.wav")
    assert rendered.info_out.frames == separation.info.frames == pytest.approx(4 * 48_000, abs=2048)


def test_another_container_keeps_the_bit_depth() -> None:
    info = FileInfo("wav", "PCM_24", 48_000, 2, 100, 24)
    assert engine.output_encoding(info, Settings()) == Encoding("wav", "PCM_24")
    assert engine.output_encoding(info, Settings(container="flac")) == Encoding("flac", "PCM_24")
    assert engine.output_encoding(info, Settings(bit_depth=16)) == Encoding("wav", "PCM_16")
    assert engine.output_encoding(info, Settings(container="mp3", bit_depth=24)) == Encoding("mp3", "MPEG_LAYER_III")
    lossy = FileInfo("mp3", "MPEG_LAYER_III", 48_000, 2, 100, None)
    assert engine.output_encoding(lossy, Settings(container="wav")) == Encoding("wav", "PCM_16")
    with pytest.raises(AudioError) as caught:
        engine.output_encoding(info, Settings(container="exe"))
    assert caught.value.reason == "unknown-format"


# --------------------------------------------------------------------------------------------------- the real denoisers


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CLASSICAL))
def test_every_denoiser_is_driven_as_if_it_heard_the_whole(
    name: str, speech: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("denoise_app.inference.sources.BLOCK_SECONDS", 0.7)
    noisy = speech.with_samples(speech.samples[:, :50_021] + noise(1, 50_021, scale=0.02))
    expected = CLASSICAL[name]()(torch.tensor(noisy.samples)).numpy()
    result = engine.denoise(noisy, CLASSICAL[name]()).samples
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5)
    assert not np.allclose(result, noisy.samples, atol=1e-3)


def test_many_at_once_get_their_own_results(speech: Clip) -> None:
    """They share one model."""
    torch.manual_seed(0)
    model = build("gru").eval()
    clips = [speech.with_samples(speech.samples[:, begin : begin + 16_000]) for begin in range(0, 80_000, 8000)]
    alone = [engine.denoise(clip, model).samples for clip in clips]
    with ThreadPoolExecutor(len(clips)) as pool:
        together = list(pool.map(lambda clip: engine.denoise(clip, model).samples, clips))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-6)


def test_a_real_reference_cancels_the_noise(speech: Clip) -> None:
    voice = speech.samples[:, :64_000]
    hum = noise(1, 64_000, scale=0.1)
    heard = np.convolve(hum[0], [0.5, 0.3, -0.2])[None, :64_000].astype(np.float32)
    clip = Clip(np.concatenate([voice + heard, hum]), 16_000)
    result = engine.denoise(clip, CLASSICAL["nlms"](), channels="reference").samples
    left = rms(result[:1, 32_000:] - voice[:, 32_000:])
    assert to_db(left / rms(heard[:, 32_000:])) < -10
    np.testing.assert_allclose(result[1], hum[0], rtol=0, atol=1e-6)


# --------------------------------------------------------------------------------------------------- a constant offset


@pytest.fixture
def voice(speech: Clip) -> Array:
    """(1, 4 s) of speech in soft noise, at 16 kHz."""
    return speech.samples[:, : 4 * 16_000] + noise(1, 4 * 16_000, scale=0.002)


@pytest.mark.slow
def test_no_denoiser_hears_an_offset(voice: Array) -> None:
    for name, make in CLASSICAL.items():
        plain = run(make(), voice, 16_000)
        assert to_db(rms(run(make(), voice + np.float32(0.3), 16_000) - plain) / rms(plain)) < -35, name


@pytest.mark.slow
@pytest.mark.parametrize(("model", "loss"), [("gru", "hybrid"), ("light-crn", "hybrid"), ("cnn", "hybrid")])
@pytest.mark.parametrize("offset", [0.3, -0.05])
def test_nor_does_a_neural_one(voice: Array, model: str, loss: str, offset: float) -> None:
    denoiser = catalog.load(model, loss, "cpu")
    plain, moved = run(denoiser, voice, 16_000), run(denoiser, voice + np.float32(offset), 16_000)
    assert to_db(rms(moved) / rms(plain)) == pytest.approx(0, abs=0.05)
    assert np.corrcoef(moved[0], plain[0])[0, 1] > 0.999


def test_an_offset_goes_with_what_is_removed(gain: Gain, voice: Array) -> None:
    seam = np.arange(voice.shape[1]) < 30_000
    offset = np.stack([np.where(seam, 0.3, -0.1), np.where(seam, 0.1, 0.1)]).astype(np.float32)
    samples = np.concatenate([voice, 0.5 * voice])
    for rate in (16_000, 48_000):
        result = run(gain(1.0), samples + offset, rate)
        assert np.abs(result - samples).max() < 0.004
        half = run(gain(1.0), samples + offset, rate, strength=50)
        np.testing.assert_allclose(half, samples + offset / 2, rtol=0, atol=0.004)
        mean = run(gain(1.0), samples + offset, rate, channels="mid")
        assert np.abs(mean - samples.mean(axis=0)).max() < 0.004


def test_a_preview_knows_the_offset_too(gain: Gain, voice: Array, tmp_path: Path) -> None:
    samples = np.tile(voice, 2) + np.float32(0.2)
    separation = engine.separate(Clip(samples, 16_000), gain(1.0), tmp_path, start=5.1, seconds=2.0)
    rendered = engine.render(separation, Settings(container="wav", bit_depth=32), tmp_path / "part.wav")
    part = slice(round(5.1 * 16_000), round(7.1 * 16_000))
    assert np.abs(samples_of(rendered.path) - (samples[:, part] - 0.2)).max() < 0.004


@pytest.mark.parametrize("channels", ["each", "mid"])
def test_the_mean_of_opposite_channels_is_not_silent_without_a_word(
    gain: Gain, voice: Array, tmp_path: Path, channels: Any
) -> None:
    for offset in (0.0, 0.2):
        clip = Clip(np.concatenate([voice, -voice]) + np.float32(offset), 16_000)
        notes = engine.separate(clip, gain(1.0), tmp_path, channels=channels).notes
        assert ("opposite-channels" in [note.key for note in notes]) == (channels == "mid")
