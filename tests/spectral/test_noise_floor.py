"""The tracker of the noise: against a slow one, and against noise whose power is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from denoise_app.audio.clip import Clip
from denoise_app.audio.mix import mix_at_snr, noise
from denoise_app.spectral.noise_floor import SLOW, STUCK, KnownNoise, MeanPower, NoiseTracker
from denoise_app.spectral.stft import Stft

STFT = Stft()
FRAMES_A_SECOND = STFT.sample_rate / STFT.hop

Floats = npt.NDArray[np.float64]


def powers(signal: Floats) -> torch.Tensor:
    """(time,) -> |Y|^2 as the tracker takes it, (n, 1, bins)."""
    return STFT.analyse(torch.from_numpy(signal.astype(np.float32))[None]).abs().square().permute(2, 0, 1)


def tracked(signal: Floats) -> Floats:
    """(time,) -> the noise power the tracker finds, (n, bins)."""
    tracker = NoiseTracker()
    return tracker.track(powers(signal), tracker.initial_state(1))[0][:, 0].double().numpy()


def slow_tracker(power: Floats) -> Floats:
    """Gerkmann and Hendriks 2012, bin by bin and frame by frame, in float64; (n, bins) -> (n, bins)."""
    xi = 10**1.5
    out = np.empty_like(power)
    for k in range(power.shape[1]):
        estimate, mean_presence = 0.0, 0.5
        heard = 0
        for n in range(power.shape[0]):
            if not power[n].any():  # digital silence
                out[n, k] = estimate
                continue
            heard += 1
            ratio = power[n, k] / max(estimate, 1e-30)
            presence = 1 / (1 + (1 + xi) * np.exp(-min(ratio * xi / (1 + xi), 700)))  # (18)
            mean_presence = 0.9 * mean_presence + 0.1 * presence  # (23)
            if mean_presence > STUCK:
                presence = min(presence, STUCK)  # (24)
            if heard * 256 <= 1600:
                estimate += (power[n, k] - estimate) / heard
            else:
                periodogram = (1 - presence) * power[n, k] + presence * estimate  # (22)
                estimate = SLOW * estimate + (1 - SLOW) * periodogram  # (8)
            out[n, k] = estimate
    return out


def db(ratio: float | np.floating) -> float:
    return float(10 * np.log10(ratio))


def test_it_is_the_slow_tracker(speech: Clip) -> None:
    rng = np.random.default_rng(0)
    signal = speech.samples[0, :24_000] + 0.01 * rng.standard_normal(24_000)
    power = powers(signal)
    tracker = NoiseTracker()
    fast = tracker.track(power, tracker.initial_state(1))[0][:, 0].numpy()
    np.testing.assert_allclose(fast, slow_tracker(power[:, 0].double().numpy()), rtol=1e-3)


def test_noise_alone_is_found() -> None:
    """A sure presence of speech would be needed for no bias at all; what chance peaks cost is 0.9 dB in theory."""
    signal = 0.1 * np.random.default_rng(1).standard_normal(10 * 16_000)
    truth = powers(signal)[10:-2].double().mean().item()  # the same at all frequencies but the outermost
    assert db(tracked(signal)[60:-2, 1:-1].mean() / truth) == pytest.approx(-0.9, abs=0.3)


@pytest.mark.parametrize("kind", ["white", "pink"])
def test_noise_is_found_under_speech(speech: Clip, kind: str) -> None:
    clean = speech.samples[0]
    noisy, added = mix_at_snr(clean, noise(kind, clean.size, 16_000, np.random.default_rng(2)), 5.0, 16_000)
    truth = powers(added.astype(np.float64)).double().mean(0)[0].numpy()
    found = np.median(tracked(noisy.astype(np.float64))[30:], axis=0)
    error = 10 * np.log10(found / truth)
    assert abs(np.median(error)) < 1.5
    assert np.mean(np.abs(error) < 4) > 0.9


@pytest.mark.parametrize(("step_db", "rise", "fall"), [(10, 1.0, 0.5), (20, 2.6, 1.0)])
def test_a_step_of_the_noise_is_followed(step_db: float, rise: float, fall: float) -> None:
    """Seconds until the estimate is within 3 dB of where it goes."""
    rng = np.random.default_rng(3)
    level = 0.01 * np.repeat([1.0, 10 ** (step_db / 20), 1.0], 5 * 16_000)
    floor = tracked(level * rng.standard_normal(level.size)).mean(1)
    after = round(5 * FRAMES_A_SECOND)  # frames in each of the three parts
    quiet, loud = floor[after - 100 : after - 5].mean(), floor[2 * after - 60 : 2 * after - 5].mean()
    assert db(loud / quiet) == pytest.approx(step_db, abs=1)
    assert db(loud / floor[after + round(rise * FRAMES_A_SECOND)]) < 3
    assert db(floor[2 * after + round(fall * FRAMES_A_SECOND)] / quiet) < 3


def test_speech_is_not_taken_for_noise(speech: Clip) -> None:
    clean = speech.samples[0].astype(np.float64)
    noisy = clean + 1e-4 * np.random.default_rng(4).standard_normal(clean.size)
    power = powers(noisy)[:, 0].double().numpy()
    loud = power.sum(1) > 0.1 * power.sum(1).max()
    assert db(tracked(noisy)[loud].sum() / power[loud].sum()) < -15


def test_digital_silence_teaches_nothing() -> None:
    rng = np.random.default_rng(5)
    silence, sound = np.zeros(2 * 16_000), 0.05 * rng.standard_normal(2 * 16_000)
    floor = tracked(np.concatenate([silence, sound, silence, sound])).mean(1)
    frames = round(2 * FRAMES_A_SECOND)
    assert not floor[: frames - 1].any()
    assert abs(db(floor[frames + 8] / floor[2 * frames - 10])) < 2  # known 0.1 s after it begins, not seconds
    assert abs(db(floor[3 * frames - 4] / floor[2 * frames - 10])) < 2  # still known after the gap


def test_blocks_give_what_the_whole_gives_and_rows_are_apart() -> None:
    rng = np.random.default_rng(6)
    power = torch.from_numpy(rng.exponential(1.0, (50, 3, STFT.bins)).astype(np.float32))
    power[:7, 1] = 0
    tracker = NoiseTracker()
    whole, end = tracker.track(power, tracker.initial_state(3))
    state, parts = tracker.initial_state(3), []
    for part in power.split([1, 20, 0, 29]):
        noise_power, state = tracker.track(part, state)
        parts.append(noise_power)
    assert torch.equal(torch.cat(parts), whole)
    assert all(torch.equal(a, b) for a, b in zip(state, end, strict=True))
    alone, _ = tracker.track(power[:, 1:2], tracker.initial_state(1))
    assert torch.equal(alone, whole[:, 1:2])


def test_its_pace_does_not_depend_on_the_hop() -> None:
    """Noise falls by 20 dB: at two hops it has been followed as far after the same time."""
    rng = np.random.default_rng(7)
    signal = np.repeat([0.1, 0.01], 3 * 16_000) * rng.standard_normal(6 * 16_000)
    left = []
    for hop in (128, 256):
        stft = Stft(512, hop)
        tracker = NoiseTracker(stft)
        power = stft.analyse(torch.from_numpy(signal.astype(np.float32))[None]).abs().square().permute(2, 0, 1)
        floor = tracker.track(power, tracker.initial_state(1))[0].double().mean((1, 2)).numpy()
        at = round(3.25 * 16_000 / hop)
        left.append(db(floor[at] / floor[at // 2]))
    assert -15 < left[1] < -3
    assert left[0] == pytest.approx(left[1], abs=1.5)


# ---- noise that is known


@pytest.mark.parametrize("block", [1, 100, 256, 511, 512, 513, 100_000])
def test_the_mean_power_is_that_of_all_frames(block: int) -> None:
    signal = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 4_000)).astype(np.float32))
    mean = MeanPower(STFT, 2)
    for begin in range(0, signal.shape[1], block):
        mean.push(signal[:, begin : begin + block])
    window = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512))
    slow = np.zeros((2, 257))
    for begin in range(0, 4_000 - 511, 256):
        slow += np.abs(np.fft.rfft(window * signal[:, begin : begin + 512].numpy().astype(np.float64))) ** 2
    np.testing.assert_allclose(mean.power().numpy(), slow / len(range(0, 4_000 - 511, 256)), rtol=1e-5)


def test_of_less_than_a_frame_it_is_nothing() -> None:
    mean = MeanPower(STFT, 1)
    mean.push(torch.ones(1, 511))
    assert not mean.power().any()


def test_of_white_noise_it_is_the_variance() -> None:
    mean = MeanPower(STFT, 1)
    mean.push(0.1 * torch.randn(1, 160_000, generator=torch.Generator().manual_seed(0)))
    window_energy = STFT.taper(torch.empty(0)).square().sum().item()
    assert mean.power()[0, 1:-1].mean().item() == pytest.approx(0.01 * window_energy, rel=0.01)


@pytest.mark.parametrize("rows", [1, 3])
def test_known_noise_stays_as_it_is(rows: int) -> None:
    power = torch.rand(rows, 257, generator=torch.Generator().manual_seed(1))
    known = KnownNoise(power)
    found, state = known.track(torch.rand(7, 3, 257), known.initial_state(3))
    assert torch.equal(found, power.expand(7, 3, 257))
    assert torch.equal(known.track(torch.zeros(0, 3, 257), state)[0], torch.zeros(0, 3, 257))
