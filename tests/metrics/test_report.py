"""The metric table and measuring all of it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from denoise_app.audio.clip import Clip, Samples
from denoise_app.audio.convert import resample
from denoise_app.audio.level import loudness
from denoise_app.metrics import blind, table
from denoise_app.metrics.report import Measured, measure, score
from denoise_app.metrics.table import METRICS

RATE = 16_000
BLIND = ["snr_estimated", "dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl", "noise_floor", "speech_level", "loudness"]
QUICK = [metric.key for metric in METRICS.values() if not metric.slow]


@pytest.fixture
def trio(speech: Clip) -> tuple[Samples, Samples, Samples]:
    """(noisy, processed, clean), 2.4 s; a tenth of the noise is left."""
    clean = speech.samples[0, : 12 * RATE // 5]
    noise = np.random.default_rng(0).standard_normal(clean.size).astype(np.float32) * np.float32(0.02)
    return clean + noise, clean + noise / 10, clean


@pytest.fixture
def one_run(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A DNSMOS that is quick and counts its runs."""
    runs: list[int] = []

    def judge(samples: Samples, sample_rate: int) -> blind.DnsMos:
        runs.append(samples.size)
        return blind.DnsMos(1.0, 2.0, float(len(runs)))

    monkeypatch.setattr(blind, "dnsmos", judge)
    return runs


@pytest.mark.slow
def test_every_metric_improves_its_own_way(trio: tuple[Samples, Samples, Samples]) -> None:
    measured = measure(trio[0], trio[1], RATE, trio[2])
    assert list(measured) == list(METRICS)
    for key, values in measured.items():
        assert values.before is not None and values.after is not None and values.unavailable is None
        change = values.after - values.before
        if METRICS[key].better != "neither":
            assert (change > 0) == (METRICS[key].better == "higher"), key
    assert measured["snr"].after - measured["snr"].before == pytest.approx(20, abs=0.01)  # type: ignore[operator]
    assert measured["noise_floor"].after < measured["noise_floor"].before - 5  # type: ignore[operator]


def test_without_a_reference_the_blind_ones_are_left(
    trio: tuple[Samples, Samples, Samples], one_run: list[int]
) -> None:
    measured = measure(trio[0], trio[1], RATE)
    assert list(measured) == BLIND
    assert len(one_run) == 2  # three scores before, three after
    assert measured["dnsmos_ovrl"] == Measured(1.0, 2.0)


def test_keys_choose_and_the_table_orders(trio: tuple[Samples, Samples, Samples]) -> None:
    assert list(score(trio[0], RATE, trio[2], ["snr", "stoi"])) == ["stoi", "snr"]
    assert list(measure(trio[0], trio[1], RATE, trio[2], (key for key in ["mse", "snr"]))) == ["snr", "mse"]


def test_wrong_requests_are_errors(trio: tuple[Samples, Samples, Samples]) -> None:
    with pytest.raises(ValueError, match="no metric is called"):
        score(trio[0], RATE, None, ["loudnes"])
    with pytest.raises(ValueError, match="need a clean recording"):
        score(trio[0], RATE, None, ["snr"])
    with pytest.raises(ValueError, match="as much of the reference"):
        score(trio[0], RATE, trio[2][1:])
    with pytest.raises(ValueError, match="takes"):
        score(np.zeros((2, 9), np.float32), RATE)


@pytest.mark.parametrize("rate", [2_000, 8_000, 44_100, 192_000])
def test_any_rate_is_measured(rate: int, trio: tuple[Samples, Samples, Samples]) -> None:
    noisy, processed, clean = resample(np.stack(trio), RATE, rate)
    measured = measure(noisy, processed, rate, clean, QUICK)
    assert all(math.isfinite(x) for values in measured.values() for x in (values.before, values.after) if x is not None)
    assert all(values.unavailable is None for values in measured.values())


def test_silence_says_why_there_is_no_number(trio: tuple[Samples, Samples, Samples], one_run: list[int]) -> None:
    clean = trio[2]
    measured = measure(clean, 0 * clean, RATE, clean)
    gone = [key for key, values in measured.items() if values.after is None]
    assert gone == ["pesq_wb", "pesq_nb", "stoi", "estoi", "snr_estimated", "loudness"]  # DNSMOS is a fake here
    assert all(measured[key].before is not None for key in gone)
    assert {str(measured[key].unavailable) for key in gone[:1]} == {
        "PESQ-WB is about speech, and this sound is silent."
    }


def test_nothing_at_all_is_measured_without_an_exception() -> None:
    nothing = np.zeros(0, np.float32)
    measured = measure(nothing, nothing, RATE)
    assert measured["noise_floor"] == Measured(-120.0, -120.0)
    assert measured["snr_estimated"].before is None


def test_loudness_by_blocks_is_that_of_the_whole(
    trio: tuple[Samples, Samples, Samples], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "BLOCK", 777)
    assert score(trio[0], RATE, None, ["loudness"])["loudness"] == pytest.approx(loudness(trio[0][None], RATE))


def test_loudness_is_the_engines_at_a_low_rate() -> None:
    noise = np.random.default_rng(0).standard_normal(24_000).astype(np.float32) / 10
    told = score(noise, 8_000, None, ["loudness"])["loudness"]
    assert told == pytest.approx(loudness(resample(noise[None], 8_000, 48_000), 48_000), abs=0.15)


def test_the_arrays_are_only_read(trio: tuple[Samples, Samples, Samples]) -> None:
    for samples in trio:
        samples.flags.writeable = False
    measure(*trio[:2], RATE, trio[2], QUICK)
