"""A sound that comes in chunks comes out as the engine makes it of the whole."""

from __future__ import annotations

from itertools import cycle
from math import inf, nan
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from denoise_app.audio.clip import Clip
from denoise_app.audio.convert import resample
from denoise_app.classical import CLASSICAL
from denoise_app.denoiser import Denoiser
from denoise_app.inference import catalog, engine
from denoise_app.inference.errors import EngineError, SettingError
from denoise_app.inference.stream import Stream
from denoise_app.models.registry import MODELS, build
from denoise_app.spectral.stft import Stft

from .conftest import SpectralGain, WholeGain

Array = npt.NDArray[np.float32]


def causal() -> dict[str, str | None]:
    """Every causal model by name, with a loss of which there are weights; None where there are none."""
    kept = {entry.model: entry.loss for entry in catalog.entries() if entry.causal}
    return kept | {name: None for name in MODELS if name not in kept and getattr(MODELS[name][1], "causal", False)}


CAUSAL = causal()


def made(model: str, loss: str | None) -> Denoiser:
    if model in CLASSICAL or loss:
        return catalog.load(model, loss, "cpu")
    torch.manual_seed(0)
    untrained: Any = build(model).eval().requires_grad_(False)
    return untrained


def noisy(clip: Clip, rate: int, channels: int, seconds: float) -> Array:
    """The speech at a rate, in channels of different noise, from its first word on."""
    speech = resample(np.ascontiguousarray(clip.samples[:, 8000:]), clip.sample_rate, rate)[:, : round(seconds * rate)]
    hiss = np.random.default_rng(rate).standard_normal((channels, speech.shape[1])).astype(np.float32)
    return speech + 0.02 * hiss


def run(stream: Stream, sound: Array, lengths: list[int]) -> Array:
    """The sound through a stream, cut into chunks of these lengths in turn."""
    parts, start, cuts = [stream.push(sound[:, :0])], 0, cycle(lengths)
    while start < sound.shape[1]:
        end = start + next(cuts)
        parts.append(stream.push(sound[:, start:end]))
        start = end
    return np.concatenate([*parts, stream.flush()], axis=1)


def offline(denoiser: Denoiser, sound: Array, rate: int, strength: float = 100, most: float = inf) -> Array:
    settings = engine.Settings(strength=strength, max_attenuation_db=most)
    return engine.denoise(Clip(sound, rate), denoiser, settings).samples


def test_all_causal_models_are_tried() -> None:
    assert {"gru", "band-df", "light-crn", "dpcrn", "frcrn", "waveform", "autoencoder", *CLASSICAL} == set(CAUSAL)


