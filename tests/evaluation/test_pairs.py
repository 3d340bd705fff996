"""Pairs are found by name, mixtures hit their SNR and never clip, recordings are aligned to the sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from denoise_app.audio.clip import Clip, Samples
from denoise_app.audio.convert import resample
from denoise_app.audio.errors import AudioError
from denoise_app.audio.level import active_speech_level, peak, rms, to_db
from denoise_app.audio.mix import NOISES, noise
from denoise_app.evaluation import pairs
from denoise_app.evaluation.pairs import Ingredients
from denoise_app.evaluation.sweep import scores
from denoise_app.metrics.alignment import PairError

RATE = 16_000


def keys(notes: Any) -> list[str]:
    return [note.key for note in notes]


def write(path: Path, samples: Samples, rate: int = RATE) -> Path:
    soundfile.write(path, samples, rate, "FLOAT")
    return path


# ---------------------------------------------------------------------------------------------------------- two folders


def test_pairs_are_found_with_their_groups(folders: tuple[Path, Path]) -> None:
    found = pairs.find_pairs(*folders)
    assert [pair.name for pair in found] == ["en_0_-5dB.flac", "en_1_+5dB.flac", "zh_2_+15dB.flac"]
    assert found[2].groups == {"language": "zh", "snr_db": "15"}
    assert found[0].clean == folders[0] / found[0].name and found[0].noisy == folders[1] / found[0].name


def test_a_limit_spreads_over_all_pairs(folders: tuple[Path, Path]) -> None:
    assert [pair.name[:4] for pair in pairs.find_pairs(*folders, limit=2)] == ["en_0", "zh_2"]
    assert len(pairs.find_pairs(*folders, limit=1)) == 1
    assert len(pairs.find_pairs(*folders, limit=9)) == 3


def test_pairs_without_a_list_have_no_groups(folders: tuple[Path, Path]) -> None:
    (folders[0].parent / "pairs.csv").unlink()
    assert all(pair.groups == {} for pair in pairs.find_pairs(*folders))


def test_a_noisy_file_without_its_clean_one_is_an_error(folders: tuple[Path, Path]) -> None:
    next(folders[0].iterdir()).unlink()
    with pytest.raises(pairs.EvaluationError, match="no clean one"):
        pairs.find_pairs(*folders)


def test_folders_that_are_none_or_empty_are_errors(tmp_path: Path) -> None:
    with pytest.raises(pairs.EvaluationError, match="not a folder"):
        pairs.find_pairs(tmp_path / "a", tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with pytest.raises(pairs.EvaluationError, match="no file"):
        pairs.find_pairs(tmp_path / "a", tmp_path / "b")


def test_a_pair_of_two_lengths_is_an_error(folders: tuple[Path, Path]) -> None:
    pair = pairs.find_pairs(*folders)[0]
    samples, _ = soundfile.read(pair.noisy)
    soundfile.write(pair.noisy, samples[:-1], RATE)
    with pytest.raises(pairs.EvaluationError, match="equal in both"):
        pair.load()


def test_the_fingerprint_is_of_the_bytes(folders: tuple[Path, Path]) -> None:
    before = pairs.fingerprint(pairs.find_pairs(*folders))
    assert before == pairs.fingerprint(pairs.find_pairs(*folders))
    soundfile.write(folders[1] / "en_1_+5dB.flac", np.zeros(2 * RATE), RATE, subtype="PCM_24")
    assert before != pairs.fingerprint(pairs.find_pairs(*folders))


# ------------------------------------------------------------------------------------------------------------- mixtures


@pytest.mark.slow
@pytest.mark.parametrize("kind", NOISES)
def test_the_snr_is_met_to_a_hundredth_of_a_decibel(clean: Path, kind: str) -> None:
    for seed, snr_db in enumerate([-10.0, -3.7, 0.0, 12.25, 30.0]):
        mixture = pairs.mix(pairs.prepare(clean, kind, seed), snr_db)
        level = to_db(rms(mixture.noisy - mixture.clean))
        assert active_speech_level(mixture.clean, RATE) - level == pytest.approx(snr_db, abs=0.01)
        assert mixture.snr_db == pytest.approx(snr_db, abs=0.01)
        assert peak(mixture.noisy) <= 1 and peak(mixture.clean) <= 1


@pytest.mark.parametrize("level", [0.02, 0.5, 1.9])
def test_what_would_clip_is_made_softer_and_told(speech: Clip, tmp_path: Path, level: float) -> None:
    samples = speech.samples[0, : 2 * RATE]
    loud = write(tmp_path / "loud.wav", samples * np.float32(level / np.abs(samples).max()))
    mixture = pairs.mix(pairs.prepare(loud, "white", 1), -10.0)
    assert mixture.snr_db == pytest.approx(-10.0, abs=0.01) and peak(mixture.noisy) <= 1
    assert ("bench-scaled" in keys(mixture.notes)) == (level > 0.1)
    if level > 0.1:
        told = float(str(mixture.notes[-1].facts["db"]))
        assert told == pytest.approx(to_db(level) - to_db(peak(mixture.clean)), abs=0.01)


def test_a_seed_gives_the_same_mixture_again_and_another_seed_another(clean: Path) -> None:
    first, again, other = (pairs.mix(pairs.prepare(clean, "rain", seed), 5.0) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first.noisy, again.noisy)
    assert first.content == again.content != other.content
    assert np.corrcoef(first.clean, other.clean)[0, 1] > 0.999999  # but for the level, which the peak decides


@pytest.mark.parametrize("snr_db", [-10.5, 31.0, float("nan")])
def test_an_snr_out_of_range_is_refused(in_pink: Ingredients, snr_db: float) -> None:
    with pytest.raises(pairs.BenchError) as raised:
        pairs.mix(in_pink, snr_db)
    assert raised.value.reason == "bench-snr"


def test_a_short_noise_is_repeated_without_a_seam(clean: Path, tmp_path: Path) -> None:
    time = np.arange(round(0.777 * RATE)) / RATE
    tone = 0.1 * np.sin(2 * np.pi * 200 * time).astype(np.float32)  # it does not end where it began
    made = pairs.prepare(clean, write(tmp_path / "tone.wav", tone), 3)
    assert made.noise.size == made.clean.size and "bench-repeated" in keys(made.notes)
    assert np.abs(np.diff(made.noise)).max() < 1.5 * np.abs(np.diff(tone)).max()
    parts = made.noise[: made.noise.size // 800 * 800].reshape(-1, 800)  # 50 ms
    assert np.sqrt((parts**2).mean(axis=1)).max() < 1.5 * rms(tone)
    again, other = (pairs.prepare(clean, tmp_path / "tone.wav", seed).noise for seed in (3, 4))
    assert np.array_equal(made.noise, again) and not np.array_equal(made.noise, other)


@pytest.mark.parametrize("frames", [1, 2, 3, 100])
def test_a_scrap_of_noise_is_repeated_too(clean: Path, tmp_path: Path, frames: int) -> None:
    scrap = np.linspace(0.1, 0.2, frames, dtype=np.float32)
    made = pairs.prepare(clean, write(tmp_path / "scrap.wav", scrap), 0)
    assert made.noise.size == made.clean.size and rms(made.noise) > 0.05
    assert pairs.mix(made, 0.0).snr_db == pytest.approx(0.0, abs=0.01)


def test_a_long_noise_is_cut_at_a_place_that_the_seed_draws(clean: Path, tmp_path: Path) -> None:
    long = noise("white", 20 * RATE, RATE, np.random.default_rng(0))
    path = write(tmp_path / "long.wav", long)
    places = set()
    for seed in range(4):
        made = pairs.prepare(clean, path, seed)
        (note,) = [note for note in made.notes if note.key == "bench-cut"]
        place = round(float(str(note.facts["start"])) * RATE)
        np.testing.assert_array_equal(made.noise, long[place : place + made.clean.size])
        places.add(place)
    assert len(places) == 4


@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (44_100, 2), (48_000, 3)])
def test_noise_of_another_rate_is_resampled_and_channels_are_averaged(
    clean: Path, tmp_path: Path, rate: int, channels: int
) -> None:
    time = np.arange(round(9.3 * rate)) / rate
    tone = 0.1 * np.sin(2 * np.pi * 440 * time)
    both = np.stack([tone * share for share in np.linspace(0.5, 1.5, channels)], axis=1)
    made = pairs.prepare(clean, write(tmp_path / "tone.wav", both.astype(np.float32), rate), 0)
    assert made.noise.size == made.clean.size
    assert ("bench-mono" in keys(made.notes)) == (channels > 1) and "bench-rate" in keys(made.notes)
    spectrum = np.abs(np.fft.rfft(made.noise * np.hanning(made.noise.size)))
    assert np.argmax(spectrum) * RATE / made.noise.size == pytest.approx(440, abs=1)


def test_long_speech_of_a_high_rate_is_bounded_and_told(speech: Clip, tmp_path: Path) -> None:
    long = np.tile(resample(speech.samples, RATE, 96_000)[0], 5)
    made = pairs.prepare(write(tmp_path / "long.wav", long, 96_000), "white", 0)
    assert made.sample_rate == 48_000 and made.clean.size == 30 * 48_000
    assert keys(made.notes) == ["bench-rate", "bench-first"]


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.zeros(RATE, np.float32), "bench-silent-speech"),
        (np.full(RATE, 1e-5, np.float32), "bench-silent-speech"),
        (np.full(RATE // 4, 0.1, np.float32), "bench-short-speech"),
    ],
)
def test_what_is_no_speech_is_refused(tmp_path: Path, samples: Samples, reason: str) -> None:
    path = write(tmp_path / "clip.wav", samples)
    with pytest.raises(pairs.BenchError, match=r"clip\.wav") as raised:
        pairs.prepare(path, "white", 0)
    assert raised.value.reason == reason and str(tmp_path) not in str(raised.value)


def test_silent_noise_and_broken_files_are_refused(clean: Path, tmp_path: Path) -> None:
    with pytest.raises(pairs.BenchError) as raised:
        pairs.prepare(clean, write(tmp_path / "silence.wav", np.zeros(RATE, np.float32)), 0)
    assert raised.value.reason == "bench-silent-noise"
    (tmp_path / "text.wav").write_text("this is text")
    with pytest.raises(AudioError, match="not a sound file"):
        pairs.prepare(clean, tmp_path / "text.wav", 0)
    with pytest.raises(AudioError, match="no file"):
        pairs.prepare(tmp_path / "gone.wav", "white", 0)


# ------------------------------------------------------------------------------------------------------ two recordings


def test_two_recordings_are_aligned_to_the_sample_and_measured_truly(in_pink: Ingredients, tmp_path: Path) -> None:
    mixture = pairs.mix(in_pink, 5.0)
    late = np.concatenate([np.zeros(5432, np.float32), mixture.noisy])[: mixture.noisy.size]
    found = pairs.pair(write(tmp_path / "noisy.wav", late), write(tmp_path / "clean.wav", mixture.clean))
    assert found.alignment is not None and found.alignment.lag == 5432 and keys(found.notes) == ["bench-trimmed"]
    cut = pairs.Pair(mixture.noisy[:-5432], mixture.clean[:-5432], RATE)
    assert found.content == cut.content
    assert scores(found, found.noisy, ["si_sdr"]) == scores(cut, cut.noisy, ["si_sdr"])


def test_a_clean_recording_of_another_rate_and_polarity_is_brought_over(in_pink: Ingredients, tmp_path: Path) -> None:
    mixture = pairs.mix(in_pink, 20.0)
    other = np.stack([-resample(mixture.clean[np.newaxis], RATE, 44_100)[0]] * 2, axis=1)
    found = pairs.pair(write(tmp_path / "noisy.wav", mixture.noisy), write(tmp_path / "clean.wav", other, 44_100))
    assert found.sample_rate == RATE and found.alignment is not None and found.alignment.lag == 0
    assert keys(found.notes) == ["bench-mono", "bench-rate", "bench-inverted"]
    assert scores(found, found.noisy, ["snr"])["snr"] > 10


def test_long_recordings_are_bounded(speech: Clip, tmp_path: Path) -> None:
    long = np.tile(speech.samples[0], 5)[: 36 * RATE]
    rng = np.random.default_rng(0)
    recorded = long + 0.01 * rng.standard_normal(long.size).astype(np.float32)
    found = pairs.pair(write(tmp_path / "noisy.wav", recorded[100:]), write(tmp_path / "clean.wav", long))
    assert found.alignment is not None and found.alignment.lag == -100
    assert found.noisy.size == found.clean.size == 30 * RATE and keys(found.notes) == ["bench-first"]


@pytest.mark.parametrize(("seconds", "reason"), [(2.9, "pair-lengths"), (3.1, None)])
def test_lengths_may_differ_by_a_second(
    speech: Clip, clean: Path, tmp_path: Path, seconds: float, reason: str | None
) -> None:
    short = write(tmp_path / "short.wav", speech.samples[0, : round(seconds * RATE)])
    if reason is None:
        assert keys(pairs.pair(short, clean).notes) == ["bench-trimmed"]
        return
    with pytest.raises(PairError) as raised:
        pairs.pair(short, clean)
    assert raised.value.reason == reason


def test_long_recordings_of_different_lengths_are_refused_by_their_headers(speech: Clip, tmp_path: Path) -> None:
    long = np.tile(speech.samples[0], 6)
    paths = write(tmp_path / "noisy.wav", long[: 35 * RATE]), write(tmp_path / "clean.wav", long[: 40 * RATE])
    with pytest.raises(PairError) as raised:
        pairs.pair(*paths)
    assert raised.value.reason == "pair-lengths" and "40.00 s" in str(raised.value)


def test_other_speech_and_silence_are_refused(speech: Clip, clean: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other.wav", speech.samples[0, 4 * RATE : 8 * RATE])
    with pytest.raises(PairError) as raised:
        pairs.pair(other, clean)
    assert raised.value.reason == "pair-unrelated"
    silence = write(tmp_path / "silence.wav", np.zeros(4 * RATE, np.float32))
    with pytest.raises(PairError):
        pairs.pair(silence, clean)
    with pytest.raises(pairs.BenchError):
        pairs.pair(clean, silence)
