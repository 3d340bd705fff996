"""A stretch is denoised and nothing else changes, not by a bit; or a stretch tells what the noise is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from denoise_app.audio import files
from denoise_app.audio.clip import Clip
from denoise_app.audio.errors import AudioError
from denoise_app.classical import CLASSICAL
from denoise_app.denoiser import Denoiser
from denoise_app.inference import engine
from denoise_app.inference.engine import Settings
from denoise_app.inference.errors import SettingError
from denoise_app.inference.noise_profile import takes_profile
from denoise_app.inference.removed import Removed
from denoise_app.inference.selection import FADE_SECONDS, Selection

Gain = Callable[..., Denoiser]
Array = npt.NDArray[np.float32]
PROFILED = ["spectral-subtraction", "wiener", "mmse-lsa"]


def noise(channels: int, frames: int, seed: int = 0) -> Array:
    return (0.1 * np.random.default_rng(seed).standard_normal((channels, frames))).astype(np.float32)


def low_noise(rate: int, seconds: float) -> Array:
    """Stereo noise below 3.2 kHz, where resampling changes nothing."""
    spectrum = np.fft.rfft(noise(2, round(rate * seconds)))
    spectrum[:, np.fft.rfftfreq(round(rate * seconds), 1 / rate) > 3200] = 0
    return np.fft.irfft(spectrum, round(rate * seconds)).astype(np.float32)


def slow_weights(frames: int, rate: int, start: float, end: float | None) -> npt.NDArray[np.float64]:
    """How much of each sample is the denoised one, sample by sample."""
    first, last = round(start * rate), frames if end is None else round(end * rate)
    fade = min(round(FADE_SECONDS * rate), (min(last, frames) - first) // 2)
    weights = np.zeros(frames)
    for n in range(first, min(last, frames)):
        weights[n] = 1.0
        if start > 0 and n - first < fade:
            weights[n] = 0.5 - 0.5 * np.cos(np.pi * (n - first + 0.5) / fade)
        if last < frames and last - 1 - n < fade:
            weights[n] = 0.5 - 0.5 * np.cos(np.pi * (last - 1 - n + 0.5) / fade)
    return weights


def run(denoiser: Denoiser, samples: Array, rate: int, *selection: Any, channels: Any = "each", **settings: Any) -> Any:
    clip = Clip(samples, rate)
    return engine.denoise(clip, denoiser, Settings(**settings), channels=channels, selection=Selection(*selection))


# ---------------------------------------------------------------------------------------------------------- the stretch


@pytest.mark.slow
@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 44_101, 48_000, 96_000])
@pytest.mark.parametrize(("start", "end"), [(0.7, 1.3), (0.0, 0.5), (1.5, None), (0.05, 99.0), (1.0, 1.004)])
def test_it_fades_into_what_a_denoiser_makes_of_it(gain: Gain, rate: int, start: float, end: float | None) -> None:
    samples = low_noise(rate, 2.0)
    found = run(gain(0.25), samples, rate, start, end, high_band="keep").samples
    weights = slow_weights(samples.shape[1], rate, start, None if end == 99.0 else end)
    inner = slice(rate // 50, -rate // 50)  # beyond both ends of a sound a resampler hears zeros
    np.testing.assert_allclose(found[:, inner], (samples * (1 - 0.75 * weights))[:, inner], rtol=0, atol=2e-5)
    around = weights == 0
    assert found[:, around].tobytes() == samples[:, around].tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("channels", ["each", "mid"])
@pytest.mark.parametrize("high_band", ["follow", "keep", "drop"])
@pytest.mark.parametrize("model", ["band-pass", "wiener", "nlms"])
def test_around_it_every_bit_stays(model: str, high_band: str, channels: str) -> None:
    """Of each channel, though the mean of both is denoised; with an offset; and the zeros keep their sign."""
    samples = noise(2, 100_000) + np.float32([[0.1], [-0.05]])
    samples[:, 10_000:10_100], samples[:, 30_000:30_100] = 0.0, -0.0
    found = run(CLASSICAL[model](), samples, 48_000, 0.5, 1.25, channels=channels, high_band=high_band).samples
    assert found[:, :24_000].tobytes() == samples[:, :24_000].tobytes()
    assert found[:, 60_000:].tobytes() == samples[:, 60_000:].tobytes()
    assert not np.array_equal(found[:, 24_000:60_000], samples[:, 24_000:60_000])


@pytest.mark.slow
@pytest.mark.parametrize("block", [257, 4801, 1 << 18])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_however_the_sound_is_cut_into_blocks(
    gain: Gain, block: int, rate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = low_noise(rate, 4.0)
    whole = run(gain(0.5), samples, rate, 2.6, 3.1).samples
    monkeypatch.setattr("denoise_app.inference.sources.BLOCK_SAMPLES", 2 * block)
    np.testing.assert_allclose(run(gain(0.5), samples, rate, 2.6, 3.1).samples, whole, rtol=0, atol=1e-6)


def test_the_denoiser_hears_what_is_around_it() -> None:
    """A filter that reaches 64 ms to both sides gives in the stretch what it gives of the whole sound."""
    samples = low_noise(16_000, 5.0)
    whole, found = (run(CLASSICAL["band-pass"](), samples, 16_000, *of).samples for of in ((), (2.0, 3.0)))
    weights = slow_weights(samples.shape[1], 16_000, 2.0, 3.0)
    np.testing.assert_allclose(found, samples + weights * (whole - samples), rtol=0, atol=1e-5)


def test_a_tracker_knows_the_noise_when_the_stretch_begins() -> None:
    """It has heard two seconds before, in which it settled: the stretch is as soft from its beginning as later on."""
    samples = noise(1, 80_000)
    found = run(CLASSICAL["mmse-lsa"](), samples, 16_000, 4.0, 5.0).samples
    early, late = (
        float(np.sqrt(np.mean(found[0, part] ** 2))) for part in (slice(64_400, 66_000), slice(72_000, None))
    )
    assert early < 1.3 * late and late < 0.03


def test_an_offset_does_not_jump_where_it_ends(gain: Gain) -> None:
    offset = np.float32(0.2)
    samples = noise(1, 64_000) * 0.1 + offset
    found = run(gain(0.0), samples, 16_000, 1.0, 3.0).samples
    np.testing.assert_allclose(found[:, 17_000:47_000], offset, rtol=0, atol=2e-3)
    assert np.abs(run(gain(0.0), samples, 16_000).samples[:, 17_000:47_000]).max() < 2e-3  # of the whole it is taken


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "subtype", "written"),
    [
        ("in.wav", "PCM_16", None),
        ("in.wav", "PCM_24", None),
        ("in.flac", "PCM_24", None),
        ("in.wav", "FLOAT", None),
        ("in.wav", "PCM_16", ("flac", 24)),
        ("in.wav", "PCM_24", ("wav", 32)),
        ("in.ogg", "VORBIS", ("wav", 32)),
        ("in.mp3", "MPEG_LAYER_III", ("wav", 32)),
    ],
)
def test_a_file_keeps_its_bits_where_the_encoding_holds_them(
    tmp_path: Path, name: str, subtype: str, written: tuple[str, int] | None
) -> None:
    source = tmp_path / name
    soundfile.write(source, noise(2, 150_000, seed=3).T, 44_100, subtype)
    container, bits = written or (None, None)
    out = tmp_path / f"out.{container or source.suffix[1:]}"
    settings = Settings(container=container, bit_depth=bits)
    made = engine.denoise_file(
        source, out, CLASSICAL["wiener"](), settings, selection=Selection(1.0, 2.0), removed=tmp_path / "removed.wav"
    )
    before, after = files.read(source), files.read(out)
    assert (after.sample_rate, after.samples.shape) == (44_100, before.samples.shape)
    assert made.info_out.frames == after.frames
    for part in (slice(0, 44_100), slice(88_200, None)):
        assert after.samples[:, part].tobytes() == before.samples[:, part].tobytes()
        assert not files.read(tmp_path / "removed.wav").samples[:, part].any()
    assert not np.array_equal(after.samples, before.samples)


def test_a_loudness_is_one_of_the_whole(tmp_path: Path) -> None:
    samples = noise(1, 96_000)
    found = run(CLASSICAL["wiener"](), samples, 48_000, 0.5, 1.0, loudness_lufs=-30.0).samples
    factor = found[0, 0] / samples[0, 0]
    np.testing.assert_allclose(found[:, :24_000], factor * samples[:, :24_000], rtol=1e-5)
    np.testing.assert_allclose(found[:, 48_000:], factor * samples[:, 48_000:], rtol=1e-5)
    assert factor < 0.9


@pytest.mark.slow
@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_what_is_kept_gives_the_same_once_more(tmp_path: Path, gain: Gain, rate: int) -> None:
    """Rendered in a second pass, and read in parts as a player does."""
    soundfile.write(tmp_path / "in.wav", low_noise(rate, 3.0).T, rate, "FLOAT")
    selection = Selection(1.2, 2.1)
    separation, _ = engine.denoise_keeping(
        tmp_path / "in.wav", tmp_path / "one.wav", gain(0.3), tmp_path / "work", selection=selection
    )
    engine.render(separation, Settings(), tmp_path / "two.wav")
    before, one, two = (files.read(tmp_path / name).samples for name in ("in.wav", "one.wav", "two.wav"))
    np.testing.assert_allclose(two, one, rtol=0, atol=1e-6)
    removed = Removed(separation, Settings())
    np.testing.assert_allclose(np.concatenate(list(removed.blocks()), axis=1), before - one, atol=1e-6)
    for start, count in ((0, rate), (rate, rate // 2), (round(1.5 * rate) + 7, 1001), (2 * rate, rate), (3 * rate, 9)):
        part = removed.read(start, count)
        np.testing.assert_allclose(part, (before - one)[:, start : start + count], atol=2e-5)


def test_a_second_of_work_is_one_for_a_second_that_is_denoised(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", noise(1, 320_000).T, 16_000)
    separation = engine.separate(
        tmp_path / "in.wav", CLASSICAL["wiener"](), tmp_path / "work", selection=Selection(4.0, 6.0)
    )
    assert separation.seconds_taken / separation.real_time_factor == pytest.approx(2.2)  # with 0.1 s on both sides
    assert separation.taken.stat().st_size < 4 * 16_000 * 4
    assert separation.info.frames == 320_000 and separation.is_whole


@pytest.mark.parametrize(
    ("selection", "reason"),
    [
        ((-1.0,), "bad-time"),
        ((nan,), "bad-time"),
        ((inf,), "bad-time"),
        ((True,), "bad-time"),
        (("1",), "bad-time"),
        ((0.0, inf), "bad-time"),
        ((2.0, 2.0), "empty-stretch"),
        ((2.0, 1.0), "empty-stretch"),
        ((0.0, None, (1.0, 0.5)), "empty-stretch"),
        ((0.0, None, (1.0, nan)), "bad-time"),
        ((0.0, None, 1.0), "bad-profile"),
        ((0.0, None, "12"), "bad-profile"),
        ((0.0, None, (1.0, 2.0, 3.0)), "bad-profile"),
    ],
)
def test_what_is_no_stretch_is_refused(selection: Any, reason: str) -> None:
    with pytest.raises(SettingError) as caught:
        Selection(*selection)
    assert caught.value.reason == reason


def test_one_beyond_the_end_is_refused(gain: Gain) -> None:
    with pytest.raises(AudioError, match=r"begins at 3 s, but the sound lasts 2\.0 s"):
        run(gain(0.5), noise(1, 32_000), 16_000, 3.0)


def test_a_part_has_no_stretch(tmp_path: Path, gain: Gain) -> None:
    with pytest.raises(ValueError, match="whole sound"):
        engine.separate(Clip(noise(1, 32_000), 16_000), gain(1.0), tmp_path, start=1.0, selection=Selection(0.5))


# ---------------------------------------------------------------------------------------------------- the noise profile


def hum_and_voice(rate: int = 16_000) -> tuple[Array, Array]:
    """A buzz of 100 Hz and its harmonics that stands still, and a voice of which each second is half a pause."""
    time = np.arange(6 * rate) / rate
    buzz = sum(np.sin(2 * np.pi * 100 * k * time + k * k) for k in range(1, 30)) * 0.01
    voice = 0.2 * np.sin(2 * np.pi * 733 * time) * (time % 1 > 0.5) * (time > 2)
    return buzz.astype(np.float32)[None], voice.astype(np.float32)[None]


@pytest.mark.parametrize("name", PROFILED)
def test_it_takes_noise_that_a_tracker_takes_for_speech(name: str) -> None:
    """Noise that sets in: a tracker follows late, the profile knows it."""
    rng = np.random.default_rng(0)
    steps = np.repeat([0.1, 0.001, 0.1, 0.001, 0.1, 0.001], 16_000)  # a second loud, a second soft
    samples = (steps * rng.standard_normal(96_000)).astype(np.float32)[None]
    tracked = run(CLASSICAL[name](), samples, 16_000).samples
    told = run(CLASSICAL[name](), samples, 16_000, 0.0, None, (0.2, 0.9)).samples
    onset = slice(2 * 16_000 + 800, 2 * 16_000 + 4800)
    left = [float(np.sqrt(np.mean(sound[0, onset] ** 2))) for sound in (samples, tracked, told)]
    assert left[2] < 0.35 * left[1] and left[2] < 0.25 * left[0]


@pytest.mark.parametrize("name", PROFILED)
def test_steady_noise_goes_and_what_is_no_noise_stays(name: str) -> None:
    buzz, voice = hum_and_voice()
    found = run(CLASSICAL[name](), buzz + voice, 16_000, 0.0, None, (0.5, 1.9)).samples
    pause, word = slice(3 * 16_000 + 800, 3 * 16_000 + 7200), slice(3 * 16_000 + 9600, 4 * 16_000 - 800)
    assert np.std(found[0, pause]) < 0.25 * np.std(buzz[0, pause])
    assert np.std(found[0, word] - voice[0, word]) < 0.3 * np.std(voice[0, word])


def test_each_channel_has_its_own(tmp_path: Path) -> None:
    samples = noise(2, 96_000)
    samples[1] *= 0.01
    both = run(CLASSICAL["wiener"](), samples, 48_000, 0.0, None, (0.2, 1.8)).samples
    for channel in (0, 1):
        alone = run(CLASSICAL["wiener"](), samples[[channel]], 48_000, 0.0, None, (0.2, 1.8)).samples
        np.testing.assert_allclose(both[[channel]], alone, rtol=0, atol=1e-6)


def test_louder_sound_gives_louder_sound() -> None:
    samples = 0.1 * noise(1, 64_000)
    one, ten = (run(CLASSICAL["mmse-lsa"](), k * samples, 16_000, 0.0, None, (1.0, 2.0)).samples for k in (1, 10))
    np.testing.assert_allclose(ten, 10 * one, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("interval", "reason"),
    [
        ((9.0, 10.0), "profile-beyond-end"),
        ((1.0, 1.05), "profile-too-short"),
        ((3.95, 9.0), "profile-too-short"),
        ((2.0, 3.0), "profile-silent"),
        ((3.0, 4.0), "profile-clipped"),
    ],
)
def test_a_stretch_that_tells_no_noise_is_refused(interval: tuple[float, float], reason: str) -> None:
    samples = noise(2, 64_000)
    samples[:, 32_000:48_000] = 0
    samples[:, 50_000:50_100] = 1.0
    with pytest.raises(AudioError) as caught:
        run(CLASSICAL["wiener"](), samples, 16_000, 0.0, None, interval)
    assert caught.value.reason == reason


def test_who_makes_no_use_of_it_says_who_does(gain: Gain) -> None:
    assert takes_profile() == PROFILED
    for denoiser in (gain(0.5), CLASSICAL["band-pass"](), CLASSICAL["modulation-subtraction"]()):
        with pytest.raises(AudioError, match="spectral-subtraction, wiener, mmse-lsa") as caught:
            run(denoiser, noise(1, 16_000), 16_000, 0.0, None, (0.1, 0.5))
        assert caught.value.reason == "no-profile-denoiser"


def test_nobody_else_hears_of_it() -> None:
    """The denoiser that was handed in goes on following the noise."""
    denoiser, samples = CLASSICAL["wiener"](), noise(1, 32_000)
    before = run(denoiser, samples, 16_000).samples
    run(denoiser, samples, 16_000, 0.0, None, (0.2, 1.0))
    np.testing.assert_array_equal(run(denoiser, samples, 16_000).samples, before)


def test_a_selection_is_data() -> None:
    selection = Selection(1, 2, [3, 4])  # type: ignore[arg-type]
    assert selection == Selection(1.0, 2.0, (3.0, 4.0))
    assert Selection(**dataclasses.asdict(selection)) == selection
