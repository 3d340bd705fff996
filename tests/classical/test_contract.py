"""What every classical denoiser promises: length, alignment, causality, streaming, silence, independence."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from denoise_app.audio.clip import Clip
from denoise_app.classical import CLASSICAL
from denoise_app.classical.nlms import Nlms
from denoise_app.denoiser import StreamingDenoiser

EACH: dict[str, Callable[[], StreamingDenoiser]] = {**CLASSICAL, "nlms-with-reference": Nlms.with_reference}
SIZES = [0, 1, 63, 64, 65, 255, 256, 257, 511, 512, 513, 1009, 4999]

each = pytest.mark.parametrize("name", EACH)


def sound(length: int, seed: int = 0) -> Tensor:
    """Two rows of noise that swells and ebbs, (2, length)."""
    rng = np.random.default_rng(seed)
    swell = 0.1 + 0.2 * np.abs(np.sin(np.arange(length) / 3000))
    return torch.from_numpy((swell * rng.standard_normal((2, length))).astype(np.float32).clip(-1, 1))


@each
def test_it_states_what_it_is(name: str) -> None:
    denoiser = EACH[name]()
    assert isinstance(denoiser, StreamingDenoiser)
    assert denoiser.causal and denoiser.sample_rate == 16_000
    longest = 4800 if name == "modulation-subtraction" else 1600  # three tenths of a second, and one
    assert 0 <= denoiser.delay < denoiser.latency <= longest


@pytest.mark.slow
@each
@pytest.mark.parametrize("length", SIZES)
def test_length_and_type_are_kept(name: str, length: int) -> None:
    clean = EACH[name]()(sound(length))
    assert clean.shape == (2, length) and clean.dtype == torch.float32
    assert clean.isfinite().all()


@each
def test_blocks_give_what_the_whole_gives(name: str) -> None:
    denoiser = EACH[name]()
    noisy = sound(30 * 512)
    noisy[:, 2000:5000] = 0  # digital silence within
    silent_end = torch.cat([noisy, torch.zeros(2, -(-denoiser.delay // denoiser.hop) * denoiser.hop)], dim=1)
    rng = np.random.default_rng(1)
    state, parts, at = denoiser.initial_state(2), [], 0
    while at < silent_end.shape[1]:
        step = denoiser.hop * int(rng.integers(1, 9))
        clean, state = denoiser.advance(silent_end[:, at : at + step], state)
        parts.append(clean)
        at += step
    streamed = torch.cat(parts, dim=1)[:, denoiser.delay :][:, : noisy.shape[1]]
    torch.testing.assert_close(streamed, denoiser(noisy), rtol=0, atol=2e-6)


@each
def test_state_belongs_to_the_caller(name: str) -> None:
    """The same block after the same state gives the same twice: nothing is remembered inside or changed in place."""
    denoiser = EACH[name]()
    noisy = sound(8 * 512)
    _, state = denoiser.advance(noisy, denoiser.initial_state(2))
    first, _ = denoiser.advance(noisy, state)
    second, _ = denoiser.advance(noisy, state)
    assert torch.equal(first, second)


@each
def test_the_input_is_not_changed(name: str) -> None:
    noisy = sound(5000)
    copy = noisy.clone()
    EACH[name]()(noisy)
    assert torch.equal(noisy, copy)


@each
def test_later_input_never_changes_earlier_output(name: str) -> None:
    denoiser = EACH[name]()
    noisy = sound(12_000)
    other = noisy.clone()
    change = 7001
    other[:, change:] = sound(5000, seed=9)[:, : 12_000 - change].flip(1)
    before, after = denoiser(noisy), denoiser(other)
    untouched = change + 1 - denoiser.latency  # sample t knows the input up to t + latency - 1
    torch.testing.assert_close(after[:, :untouched], before[:, :untouched], rtol=0, atol=1e-7)
    assert not torch.allclose(after[:, change:], before[:, change:], atol=1e-3)


@each
def test_silence_gives_silence(name: str) -> None:
    assert not EACH[name]()(torch.zeros(2, 20_000)).any()


@each
def test_silence_after_sound_gives_silence(name: str) -> None:
    noisy = torch.cat([sound(8000), torch.zeros(2, 8000)], dim=1)
    clean = EACH[name]()(noisy)
    assert clean.isfinite().all()
    assert clean[:, 12_000:].abs().max() < 1e-4


@pytest.mark.slow
@each
@pytest.mark.parametrize("kind", ["impulse", "constant", "square", "tiny"])
def test_odd_sounds_stay_finite_and_bounded(name: str, kind: str) -> None:
    noisy = torch.zeros(2, 16_000)
    if kind == "impulse":
        noisy[:, 8000] = 1
    elif kind == "constant":
        noisy += 1
    elif kind == "square":
        noisy += torch.where(torch.arange(16_000) % 40 < 20, 1.0, -1.0)
    else:
        noisy += 1e-12 * sound(16_000)
    clean = EACH[name]()(noisy)
    assert clean.isfinite().all()
    assert clean.abs().max() <= 3 * noisy.abs().max()


@each
def test_a_louder_input_gives_a_louder_output_and_nothing_else(name: str) -> None:
    denoiser = EACH[name]()
    noisy = sound(16_000)
    torch.testing.assert_close(denoiser(noisy / 1000) * 1000, denoiser(noisy), rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", CLASSICAL)
def test_rows_are_independent(name: str) -> None:
    denoiser = CLASSICAL[name]()
    noisy = sound(9000)
    noisy[1, :4000] = 0
    both = denoiser(noisy)
    for row in range(2):
        torch.testing.assert_close(denoiser(noisy[row : row + 1])[0], both[row], rtol=0, atol=1e-6)


@pytest.mark.slow
@each
def test_the_output_is_aligned_with_the_input(name: str, speech: Clip) -> None:
    """The lag at which output and input agree best is none, to the sample."""
    clean = torch.from_numpy(speech.samples[:, :48_000].copy())
    reference = 0.01 * sound(48_000)[:1]
    out = EACH[name]()(torch.cat([clean + reference, reference]))[0]
    spectra = torch.fft.rfft(torch.stack([out, clean[0]]), n=2 * 48_000)
    correlation = torch.fft.irfft(spectra[0] * spectra[1].conj())
    assert int(correlation.argmax()) == 0
