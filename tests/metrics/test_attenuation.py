"""Shadow filtering: what is known of a gain is found again, for speech and noise apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from denoise_app.audio.clip import Clip, Samples
from denoise_app.audio.mix import mix_at_snr, noise
from denoise_app.metrics.attenuation import STFT, shadow_attenuation


@pytest.fixture(scope="module")
def parts(speech: Clip) -> tuple[Samples, Samples]:
    """(clean, noisy), 3 s, white noise at 5 dB."""
    clean = speech.samples[0, :48_000]
    drawn = noise("white", clean.size, speech.sample_rate, np.random.default_rng(0))
    return clean, mix_at_snr(clean, drawn, 5.0, speech.sample_rate)[0]


@pytest.mark.parametrize("gain_db", [-20.0, -3.0, 0.0, 3.0])
def test_one_gain_for_all_is_found_for_both(parts: tuple[Samples, Samples], gain_db: float) -> None:
    clean, noisy = parts
    found = shadow_attenuation(noisy, noisy * 10 ** (gain_db / 20), clean)
    assert (found.speech_db, found.noise_db) == pytest.approx((-gain_db, -gain_db), abs=0.02)


def filtered(noisy: Samples, gain: torch.Tensor) -> Samples:
    spectra = STFT.analyse(torch.from_numpy(noisy.copy())[None]) * gain
    return STFT.synthesise(spectra, noisy.size)[0].numpy()


def test_a_mask_that_knows_both_spares_speech_and_removes_noise(parts: tuple[Samples, Samples]) -> None:
    clean, noisy = parts
    speech, rest = (STFT.analyse(torch.from_numpy(x.copy())[None]).abs().square() for x in (clean, noisy - clean))
    found = shadow_attenuation(noisy, filtered(noisy, speech / (speech + rest + 1e-12)), clean)
    assert found.speech_db is not None and found.noise_db is not None
    assert 0 < found.speech_db < 6 and found.noise_db > 8 + found.speech_db


def test_a_low_pass_takes_the_highs_of_the_noise_and_little_of_the_speech(parts: tuple[Samples, Samples]) -> None:
    """White noise that keeps the lowest quarter of its band loses 6 dB."""
    clean, noisy = parts
    passes = torch.zeros(STFT.bins, 1)
    passes[: STFT.bins // 4] = 1
    found = shadow_attenuation(noisy, filtered(noisy, passes), clean)
    assert found.noise_db == pytest.approx(6.0, abs=0.5)
    assert found.speech_db is not None and found.speech_db < 5


def test_what_is_not_there_has_no_number(parts: tuple[Samples, Samples]) -> None:
    clean, noisy = parts
    nothing = np.zeros_like(clean)
    assert shadow_attenuation(clean, clean, clean).noise_db is None
    assert shadow_attenuation(noisy, noisy, nothing).speech_db is None
    assert shadow_attenuation(nothing, nothing, nothing) == shadow_attenuation(clean[:0], clean[:0], clean[:0])
    removed = shadow_attenuation(noisy, nothing, clean)
    assert removed.speech_db is not None and removed.speech_db > 60
    with pytest.raises(ValueError, match="equal lengths"):
        shadow_attenuation(noisy, noisy[1:], clean)