@pytest.mark.slow
@pytest.mark.parametrize("model", CAUSAL)
def test_every_causal_model_gives_the_samples_of_the_whole(model: str, speech: Clip) -> None:
    denoiser, sound = made(model, CAUSAL[model]), noisy(speech, 48_000, 1, 1.5)
    whole = offline(denoiser, sound, 48_000)
    assert np.abs(whole - sound).max() > 1e-3
    streamed = run(Stream(denoiser, 48_000), sound, [480, 7919, 0, 1])
    np.testing.assert_allclose(streamed, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_any_rate_and_two_channels(rate: int, speech: Clip) -> None:
    denoiser, sound = CLASSICAL["mmse-lsa"](), noisy(speech, rate, 2, 1.2)
    streamed = run(Stream(denoiser, rate, 2, strength=80, max_attenuation_db=12), sound, [997, 128, 4001])
    np.testing.assert_allclose(streamed, offline(denoiser, sound, rate, 80, 12), rtol=0, atol=1e-5)


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("length", [0, 1, 255, 256, 257, 2999])
def test_short_sounds_and_single_samples(rate: int, length: int) -> None:
    denoiser = SpectralGain(0.5, Stft())
    sound = np.random.default_rng(1).uniform(-1, 1, (1, length)).astype(np.float32)
    streamed = run(Stream(denoiser, rate), sound, [1] if length < 300 else [7])
    assert streamed.shape == sound.shape
    np.testing.assert_allclose(streamed, offline(denoiser, sound, rate), rtol=0, atol=1e-5)


def test_one_channel_may_be_flat() -> None:
    stream, sound = Stream(SpectralGain(0.5, Stft()), 16_000), np.ones(1000, np.float32)
    out = np.concatenate([stream.push(sound), stream.flush()])
    assert out.shape == (1000,) and out == pytest.approx(0.5, abs=1e-6)


def test_a_chunk_may_be_used_again_after_the_call() -> None:
    stream, buffer, out = Stream(SpectralGain(1, Stft()), 16_000), np.zeros((1, 100), np.float32), []
    for n in range(20):
        buffer[:] = n
        out.append(stream.push(buffer))
    out.append(stream.flush())
    assert np.allclose(np.concatenate(out, axis=1), np.arange(20).repeat(100)[None], atol=1e-5)


def test_flush_and_reset_begin_anew(speech: Clip) -> None:
    stream, sound = Stream(CLASSICAL["wiener"](), 44_100), noisy(speech, 44_100, 1, 1.0)
    first = run(stream, sound, [1000])
    assert np.array_equal(run(stream, sound, [1000]), first)
    stream.push(sound)
    stream.reset()
    assert stream.held == 0 and stream.load == 0
    assert np.array_equal(run(stream, sound, [1000]), first)


def test_strength_changes_while_it_runs_and_without_a_click() -> None:
    stream, tone = Stream(SpectralGain(0, Stft()), 16_000), np.ones((1, 8000), np.float32)
    before = stream.push(tone)
    assert np.abs(before[:, 1000:]).max() < 1e-5
    stream.adjust(strength=25)
    after = stream.push(tone)
    assert after[0, -1] == pytest.approx(0.75, abs=1e-5)
    assert np.abs(np.diff(np.concatenate([before[:, 1000:], after], axis=1))).max() < 1 / 300  # 20 ms for all of it
    stream.adjust(strength=100, max_attenuation_db=20)
    assert stream.push(tone)[0, -1] == pytest.approx(0.1, abs=1e-5)
    assert (stream.strength, stream.max_attenuation_db) == (100, 20)


@pytest.mark.slow
def test_what_is_remembered_is_bounded() -> None:
    """Silence, so that it is quick: after any chunk less than a fifth of a second is in it."""
    stream, chunk = Stream(SpectralGain(0.5, Stft()), 48_000, 2), np.zeros((2, 4800), np.float32)

    def remembered() -> int:
        queues = (stream._sound, stream._low, stream._dry, stream._taken)
        return sum(queue.frames for queue in queues) + len(stream._gains)

    for _ in range(900):
        stream.push(chunk)
        assert remembered() < 48_000 // 5


def test_the_delay_is_that_of_framing_at_the_denoisers_rate() -> None:
    stream, held = Stream(SpectralGain(0.5, Stft()), 16_000), []
    for _ in range(200):
        stream.push(np.zeros(100, np.float32))
        held.append(stream.held)
    assert max(held) < 512
    assert 0 < stream.load < 1


@pytest.mark.parametrize(
    ("chunk", "error", "words"),
    [
        ([0.0], TypeError, "not list"),
        (b"\0\0\0\0", TypeError, "not bytes"),
        (np.zeros((2, 4)), TypeError, "not an array of float64"),
        (np.zeros((2, 4), np.int16), TypeError, "not an array of int16"),
        (torch.zeros(2, 4), TypeError, "not Tensor"),
        (np.zeros((3, 4), np.float32), ValueError, r"shape \(2, T\), not \(3, 4\)"),
        (np.zeros(4, np.float32), ValueError, r"not \(4,\)"),
        (np.zeros((1, 2, 4), np.float32), ValueError, r"not \(1, 2, 4\)"),
        (np.float32(0), TypeError, "not float32"),
        (np.full((2, 4), np.nan, np.float32), EngineError, "not numbers"),
        (np.full((2, 4), np.inf, np.float32), EngineError, "not numbers"),
    ],
)
def test_what_is_no_chunk_is_refused_and_changes_nothing(chunk: Any, error: type[Exception], words: str) -> None:
    stream, sound = Stream(SpectralGain(0.5, Stft()), 16_000, 2), np.ones((2, 600), np.float32)
    first = stream.push(sound)
    with pytest.raises(error, match=words):
        stream.push(chunk)
    assert np.allclose(np.concatenate([first, stream.push(sound), stream.flush()], axis=1), 0.5, atol=1e-6)


def test_what_cannot_be_computed_is_told_and_leaves_a_stream_that_works() -> None:
    stream = Stream(SpectralGain(1e30, Stft()), 16_000)
    with pytest.raises(EngineError, match="not numbers"):
        stream.push(np.full(2000, 1e20, np.float32))
    assert stream.held == 0
    assert len(stream.push(np.zeros(2000, np.float32))) > 0


def test_what_is_not_causal_is_refused() -> None:
    with pytest.raises(EngineError, match="causal"):
        Stream(WholeGain(0.5, 16_000), 16_000)


@pytest.mark.parametrize(
    ("strength", "most"), [(-1, inf), (101, inf), (0.5, inf), (nan, inf), (50, -1), (50, nan), ("50", inf), (True, inf)]
)
def test_settings_out_of_range_are_refused(strength: Any, most: Any) -> None:
    with pytest.raises(SettingError):
        Stream(SpectralGain(0.5, Stft()), 16_000, strength=strength, max_attenuation_db=most)
    stream = Stream(SpectralGain(0.5, Stft()), 16_000, strength=40)
    with pytest.raises(SettingError):
        stream.adjust(strength, most)
    assert stream.strength == 40
