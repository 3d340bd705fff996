"""Estimates without a reference: DNSMOS against speechmos, SNR against the truth, levels against arithmetic."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

from denoise_app.audio.clip import Clip, Samples
from denoise_app.audio.convert import resample
from denoise_app.audio.mix import noise
from denoise_app.metrics import blind
from denoise_app.metrics.blind import MetricUnavailable

RATE = 16_000


@pytest.fixture(autouse=True)
def rated(monkeypatch: pytest.MonkeyPatch) -> OrderedDict[bytes, list[float]]:
    """No window is known from another test."""
    fresh: OrderedDict[bytes, list[float]] = OrderedDict()
    monkeypatch.setattr(blind, "_rated", fresh)
    return fresh


@pytest.fixture
def noisy(speech: Clip) -> Samples:
    """12 s of speech in white noise."""
    rng = np.random.default_rng(0)
    return np.resize(speech.samples[0], 12 * RATE) + 0.02 * rng.standard_normal(12 * RATE).astype(np.float32)


class FakeNetwork:
    """Gives each window's mean and remembers how many there were."""

    def __init__(self) -> None:
        self.seen: list[Samples] = []

    def run(self, _: None, inputs: dict[str, Samples]) -> list[Samples]:
        (window,) = inputs["input_1"]
        self.seen.append(window)
        return [np.full((1, 3), window.mean())]


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> FakeNetwork:
    fake = FakeNetwork()
    monkeypatch.setattr(blind, "_loaded", [fake])
    return fake


