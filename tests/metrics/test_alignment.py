"""Two recordings are brought together to the sample, and what does not belong together is refused."""

from __future__ import annotations

import numpy as np
import pytest

from denoise_app.audio.clip import Clip, Samples
from denoise_app.audio.convert import resample
from denoise_app.audio.mix import NOISES, mix_at_snr, noise
from denoise_app.metrics.alignment import LOWEST_CORRELATION, Alignment, PairError, align, overlap

RATE = 16_000


def shifted(samples: Samples, lag: int) -> Samples:
    """As long as before, `lag` samples later; negative: earlier."""
    padded = np.concatenate([np.zeros(max(lag, 0), np.float32), samples[max(-lag, 0) :], np.zeros(max(-lag, 0))])
    return padded[: samples.size].astype(np.float32)


def noisy(speech: Clip, snr_db: float, kind: str = "pink", seed: int = 0) -> Samples:
    clean = speech.samples[0, : 4 * RATE]
    drawn = noise(kind, clean.size, RATE, np.random.default_rng(seed), clean)
    return mix_at_snr(clean, drawn, snr_db, RATE)[0]


@pytest.mark.parametrize("lag", [0, 1, -1, 997, -997, RATE // 3, -RATE // 3, RATE, -RATE])
@pytest.mark.parametrize("snr_db", [20.0, -5.0])
def test_an_injected_lag_is_found_to_the_sample(speech: Clip, lag: int, snr_db: float) -> None:
    found = align(shifted(noisy(speech, snr_db), lag), speech.samples[0, : 4 * RATE], RATE)
    assert found.lag == lag and not found.inverted


@pytest.mark.parametrize("kind", NOISES)
def test_any_noise_at_minus_ten_decibels_leaves_the_lag(speech: Clip, kind: str) -> None:
    found = align(shifted(noisy(speech, -10.0, kind, seed=3), 4321), speech.samples[0, : 4 * RATE], RATE)
    assert found.lag == 4321 and found.correlation > 1.5 * LOWEST_CORRELATION


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_a_lag_of_a_fraction_of_a_second_is_found_at_any_rate(speech: Clip, rate: int) -> None:
    clean = resample(speech.samples, RATE, rate)[0]
    lag = round(0.4321 * rate)
    assert align(shifted(clean, lag), clean, rate) == Alignment(lag, pytest.approx(1.0, abs=1e-3))


def test_a_recording_upside_down_is_turned_round(speech: Clip) -> None:
    clean = speech.samples[0]
    found = align(shifted(-clean, 250), clean, RATE)
    assert found.lag == 250 and found.correlation == pytest.approx(-1.0, abs=1e-3)
    before, after = overlap(shifted(-clean, 250), clean, found)
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("lag", [5000, -5000])
def test_the_overlap_is_what_both_hold(speech: Clip, lag: int) -> None:
    clean = speech.samples[0]
    recorded = clean[5000:] if lag < 0 else np.concatenate([np.zeros(5000, np.float32), clean])
    before, after = overlap(recorded, clean, align(recorded, clean, RATE))
    np.testing.assert_array_equal(before, after)
    assert before.size == (clean.size - 5000 if lag < 0 else clean.size)


def test_levels_offsets_and_hum_do_not_matter(speech: Clip) -> None:
    clean = speech.samples[0]
    hum = np.sin(2 * np.pi * 50 * np.arange(clean.size) / RATE)
    found = align((0.1 * shifted(clean, 777) + 0.1 * hum + 0.1).astype(np.float32), clean, RATE)
    assert found.lag == 777 and found.correlation > 0.9


def test_other_speech_is_refused_with_its_correlation(speech: Clip) -> None:
    one, other = speech.samples[0, : 4 * RATE], speech.samples[0, -4 * RATE :]
    hum = 0.1 * np.sin(2 * np.pi * 50 * np.arange(4 * RATE) / RATE).astype(np.float32)
    with pytest.raises(PairError) as raised:
        align(one + hum, other + hum, RATE)
    assert raised.value.reason == "pair-unrelated"
    assert 0 <= float(str(raised.value.facts["correlation"])) < LOWEST_CORRELATION
    assert f"{raised.value.facts['correlation']:.2f}" in str(raised.value)


@pytest.mark.parametrize("seed", range(5))
def test_noise_alone_is_refused(speech: Clip, seed: int) -> None:
    drawn = noise("pink", speech.frames, RATE, np.random.default_rng(seed))
    with pytest.raises(PairError, match="does not seem"):
        align(drawn, speech.samples[0], RATE)


def test_lengths_may_differ_by_a_second_and_no_more(speech: Clip) -> None:
    clean = speech.samples[0]
    assert align(clean[RATE:], clean, RATE).lag == -RATE
    with pytest.raises(PairError) as raised:
        align(clean[RATE + 1 :], clean, RATE)
    assert raised.value.reason == "pair-lengths" and f"{clean.size / RATE:.2f} s" in str(raised.value)


@pytest.mark.parametrize("silent", ["noisy", "clean"])
def test_silence_is_refused(speech: Clip, silent: str) -> None:
    clean = speech.samples[0]
    with pytest.raises(PairError) as raised:
        align(clean * (silent != "noisy"), clean * (silent != "clean"), RATE)
    assert raised.value.reason == "pair-silent"


@pytest.mark.parametrize("frames", [1, 2, 17, 100])
def test_scraps_are_compared_or_refused(frames: int) -> None:
    sound = np.random.default_rng(0).standard_normal(frames).astype(np.float32)
    try:
        assert align(sound, sound, RATE).lag == 0
    except PairError as error:
        assert error.reason == "pair-unrelated"


def test_what_was_given_is_not_changed(speech: Clip) -> None:
    clean = speech.samples[0].copy()
    kept = clean.copy()
    overlap(clean, clean, align(clean, clean, RATE))
    np.testing.assert_array_equal(clean, kept)
