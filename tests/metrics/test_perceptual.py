"""PESQ and STOI: against their packages, and where they have no value."""

from __future__ import annotations

import pickle
import sys
import warnings
from collections.abc import Callable

import numpy as np
import pesq
import pystoi
import pytest

from denoise_app.audio.clip import Clip, Samples
from denoise_app.audio.convert import resample
from denoise_app.metrics import perceptual
from denoise_app.metrics.perceptual import MetricUnavailable

RATE = 16_000
JUDGES = (perceptual.pesq_wb, perceptual.pesq_nb, perceptual.pesq_torch, perceptual.stoi, perceptual.estoi)
Judge = Callable[[Samples, Samples, int], float]
every_judge = pytest.mark.parametrize("judge", JUDGES)


@pytest.fixture(scope="module")
def pair(speech: Clip) -> tuple[Samples, Samples]:
    """(clean, noisy), 4 s."""
    clean = speech.samples[0, : 4 * RATE]
    return clean, clean + 0.02 * np.random.default_rng(0).standard_normal(clean.size).astype(np.float32)


def test_at_their_own_rate_the_packages_are_called_as_they_are(pair: tuple[Samples, Samples]) -> None:
    assert perceptual.pesq_wb(*pair, RATE) == pesq.pesq(RATE, *pair, "wb")
    assert perceptual.pesq_nb(*pair, RATE) == pesq.pesq(RATE, *pair, "nb")
    assert perceptual.stoi(*pair, RATE) == pytest.approx(pystoi.stoi(*pair, RATE))
    assert perceptual.estoi(*pair, RATE) == pytest.approx(pystoi.stoi(*pair, RATE, extended=True))


@every_judge
def test_another_rate_gives_nearly_the_same(judge: Judge, pair: tuple[Samples, Samples]) -> None:
    clean, noisy = resample(np.stack(pair), RATE, 44_100)
    assert judge(clean, noisy, 44_100) == pytest.approx(judge(*pair, RATE), abs=0.03)


@pytest.mark.slow
@every_judge
def test_more_noise_is_worse(judge: Judge, pair: tuple[Samples, Samples]) -> None:
    clean, noisy = pair
    assert judge(clean, clean + 3 * (noisy - clean), RATE) < judge(clean, noisy, RATE) < judge(clean, clean, RATE)


@every_judge
@pytest.mark.parametrize(
    ("length", "silent", "reason"),
    [
        (0, "none", "too-short"),
        (1, "none", "too-short"),
        (3000, "none", "too-short"),
        (RATE, "clean", "silent"),
        (RATE, "processed", "silent"),
    ],
)
def test_what_cannot_be_judged_has_a_reason(
    judge: Judge, pair: tuple[Samples, Samples], length: int, silent: str, reason: str
) -> None:
    clean, noisy = pair[0][RATE : RATE + length], pair[1][RATE : RATE + length]
    with pytest.raises(MetricUnavailable) as caught:
        judge(clean * (silent != "clean"), noisy * (silent != "processed"), RATE)
    assert caught.value.reason == reason
    assert str(caught.value.facts["metric"]) in str(caught.value)


@pytest.mark.parametrize("judge", [perceptual.stoi, perceptual.estoi])
def test_speech_too_short_for_stoi_is_said_so(judge: Judge, pair: tuple[Samples, Samples]) -> None:
    clean = np.zeros(RATE, np.float32)
    clean[:2000] = pair[0][RATE : RATE + 2000]
    with pytest.raises(MetricUnavailable, match="at least"):
        judge(clean, clean, RATE)


def test_stoi_leaves_the_warning_filters_of_the_process_alone(
    pair: tuple[Samples, Samples], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are every thread's: two that took turns in changing them left them changed for good."""
    before, during = list(warnings.filters), []

    def judged(*_: object, **__: object) -> float:
        during.append(list(warnings.filters))
        return 1e-5

    monkeypatch.setattr(pystoi, "stoi", judged)
    with pytest.raises(MetricUnavailable, match="at least"):
        perceptual.stoi(*pair, RATE)
    assert during == [before] and list(warnings.filters) == before


def test_no_utterance_for_pesq_is_said_so(pair: tuple[Samples, Samples], monkeypatch: pytest.MonkeyPatch) -> None:
    def judged(*_: object) -> float:
        raise pesq.NoUtterancesError(b"No utterances detected")

    monkeypatch.setattr(pesq, "pesq", judged)
    with pytest.raises(MetricUnavailable, match="no speech"):
        perceptual.pesq_wb(*pair, RATE)


@every_judge
def test_unequal_lengths_are_an_error(judge: Judge, pair: tuple[Samples, Samples]) -> None:
    with pytest.raises(ValueError, match="equal lengths"):
        judge(pair[0], pair[1][1:], RATE)


def test_the_stand_in_for_pesq_is_near_to_it(pair: tuple[Samples, Samples]) -> None:
    clean, noisy = pair
    for share in (0.0, 0.1, 0.3, 1.0):
        mixed = clean + np.float32(share) * (noisy - clean)
        assert perceptual.pesq_torch(clean, mixed, RATE) == pytest.approx(
            perceptual.pesq_wb(clean, mixed, RATE), abs=0.1
        )


def test_the_stand_in_for_pesq_changes_nothing(pair: tuple[Samples, Samples]) -> None:
    clean, noisy = pair[0].copy(), pair[1].copy()
    perceptual.pesq_torch(clean, noisy, RATE)
    assert np.array_equal(clean, pair[0]) and np.array_equal(noisy, pair[1])


@pytest.mark.parametrize(("judge", "package"), [(perceptual.pesq_wb, "pesq"), (perceptual.estoi, "pystoi")])
def test_a_missing_package_is_named(
    judge: Judge, package: str, pair: tuple[Samples, Samples], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MetricUnavailable, match=f"package {package}, which is not installed"):
        judge(*pair, RATE)


def test_of_a_long_recording_four_windows_are_judged(
    pair: tuple[Samples, Samples], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[int] = []

    def judged(reference: Samples, degraded: Samples, rate: int, extended: bool) -> float:
        heard.append(reference.size)
        return float(len(heard))

    monkeypatch.setattr(pystoi, "stoi", judged)
    clean = np.tile(pair[0], 50)  # 200 s
    clean[: 30 * RATE] = 0  # the first window is silent and does not count
    assert perceptual.stoi(clean, clean, RATE) == 2.0
    assert heard == [30 * RATE] * 3


def test_the_reason_survives_the_way_from_another_process() -> None:
    error = pickle.loads(pickle.dumps(MetricUnavailable("too-short", metric="STOI", seconds=0.4)))
    assert (error.reason, error.facts) == ("too-short", {"metric": "STOI", "seconds": 0.4})
    assert str(error) == "STOI needs at least 0.4 s of speech."
