"""Scores against the clean speech are those of physics, and a sweep remembers what it measured."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from torch import Tensor

from denoise_app.audio.level import active_speech_level, rms, to_db
from denoise_app.classical.wiener import Wiener
from denoise_app.evaluation import sweep as bench
from denoise_app.evaluation.pairs import Ingredients, mix, prepare
from denoise_app.evaluation.sweep import Measurements, Sweep, System
from denoise_app.inference.engine import Cancelled
from denoise_app.inference.progress import Progress
from denoise_app.metrics.errors import MetricUnavailable
from denoise_app.metrics.table import keys

RATE = 16_000
SNRS = (-10.0, 0.0, 10.0, 20.0, 30.0)


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


def system(name: str, denoiser: Any, content: str | None = None) -> System:
    return System(name, content or name, lambda: denoiser)


# ------------------------------------------------------------------------------------------------------------ measuring


def test_the_noisy_side_has_the_si_sdr_that_was_mixed(in_pink: Ingredients) -> None:
    """Over all samples speech is softer than while it is spoken, by what P.56 leaves out."""
    pauses = active_speech_level(in_pink.clean, RATE) - to_db(rms(in_pink.clean))
    for snr_db in SNRS:
        mixture = mix(in_pink, snr_db)
        found = bench.scores(mixture, mixture.noisy, ["snr", "si_sdr"])
        assert found["snr"] == pytest.approx(snr_db - pauses, abs=0.05)
        assert found["si_sdr"] == pytest.approx(snr_db - pauses, abs=0.2)


def test_the_clean_side_itself_is_perfect(in_pink: Ingredients) -> None:
    mixture = mix(in_pink, 0.0)
    found = bench.scores(mixture, mixture.clean)
    assert list(found) == list(keys("bench"))
    assert found["pesq_wb"] == pytest.approx(4.64, abs=0.01) and found["stoi"] == pytest.approx(1.0, abs=1e-3)
    assert found["mse"] == 0 and found["lsd"] == pytest.approx(0, abs=1e-9) and found["si_sdr"] > 90


def test_without_pesq_the_other_programs_number_has_its_own_key(
    in_pink: Ingredients, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixture = mix(in_pink, 10.0)
    real = bench.scores(mixture, mixture.noisy, ["pesq_wb"])
    monkeypatch.setitem(sys.modules, "pesq", None)
    found = bench.scores(mixture, mixture.noisy, ["pesq_wb", "pesq_nb"])
    assert list(found) == ["pesq_torch", "pesq_nb"]
    assert found["pesq_torch"] == pytest.approx(real["pesq_wb"], abs=0.2)
    assert isinstance(found["pesq_nb"], MetricUnavailable)


def test_denoised_sound_is_what_the_denoiser_makes_and_what_is_written(in_pink: Ingredients, tmp_path: Path) -> None:
    mixture = mix(in_pink, 0.0)
    out = bench.denoise(mixture, Scaled(0.5), tmp_path / "out.wav")
    np.testing.assert_allclose(out, mixture.noisy / 2, atol=1e-6)
    written, rate = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert rate == RATE and np.array_equal(written, out)
    assert [path.name for path in tmp_path.iterdir()] == ["out.wav"]


# ------------------------------------------------------------------------------------------------------------ the sweep


def run(made: Ingredients, systems: list[System], known: Measurements | None = None, **more: Any) -> Sweep:
    found = Sweep()
    bench.sweep(made, systems, more.pop("at", SNRS), known or Measurements(), found, **more)
    return found


@pytest.fixture(scope="module")
def swept(in_pink: Ingredients) -> Sweep:
    return run(in_pink, [system("nothing", Scaled(1.0)), system("wiener", Wiener())])


def curve(found: Sweep, name: str, value: Callable[[bench.Point], Any]) -> list[float]:
    return [value(point) for point in found.points if point.name == name]


def test_a_sweep_goes_from_end_to_end() -> None:
    assert bench.snrs() == (-10, -5, 0, 5, 10, 15, 20, 25, 30) and len(bench.snrs(2)) == 21


@pytest.mark.slow
def test_points_come_by_snr_and_system(swept: Sweep) -> None:
    assert [(point.snr_db, point.name) for point in swept.points] == [
        (snr_db, name) for snr_db in SNRS for name in ("nothing", "wiener")
    ]
    assert all(set(point.before) == set(point.after) == set(keys("summary")) for point in swept.points)


def test_more_snr_in_is_more_of_everything_out(swept: Sweep) -> None:
    for name in ("nothing", "wiener"):
        for key in ("si_sdr", "stoi"):
            assert np.all(np.diff(curve(swept, name, lambda point, key=key: point.after[key])) > 0)  # type: ignore[misc]
        assert np.all(np.diff(curve(swept, name, lambda point: point.after["pesq_wb"])) > -0.05)  # 1.02 is its floor


def test_the_baseline_rises_by_what_the_snr_rises(swept: Sweep) -> None:
    np.testing.assert_allclose(np.diff(curve(swept, "wiener", lambda point: point.before["si_sdr"])), 10.0, atol=0.2)


def test_who_does_nothing_improves_nothing(swept: Sweep) -> None:
    for key in keys("summary"):
        improvements = curve(swept, "nothing", lambda point, key=key: point.improvement(key))  # type: ignore[misc]
        np.testing.assert_allclose(improvements, 0.0, atol=1e-3)


def test_who_reduces_noise_helps_most_where_there_is_most(swept: Sweep) -> None:
    improvements = curve(swept, "wiener", lambda point: point.improvement("si_sdr"))
    assert improvements[1] > 2 and improvements[1] > improvements[-1]


def test_an_improvement_needs_both_values() -> None:
    none = MetricUnavailable("silent", metric="STOI")
    assert bench.Point("a", 0.0, {"stoi": none}, {"stoi": 0.5}).improvement("stoi") is None
    assert bench.Point("a", 0.0, {"stoi": 0.4}, {}).improvement("stoi") is None


@pytest.mark.slow
def test_what_was_measured_is_remembered_by_content(in_pink: Ingredients, clean: Path) -> None:
    known, denoiser = Measurements(), Scaled(0.5)
    first = run(in_pink, [system("half", denoiser)], known, at=(0.0, 5.0))
    runs = denoiser.runs
    again = run(prepare(clean, "pink", 0), [system("another name", denoiser, "half")], known, at=(0.0, 5.0))
    assert denoiser.runs == runs > 0
    assert [point.after for point in again.points] == [point.after for point in first.points]
    run(prepare(clean, "pink", 1), [system("half", denoiser)], known, at=(0.0,))  # another noise
    assert denoiser.runs > runs
    other = Scaled(0.1)
    run(in_pink, [system("half", other, "other weights")], known, at=(0.0,))  # the same name, other weights
    assert other.runs > 0


def test_memory_is_bounded_and_forgets_the_oldest() -> None:
    known = Measurements(most=2)
    known.put(("a",), {"stoi": 0.1})
    known.put(("b",), {"stoi": 0.2})
    assert known.get(("a",)) == {"stoi": 0.1}
    known.put(("c",), {"stoi": 0.3})
    assert known.get(("b",)) is None and known.get(("a",)) == {"stoi": 0.1} and known.get(("c",)) == {"stoi": 0.3}


def test_one_that_fails_leaves_the_others(in_pink: Ingredients) -> None:
    found = run(in_pink, [system("bad", Failing()), system("half", Scaled(0.5))], at=(0.0, 10.0))
    assert [point.name for point in found.points] == ["half", "half"]
    assert list(found.failures) == ["bad"] and "out of memory" in str(found.failures["bad"])


def test_cancel_keeps_what_is_done(in_pink: Ingredients) -> None:
    found = Sweep()
    heard: list[Progress] = []
    with pytest.raises(Cancelled):
        bench.sweep(
            in_pink,
            [system("half", Scaled(0.5))],
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
    run(in_pink, [system("half", Scaled(0.5))], at=(0.0, 10.0), progress=heard.append)
    assert heard[-1].fraction == 1.0 and heard[1].seconds_left is not None and heard[1].seconds_left > 0
