"""What the conditions do to a pair: each leaves what it says, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt

from denoise_app.audio.clip import Clip, Samples
from denoise_app.audio.level import active_speech_level
from denoise_app.audio.mix import mix_at_snr, noise
from denoise_app.evaluation.conditions import CONDITIONS, MUSIC_SNR_DB, STEP, treated

RATE = 16_000


@pytest.fixture(scope="module")
def pair(speech: Clip) -> tuple[Samples, Samples]:
    """(noisy, clean), 3 s."""
    clean = speech.samples[0, : 3 * RATE]
    return mix_at_snr(clean, noise("white", clean.size, RATE, np.random.default_rng(0)), 5.0, RATE)[0], clean


def db(ratio: float) -> float:
    return float(10 * np.log10(ratio))


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_name_gives_one_pair_and_the_files_stay_as_they_are(condition: str, pair: tuple[Samples, Samples]) -> None:
    copies = pair[0].copy(), pair[1].copy()
    first, again = (treated(condition, "a.flac", *pair, RATE) for _ in range(2))
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert all(np.array_equal(one, two) for one, two in zip(copies, pair, strict=True))
    assert first[0].shape == first[1].shape
    assert first[0].size == 2 * pair[1].size + RATE // 2 if condition == "near-and-far" else pair[1].size
    assert all(one.dtype == np.float32 and np.isfinite(one).all() for one in first)
    other = treated(condition, "b.flac", *pair, RATE)
    assert np.array_equal(first[0], other[0]) == (condition in ("band-limited", "clipped", "quiet", "near-and-far"))


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_any_rate_will_do_and_without_speech_nothing_is_done(
    condition: str, rate: int, pair: tuple[Samples, Samples]
) -> None:
    noisy, clean = pair[0][:9973], pair[1][:9973]
    heard, target = treated(condition, "a", noisy, clean, rate)
    assert heard.shape == target.shape and heard.size >= 9973
    assert treated(condition, "a", clean, clean, rate)[1].any(), "no noise is no error"
    assert treated(condition, "a", noisy, 0 * clean, rate)[0] is noisy


def test_band_limited_has_nothing_above_4_khz(pair: tuple[Samples, Samples]) -> None:
    for before, after in zip(pair, treated("band-limited", "a", *pair, RATE), strict=True):
        was, now = (np.abs(np.fft.rfft(signal * np.hanning(signal.size))) ** 2 for signal in (before, after))
        hertz = np.fft.rfftfreq(before.size, 1 / RATE)
        assert db(now[hertz > 4100].sum() / now.sum()) < -60
        low = hertz < 3600
        assert db(now[low].sum() / was[low].sum()) == pytest.approx(0, abs=0.1)


def test_clipped_is_cut_at_a_quarter_and_the_reference_is_not(pair: tuple[Samples, Samples]) -> None:
    noisy, clean = treated("clipped", "a", *pair, RATE)
    limit = np.abs(pair[0]).max() / 4
    assert np.abs(noisy).max() == limit and (np.abs(noisy) == limit).sum() > 100
    inside = np.abs(pair[0]) < limit
    assert np.array_equal(noisy[inside], pair[0][inside]) and clean is pair[1]


def test_quiet_is_at_minus_55_dbfs_in_16_bits(pair: tuple[Samples, Samples]) -> None:
    noisy, clean = treated("quiet", "a", *pair, RATE)
    assert db(np.mean(noisy.astype(float) ** 2)) == pytest.approx(-55, abs=0.05)
    assert np.array_equal(noisy / np.float32(STEP), np.round(noisy / np.float32(STEP)))
    assert clean.std() / noisy.std() == pytest.approx(pair[1].std() / pair[0].std(), rel=0.01)


def test_reverberant_speech_keeps_its_energy_and_its_noise_and_its_start_is_the_reference(
    pair: tuple[Samples, Samples],
) -> None:
    click = np.zeros(RATE, np.float32)
    click[100] = 0.5
    hiss = 0.01 * np.random.default_rng(1).standard_normal(RATE).astype(np.float32)
    noisy, clean = treated("reverberant", "a", click + hiss, click, RATE)
    heard = noisy - hiss
    assert np.linalg.norm(heard) == pytest.approx(0.5, rel=1e-3)
    edge = 100 + round(0.05 * RATE)
    assert np.abs(heard[:100]).max() < 1e-6 < np.abs(heard[edge:]).max()
    assert clean[:edge] == pytest.approx(heard[:edge], abs=1e-6)
    assert np.abs(clean[edge:]).max() < 1e-6


def test_music_takes_the_place_of_the_noise(pair: tuple[Samples, Samples]) -> None:
    noisy, clean = treated("music", "a", *pair, RATE)
    music = noisy - pair[1]
    level = db(np.mean(music.astype(float) ** 2))
    assert active_speech_level(pair[1], RATE) - level == pytest.approx(MUSIC_SNR_DB, abs=0.05)
    assert clean is pair[1] and abs(np.corrcoef(music, pair[0] - pair[1])[0, 1]) < 0.05


def test_a_far_voice_follows_the_near_one_20_db_softer_in_a_quiet_room(pair: tuple[Samples, Samples]) -> None:
    above = butter(4, 150, "highpass", fs=RATE, output="sos")  # where there is no rumble to take away
    heard, clean = (np.asarray(sosfiltfilt(above, side), np.float32) for side in pair)
    noisy, target = treated("near-and-far", "a", heard, clean, RATE)
    size, within = clean.size, slice(clean.size - RATE // 4)  # it is cut off in the middle of a word
    assert np.linalg.norm((target[:size] - clean)[within]) < 0.02 * np.linalg.norm(clean)
    assert target[-size:] == pytest.approx(0.1 * target[:size], abs=1e-6)
    assert not target[size:-size].any() and target.size - 2 * size == RATE // 2
    hiss = noisy - target
    parts = [db(np.mean(part.astype(float) ** 2)) for part in (hiss[:size], hiss[size:-size], hiss[-size:])]
    assert parts == pytest.approx([parts[2]] * 3, abs=0.5), "it goes on through the pause"
    assert active_speech_level(target[-size:], RATE) - parts[2] == pytest.approx(20, abs=0.1)


def test_an_offset_moves_all_samples_alike_and_what_lies_beyond_full_scale_is_lost(
    pair: tuple[Samples, Samples],
) -> None:
    moved = {float(np.median(treated("offset", name, *pair, RATE)[0] - pair[0])) for name in "abcdefgh"}
    assert all(0.1 <= abs(offset) <= 0.3 for offset in moved) and {offset > 0 for offset in moved} == {True, False}
    loud, clean = treated("offset", "a", 10 * pair[0], pair[1], RATE)
    assert np.abs(loud).max() == 1 and clean is pair[1]


def test_a_nearly_clean_recording_has_its_noise_15_to_30_db_below(pair: tuple[Samples, Samples]) -> None:
    for name in "abcdef":
        noisy, clean = treated("clean-input", name, *pair, RATE)
        level = db(np.mean((noisy - clean).astype(float) ** 2))
        assert 15 <= active_speech_level(clean, RATE) - level <= 30
        assert np.corrcoef(noisy - clean, pair[0] - pair[1])[0, 1] > 0.99


@pytest.mark.parametrize("condition", ["near-and-far", "clean-input"])
def test_where_the_voice_is_nearly_alone_it_is_one_without_rumble(
    condition: str, pair: tuple[Samples, Samples]
) -> None:
    noisy, clean = pair
    rumble = np.sin(2 * np.pi * 30 * np.arange(clean.size) / RATE).astype(np.float32) * np.abs(clean).max()
    for found, expected in zip(
        treated(condition, "a", noisy + rumble, clean + rumble, RATE), treated(condition, "a", *pair, RATE), strict=True
    ):
        within = slice(RATE // 4, clean.size - RATE // 4)  # a sine that begins at once has all frequencies there
        assert np.abs(found - expected)[within].max() < 0.01 * np.abs(clean).max()
