"""Mixtures hit their SNR and never clip, true numbers are those of physics, and a sweep remembers what it measured."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from torch import Tensor

from denoise_app.audio.clip import Clip, Samples
from denoise_app.audio.convert import resample
from denoise_app.audio.errors import AudioError
from denoise_app.audio.level import active_speech_level, peak, rms, to_db
from denoise_app.audio.mix import NOISES, noise
from denoise_app.classical.wiener import Wiener
from denoise_app.evaluation import sweep as bench
from denoise_app.evaluation.sweep import BenchError, Candidate, Ingredients, Measurements, Pair, Sweep
from denoise_app.inference.engine import Cancelled
from denoise_app.inference.progress import Progress
from denoise_app.metrics.alignment import PairError
from denoise_app.metrics.errors import MetricUnavailable

RATE = 16_000
SNRS = (-10.0, 0.0, 10.0, 20.0, 30.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def clean(speech: Clip, folder: Path) -> Path:
    path = folder / "speech.wav"
    soundfile.write(path, speech.samples[0, : 4 * RATE], RATE, "FLOAT")
    return path


@pytest.fixture(scope="module")
def in_pink(clean: Path) -> Ingredients:
    return bench.prepare(clean, "pink", 0)


class Scaled:
    """Every sample times a number; counts how often it is asked."""

    causal, latency, sample_rate = False, 0, RATE

    def __init__(self, factor: float = 1.0) -> None:
        self.factor, self.runs = factor, 0

    def __call__(self, noisy: Tensor) -> Tensor:
        self.runs += 1
        return noisy * self.factor


class Failing(Scaled):
    def __call__(self, noisy: Tensor) -> Tensor:
        raise RuntimeError("out of memory")


def candidate(name: str, denoiser: Any, content: str | None = None) -> Candidate:
    return Candidate(name, content or name, lambda: denoiser)


def keys(notes: Any) -> list[str]:
    return [note.key for note in notes]


def write(path: Path, samples: Samples, rate: int = RATE) -> Path:
    soundfile.write(path, samples, rate, "FLOAT")
    return path


# ------------------------------------------------------------------------------------------------------------- mixtures


@pytest.mark.parametrize("kind", NOISES)
def test_the_snr_is_met_to_a_hundredth_of_a_decibel(clean: Path, kind: str) -> None:
    for seed, snr_db in enumerate([-10.0, -3.7, 0.0, 12.25, 30.0]):
        mixture = bench.mix(bench.prepare(clean, kind, seed), snr_db)
        level = to_db(rms(mixture.noisy - mixture.clean))
        assert active_speech_level(mixture.clean, RATE) - level == pytest.approx(snr_db, abs=0.01)
        assert mixture.snr_db == pytest.approx(snr_db, abs=0.01)
        assert peak(mixture.noisy) <= 1 and peak(mixture.clean) <= 1


@pytest.mark.parametrize("level", [0.02, 0.5, 1.9])
def test_what_would_clip_is_made_softer_and_told(speech: Clip, tmp_path: Path, level: float) -> None:
    samples = speech.samples[0, : 2 * RATE]
    loud = write(tmp_path / "loud.wav", samples * np.float32(level / np.abs(samples).max()))
    mixture = bench.mix(bench.prepare(loud, "white", 1), -10.0)
    assert mixture.snr_db == pytest.approx(-10.0, abs=0.01) and peak(mixture.noisy) <= 1
    assert ("bench-scaled" in keys(mixture.notes)) == (level > 0.1)
    if level > 0.1:
        told = float(str(mixture.notes[-1].facts["db"]))
        assert told == pytest.approx(to_db(level) - to_db(peak(mixture.clean)), abs=0.01)


def test_a_seed_gives_the_same_mixture_again_and_another_seed_another(clean: Path) -> None:
    first, again, other = (bench.mix(bench.prepare(clean, "rain", seed), 5.0) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first.noisy, again.noisy)
    assert first.content == again.content != other.content
    assert np.corrcoef(first.clean, other.clean)[0, 1] > 0.999999  # but for the level, which the peak decides


@pytest.mark.parametrize("snr_db", [-10.5, 31.0, float("nan")])
def test_an_snr_out_of_range_is_refused(in_pink: Ingredients, snr_db: float) -> None:
    with pytest.raises(BenchError) as raised:
        bench.mix(in_pink, snr_db)
    assert raised.value.reason == "bench-snr"


def test_a_short_noise_is_repeated_without_a_seam(clean: Path, tmp_path: Path) -> None:
    time = np.arange(round(0.777 * RATE)) / RATE
    tone = 0.1 * np.sin(2 * np.pi * 200 * time).astype(np.float32)  # it does not end where it began
    made = bench.prepare(clean, write(tmp_path / "tone.wav", tone), 3)
    assert made.noise.size == made.clean.size and "bench-repeated" in keys(made.notes)
    assert np.abs(np.diff(made.noise)).max() < 1.5 * np.abs(np.diff(tone)).max()
    parts = made.noise[: made.noise.size // 800 * 800].reshape(-1, 800)  # 50 ms
    assert np.sqrt((parts**2).mean(axis=1)).max() < 1.5 * rms(tone)
    again, other = (bench.prepare(clean, tmp_path / "tone.wav", seed).noise for seed in (3, 4))
    assert np.array_equal(made.noise, again) and not np.array_equal(made.noise, other)


@pytest.mark.parametrize("frames", [1, 2, 3, 100])
def test_a_scrap_of_noise_is_repeated_too(clean: Path, tmp_path: Path, frames: int) -> None:
    scrap = np.linspace(0.1, 0.2, frames, dtype=np.float32)
    made = bench.prepare(clean, write(tmp_path / "scrap.wav", scrap), 0)
    assert made.noise.size == made.clean.size and rms(made.noise) > 0.05
    assert bench.mix(made, 0.0).snr_db == pytest.approx(0.0, abs=0.01)


def test_a_long_noise_is_cut_at_a_place_that_the_seed_draws(clean: Path, tmp_path: Path) -> None:
    long = noise("white", 20 * RATE, RATE, np.random.default_rng(0))
    path = write(tmp_path / "long.wav", long)
    places = set()
    for seed in range(4):
        made = bench.prepare(clean, path, seed)
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
    made = bench.prepare(clean, write(tmp_path / "tone.wav", both.astype(np.float32), rate), 0)
    assert made.noise.size == made.clean.size
    assert ("bench-mono" in keys(made.notes)) == (channels > 1) and "bench-rate" in keys(made.notes)
    spectrum = np.abs(np.fft.rfft(made.noise * np.hanning(made.noise.size)))
    assert np.argmax(spectrum) * RATE / made.noise.size == pytest.approx(440, abs=1)


def test_long_speech_of_a_high_rate_is_bounded_and_told(speech: Clip, tmp_path: Path) -> None:
    long = np.tile(resample(speech.samples, RATE, 96_000)[0], 5)
    made = bench.prepare(write(tmp_path / "long.wav", long, 96_000), "white", 0)
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
    with pytest.raises(BenchError, match=r"clip\.wav") as raised:
        bench.prepare(path, "white", 0)
    assert raised.value.reason == reason and str(tmp_path) not in str(raised.value)


def test_silent_noise_and_broken_files_are_refused(clean: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchError) as raised:
        bench.prepare(clean, write(tmp_path / "silence.wav", np.zeros(RATE, np.float32)), 0)
    assert raised.value.reason == "bench-silent-noise"
    (tmp_path / "text.wav").write_text("this is text")
    with pytest.raises(AudioError, match="not a sound file"):
        bench.prepare(clean, tmp_path / "text.wav", 0)
    with pytest.raises(AudioError, match="no file"):
        bench.prepare(tmp_path / "gone.wav", "white", 0)


# ------------------------------------------------------------------------------------------------------ two recordings


def test_two_recordings_are_aligned_to_the_sample_and_measured_truly(in_pink: Ingredients, tmp_path: Path) -> None:
    mixture = bench.mix(in_pink, 5.0)
    late = np.concatenate([np.zeros(5432, np.float32), mixture.noisy])[: mixture.noisy.size]
    found = bench.pair(write(tmp_path / "noisy.wav", late), write(tmp_path / "clean.wav", mixture.clean))
    assert found.alignment is not None and found.alignment.lag == 5432 and keys(found.notes) == ["bench-trimmed"]
    cut = Pair(mixture.noisy[:-5432], mixture.clean[:-5432], RATE)
    assert found.content == cut.content
    assert bench.scores(found, found.noisy, ["si_sdr"]) == bench.scores(cut, cut.noisy, ["si_sdr"])


def test_a_clean_recording_of_another_rate_and_polarity_is_brought_over(in_pink: Ingredients, tmp_path: Path) -> None:
    mixture = bench.mix(in_pink, 20.0)
    other = np.stack([-resample(mixture.clean[np.newaxis], RATE, 44_100)[0]] * 2, axis=1)
    found = bench.pair(write(tmp_path / "noisy.wav", mixture.noisy), write(tmp_path / "clean.wav", other, 44_100))
    assert found.sample_rate == RATE and found.alignment is not None and found.alignment.lag == 0
    assert keys(found.notes) == ["bench-mono", "bench-rate", "bench-inverted"]
    assert bench.scores(found, found.noisy, ["snr"])["snr"] > 10


def test_long_recordings_are_bounded(speech: Clip, tmp_path: Path) -> None:
    long = np.tile(speech.samples[0], 5)[: 36 * RATE]
    rng = np.random.default_rng(0)
    recorded = long + 0.01 * rng.standard_normal(long.size).astype(np.float32)
    found = bench.pair(write(tmp_path / "noisy.wav", recorded[100:]), write(tmp_path / "clean.wav", long))
    assert found.alignment is not None and found.alignment.lag == -100
    assert found.noisy.size == found.clean.size == 30 * RATE and keys(found.notes) == ["bench-first"]


@pytest.mark.parametrize(("seconds", "reason"), [(2.9, "pair-lengths"), (3.1, None)])
def test_lengths_may_differ_by_a_second(
    speech: Clip, clean: Path, tmp_path: Path, seconds: float, reason: str | None
) -> None:
    short = write(tmp_path / "short.wav", speech.samples[0, : round(seconds * RATE)])
    if reason is None:
        assert keys(bench.pair(short, clean).notes) == ["bench-trimmed"]
        return
    with pytest.raises(PairError) as raised:
        bench.pair(short, clean)
    assert raised.value.reason == reason


def test_long_recordings_of_different_lengths_are_refused_by_their_headers(speech: Clip, tmp_path: Path) -> None:
    long = np.tile(speech.samples[0], 6)
    paths = write(tmp_path / "noisy.wav", long[: 35 * RATE]), write(tmp_path / "clean.wav", long[: 40 * RATE])
    with pytest.raises(PairError) as raised:
        bench.pair(*paths)
    assert raised.value.reason == "pair-lengths" and "40.00 s" in str(raised.value)


def test_other_speech_and_silence_are_refused(speech: Clip, clean: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other.wav", speech.samples[0, 4 * RATE : 8 * RATE])
    with pytest.raises(PairError) as raised:
        bench.pair(other, clean)
    assert raised.value.reason == "pair-unrelated"
    silence = write(tmp_path / "silence.wav", np.zeros(4 * RATE, np.float32))
    with pytest.raises(PairError):
        bench.pair(silence, clean)
    with pytest.raises(BenchError):
        bench.pair(clean, silence)


# ------------------------------------------------------------------------------------------------------------ measuring


def test_the_noisy_side_has_the_si_sdr_that_was_mixed(in_pink: Ingredients) -> None:
    """Over all samples speech is softer than while it is spoken, by what P.56 leaves out."""
    pauses = active_speech_level(in_pink.clean, RATE) - to_db(rms(in_pink.clean))
    for snr_db in SNRS:
        mixture = bench.mix(in_pink, snr_db)
        found = bench.scores(mixture, mixture.noisy, ["snr", "si_sdr"])
        assert found["snr"] == pytest.approx(snr_db - pauses, abs=0.05)
        assert found["si_sdr"] == pytest.approx(snr_db - pauses, abs=0.2)


def test_the_clean_side_itself_is_perfect(in_pink: Ingredients) -> None:
    mixture = bench.mix(in_pink, 0.0)
    found = bench.scores(mixture, mixture.clean)
    assert list(found) == list(bench.KEYS)
    assert found["pesq_wb"] == pytest.approx(4.64, abs=0.01) and found["stoi"] == pytest.approx(1.0, abs=1e-3)
    assert found["mse"] == 0 and found["lsd"] == pytest.approx(0, abs=1e-9) and found["si_sdr"] > 90


def test_without_pesq_the_other_programs_number_has_its_own_key(
    in_pink: Ingredients, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixture = bench.mix(in_pink, 10.0)
    real = bench.scores(mixture, mixture.noisy, ["pesq_wb"])
    monkeypatch.setitem(sys.modules, "pesq", None)
    found = bench.scores(mixture, mixture.noisy, ["pesq_wb", "pesq_nb"])
    assert list(found) == ["pesq_torch", "pesq_nb"]
    assert found["pesq_torch"] == pytest.approx(real["pesq_wb"], abs=0.2)
    assert isinstance(found["pesq_nb"], MetricUnavailable)


def test_denoised_sound_is_what_the_denoiser_makes_and_what_is_written(in_pink: Ingredients, tmp_path: Path) -> None:
    mixture = bench.mix(in_pink, 0.0)
    out = bench.denoise(mixture, Scaled(0.5), tmp_path / "out.wav")
    np.testing.assert_allclose(out, mixture.noisy / 2, atol=1e-6)
    written, rate = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert rate == RATE and np.array_equal(written, out)
    assert [path.name for path in tmp_path.iterdir()] == ["out.wav"]


# ------------------------------------------------------------------------------------------------------------ the sweep


def run(made: Ingredients, candidates: list[Candidate], known: Measurements | None = None, **more: Any) -> Sweep:
    found = Sweep()
    bench.sweep(made, candidates, more.pop("at", SNRS), known or Measurements(), found, **more)
    return found


@pytest.fixture(scope="module")
def swept(in_pink: Ingredients) -> Sweep:
    return run(in_pink, [candidate("nothing", Scaled(1.0)), candidate("wiener", Wiener())])


def curve(found: Sweep, name: str, value: Callable[[bench.Point], Any]) -> list[float]:
    return [value(point) for point in found.points if point.name == name]


def test_a_sweep_goes_from_end_to_end() -> None:
    assert bench.snrs() == (-10, -5, 0, 5, 10, 15, 20, 25, 30) and len(bench.snrs(2)) == 21


def test_points_come_by_snr_and_candidate(swept: Sweep) -> None:
    assert [(point.snr_db, point.name) for point in swept.points] == [
        (snr_db, name) for snr_db in SNRS for name in ("nothing", "wiener")
    ]
    assert all(set(point.before) == set(point.after) == set(bench.SWEPT) for point in swept.points)


def test_more_snr_in_is_more_of_everything_out(swept: Sweep) -> None:
    for name in ("nothing", "wiener"):
        for key in ("si_sdr", "stoi"):
            assert np.all(np.diff(curve(swept, name, lambda point, key=key: point.after[key])) > 0)  # type: ignore[misc]
        assert np.all(np.diff(curve(swept, name, lambda point: point.after["pesq_wb"])) > -0.05)  # 1.02 is its floor


def test_the_baseline_rises_by_what_the_snr_rises(swept: Sweep) -> None:
    np.testing.assert_allclose(np.diff(curve(swept, "wiener", lambda point: point.before["si_sdr"])), 10.0, atol=0.2)


def test_who_does_nothing_improves_nothing(swept: Sweep) -> None:
    for key in bench.SWEPT:
        improvements = curve(swept, "nothing", lambda point, key=key: point.improvement(key))  # type: ignore[misc]
        np.testing.assert_allclose(improvements, 0.0, atol=1e-3)


def test_who_reduces_noise_helps_most_where_there_is_most(swept: Sweep) -> None:
    improvements = curve(swept, "wiener", lambda point: point.improvement("si_sdr"))
    assert improvements[1] > 2 and improvements[1] > improvements[-1]


def test_an_improvement_needs_both_values() -> None:
    none = MetricUnavailable("silent", metric="STOI")
    assert bench.Point("a", 0.0, {"stoi": none}, {"stoi": 0.5}).improvement("stoi") is None
    assert bench.Point("a", 0.0, {"stoi": 0.4}, {}).improvement("stoi") is None


def test_what_was_measured_is_remembered_by_content(in_pink: Ingredients, clean: Path) -> None:
    known, denoiser = Measurements(), Scaled(0.5)
    first = run(in_pink, [candidate("half", denoiser)], known, at=(0.0, 5.0))
    runs = denoiser.runs
    again = run(bench.prepare(clean, "pink", 0), [candidate("another name", denoiser, "half")], known, at=(0.0, 5.0))
    assert denoiser.runs == runs > 0
    assert [point.after for point in again.points] == [point.after for point in first.points]
    run(bench.prepare(clean, "pink", 1), [candidate("half", denoiser)], known, at=(0.0,))  # another noise
    assert denoiser.runs > runs
    other = Scaled(0.1)
    run(in_pink, [candidate("half", other, "other weights")], known, at=(0.0,))  # the same name, other weights
    assert other.runs > 0


def test_memory_is_bounded_and_forgets_the_oldest() -> None:
    known = Measurements(most=2)
    known.put(("a",), {"stoi": 0.1})
    known.put(("b",), {"stoi": 0.2})
    assert known.get(("a",)) == {"stoi": 0.1}
    known.put(("c",), {"stoi": 0.3})
    assert known.get(("b",)) is None and known.get(("a",)) == {"stoi": 0.1} and known.get(("c",)) == {"stoi": 0.3}


def test_one_that_fails_leaves_the_others(in_pink: Ingredients) -> None:
    found = run(in_pink, [candidate("bad", Failing()), candidate("half", Scaled(0.5))], at=(0.0, 10.0))
    assert [point.name for point in found.points] == ["half", "half"]
    assert list(found.failures) == ["bad"] and "out of memory" in str(found.failures["bad"])


def test_cancel_keeps_what_is_done(in_pink: Ingredients) -> None:
    found = Sweep()
    heard: list[Progress] = []
    with pytest.raises(Cancelled):
        bench.sweep(
            in_pink,
            [candidate("half", Scaled(0.5))],
            SNRS,
            Measurements(),
            found,
            heard.append,
            lambda: len(found.points) >= 2,
        )
    assert [point.snr_db for point in found.points] == [-10.0, 0.0] and not found.failures
    assert [round(progress.fraction, 2) for progress in heard] == [0.0, 0.2]


def test_progress_ends_at_one_and_tells_the_time_left(in_pink: Ingredients) -> None:
    heard: list[Progress] = []
    run(in_pink, [candidate("half", Scaled(0.5))], at=(0.0, 10.0), progress=heard.append)
    assert heard[-1].fraction == 1.0 and heard[1].seconds_left is not None and heard[1].seconds_left > 0