# DNSMOS


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [4.9, 9.5, 11.2])
def test_dnsmos_is_that_of_speechmos(seconds: float, noisy: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    from speechmos import dnsmos as theirs

    monkeypatch.setattr(  # what librosa computes goes to another network, and compiling it takes long
        theirs.DNSMOS, "audio_melspec", lambda self, audio: np.zeros((900, 120), np.float32)
    )
    sound = noisy[: int(seconds * RATE)]
    expected = theirs.run(sound, RATE)
    found = blind.dnsmos(sound, RATE)
    assert found.sig == pytest.approx(expected["sig_mos"], abs=1e-3)
    assert found.bak == pytest.approx(expected["bak_mos"], abs=1e-3)
    assert found.ovrl == pytest.approx(expected["ovrl_mos"], abs=1e-3)


@pytest.mark.slow
def test_dnsmos_prefers_clean_speech_at_any_rate(speech: Clip, noisy: Samples) -> None:
    clean = resample(speech.samples[:, : 12 * RATE // 5], RATE, 44_100)[0]
    assert blind.dnsmos(clean, 44_100).ovrl > blind.dnsmos(noisy[: 12 * RATE // 5], RATE).ovrl + 0.5


@pytest.mark.parametrize(
    ("length", "windows"), [(RATE + 7, 7), (2 * RATE, 2), (144_160, 1), (17 * RATE, 8), (18 * RATE, 8), (600 * RATE, 8)]
)
def test_dnsmos_listens_to_a_bounded_number_of_windows(length: int, windows: int, network: FakeNetwork) -> None:
    blind.dnsmos(np.linspace(0.001, 1, length, dtype=np.float32), RATE)
    assert [window.shape for window in network.seen] == [(144_160,)] * windows


def test_the_same_window_is_rated_once_and_another_anew(
    network: FakeNetwork, rated: OrderedDict[bytes, list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    sounds = [rng.uniform(0, 0.1 * k, 10 * RATE).astype(np.float32) for k in (1, 2, 3)]
    first = [blind.dnsmos(sound, RATE) for sound in sounds]
    assert len(network.seen) == len(set(first)) == 3
    assert [blind.dnsmos(sound.copy(), RATE) for sound in sounds] == first
    assert len(network.seen) == 3
    assert blind.dnsmos(1.001 * sounds[0], RATE) != first[0]
    monkeypatch.setattr(blind, "MOST_RATED", len(rated))
    blind.dnsmos(0.5 * sounds[0], RATE)
    assert len(rated) == blind.MOST_RATED
    blind.dnsmos(0.5 * sounds[0], RATE)
    assert len(network.seen) == 5
    blind.dnsmos(sounds[0], RATE)  # the oldest had to go
    assert len(network.seen) == 6


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_the_windows_reach_from_the_first_second_to_the_last(rate: int, network: FakeNetwork) -> None:
    blind.dnsmos(np.linspace(0, 1, 100 * rate, dtype=np.float32), rate)
    means = [window.mean() for window in network.seen]
    np.testing.assert_allclose(means, np.linspace(0.045, 0.955, 8), atol=0.002)


def test_what_lies_beyond_full_scale_is_clipped(network: FakeNetwork) -> None:
    blind.dnsmos(np.full(10 * RATE, 3.0, np.float32), RATE)
    assert network.seen[0].max() == 1


def test_the_network_is_loaded_once_by_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[int] = []
    slow = threading.Event()

    def load() -> Any:
        loads.append(1)
        slow.wait(0.2)
        return FakeNetwork()

    monkeypatch.setattr(blind, "_loaded", [])
    monkeypatch.setattr(blind, "_load_dnsmos", load)
    threads = [blind.warm_up() for _ in range(5)]
    assert blind.dnsmos(np.ones(RATE, np.float32), RATE).sig > 0
    for thread in threads:
        thread.join()
    assert len(loads) == 1


@pytest.mark.parametrize("package", ["speechmos", "onnxruntime"])
def test_a_missing_package_is_named_and_the_warm_up_is_quiet(
    package: str, noisy: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blind, "_loaded", [])
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MetricUnavailable, match=f"package {package}, which is not installed"):
        blind.dnsmos(noisy, RATE)
    failures: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", failures.append)
    blind.warm_up().join()
    assert failures == []


@pytest.mark.slow
def test_librosa_is_not_imported(noisy: Samples) -> None:
    program = (
        "import sys, numpy as np; from denoise_app.metrics import blind;"
        "assert 'onnxruntime' not in sys.modules;"
        "blind.dnsmos(np.ones(144160, np.float32) / 2, 16000);"
        "sys.exit('librosa' in sys.modules or 'numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# SNR


def errors(speech: Clip, kind: str) -> list[float]:
    """Estimated minus true SNR in dB at -5 to 20 dB."""
    rng = np.random.default_rng(3)
    clean = speech.samples[0]
    disturbance = noise(kind, clean.size, RATE, rng, clean[::-1].copy())
    found = []
    for snr in range(-5, 21, 5):
        gain = np.sqrt(np.mean(clean**2) / np.mean(disturbance**2) / 10 ** (snr / 10))
        mixture = ((clean + gain * disturbance) / 4).astype(np.float32)
        found.append(blind.estimate_snr(mixture, RATE) - snr)
    return found


@pytest.mark.slow
def test_the_estimated_snr_is_as_wrong_as_its_docstring_says(speech: Clip) -> None:
    steady = np.array([errors(speech, kind) for kind in ("white", "pink", "brown", "rain", "hum")])
    typed = np.array(errors(speech, "keyboard"))
    said = re.findall(
        r"by rule[^:]*: bias ([+-]\d+\.\d), mean absolute error (\d+\.\d)", blind.estimate_snr.__doc__ or ""
    )
    measured = [(values.mean(), np.abs(values).mean()) for values in (steady, typed)]
    np.testing.assert_allclose(np.array(said, dtype=float), measured, atol=0.2)


@pytest.mark.parametrize("kind", ["white", "babble", "rain"])
def test_the_estimate_rises_with_the_truth(speech: Clip, kind: str) -> None:
    estimates = np.array(errors(speech, kind)) + np.arange(-5, 21, 5)
    assert (np.diff(estimates) > 1).all()


def test_the_estimate_does_not_depend_on_level_or_rate(noisy: Samples) -> None:
    estimate = blind.estimate_snr(noisy, RATE)
    assert blind.estimate_snr(noisy * np.float32(0.01), RATE) == pytest.approx(estimate, abs=0.01)
    assert blind.estimate_snr(resample(noisy[None], RATE, 48_000)[0], 48_000) == pytest.approx(estimate, abs=0.3)


def test_noise_alone_has_a_low_snr_and_clean_speech_a_high_one(speech: Clip) -> None:
    hiss = np.random.default_rng(1).standard_normal(10 * RATE).astype(np.float32)
    assert blind.estimate_snr(hiss, RATE) < -8
    assert blind.estimate_snr(speech.samples[0], RATE) > 18


@pytest.mark.parametrize("length", [1, 319, 640, 641, 997])
def test_awkward_lengths_are_estimated(length: int) -> None:
    sound = np.random.default_rng(2).standard_normal(length).astype(np.float32)
    assert -15 <= blind.estimate_snr(sound, RATE) <= 40
    assert blind.noise_floor_db(sound, RATE) <= 10 and blind.speech_level_db(sound, RATE) <= 10


@pytest.mark.slow
def test_of_a_long_recording_two_minutes_are_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []

    def at_rate(part: Samples, sample_rate: int) -> Samples:
        heard.append(part.size)
        return part

    monkeypatch.setattr(blind, "_at_rate", at_rate)
    sound = np.random.default_rng(4).standard_normal(400 * RATE).astype(np.float32)
    blind.estimate_snr(sound, RATE)
    assert heard == [30 * RATE] * 4


@pytest.mark.parametrize("length", [0, RATE])
def test_silence_has_neither_snr_nor_dnsmos(length: int) -> None:
    for estimate in (blind.estimate_snr, blind.dnsmos):
        with pytest.raises(MetricUnavailable, match="silent"):
            estimate(np.zeros(length, np.float32), RATE)


# levels


@pytest.mark.parametrize("level_db", [-70.0, -50.0, -30.0])
def test_the_noise_floor_is_the_level_of_the_noise_under_speech(speech: Clip, level_db: float) -> None:
    rng = np.random.default_rng(5)
    hiss = 10 ** (level_db / 20) * rng.standard_normal(speech.frames).astype(np.float32)
    assert blind.noise_floor_db(speech.samples[0] + hiss, RATE) == pytest.approx(level_db, abs=0.5)


def test_the_speech_level_ignores_pauses(speech: Clip) -> None:
    voice = speech.samples[0]
    with_pause = np.concatenate([voice, np.zeros(voice.size, np.float32)])
    assert blind.speech_level_db(with_pause, RATE) == pytest.approx(blind.speech_level_db(voice, RATE), abs=0.3)
    assert blind.speech_level_db(2 * voice, RATE) == pytest.approx(blind.speech_level_db(voice, RATE) + 6.02, abs=0.1)


@pytest.mark.parametrize("length", [0, 1, RATE])
def test_the_level_of_nothing_is_a_number(length: int) -> None:
    nothing = np.zeros(length, np.float32)
    assert blind.noise_floor_db(nothing, RATE) == blind.speech_level_db(nothing, RATE) == -120
