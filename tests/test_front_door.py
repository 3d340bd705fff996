"""The front door: five lines of Python are enough, any kind of sound comes back as it came, importing costs nothing."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import torch

import denoise_app
from denoise_app import (
    AudioError,
    CheckpointError,
    Clip,
    SettingError,
    UserError,
    denoise,
    list_models,
    load,
    read,
    write,
)
from denoise_app.audio import files
from denoise_app.denoiser import Denoiser
from denoise_app.inference import catalog, engine
from denoise_app.inference.onnx import OnnxDenoiser

Array = npt.NDArray[Any]

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def noisy(speech: Clip) -> Clip:
    """Two seconds of speech in noise, two channels."""
    rng = np.random.default_rng(5)
    clean = np.repeat(speech.samples[:, :32_000], 2, axis=0)
    return Clip(clean + rng.normal(0, 0.02, clean.shape).astype(np.float32), speech.sample_rate)


def loaded_after(code: str) -> list[str]:
    """Which large libraries a fresh Python has loaded after some code."""
    code = (
        f"{code}\nimport sys\nprint(*(name for name in ('torch', 'numpy', 'gradio', 'scipy') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_importing_it_loads_no_model_code() -> None:
    assert loaded_after("import denoise_app; dir(denoise_app); from denoise_app import AudioError, denoise, load") == []
    assert "torch" not in loaded_after("from denoise_app import Clip, UserError, CheckpointError, read, write")


def test_all_that_is_exported_is_there_and_what_it_is_inside() -> None:
    everything = {name: getattr(denoise_app, name) for name in denoise_app.__all__}
    assert everything["Clip"] is Clip and everything["read"] is files.read and everything["write"] is files.write
    assert everything["Settings"] is engine.Settings
    assert {name for name in everything if name.endswith("Error")} == {
        "AudioError", "CheckpointError", "SettingError", "UserError",
    }  # fmt: skip
    assert all(issubclass(everything[name], UserError) for name in everything if name.endswith("Error"))
    assert set(denoise_app.__all__) <= set(dir(denoise_app))
    with pytest.raises(AttributeError, match="no attribute 'magic'"):
        denoise_app.magic  # noqa: B018


def test_a_clip_comes_back_as_it_was_with_less_noise(noisy: Clip) -> None:
    before = noisy.samples.copy()
    clean = denoise(noisy, model="wiener")
    assert (clean.channels, clean.frames, clean.sample_rate) == (2, noisy.frames, noisy.sample_rate)
    assert np.array_equal(noisy.samples, before)
    pause = slice(0, 2000)  # before the first word
    assert np.std(clean.samples[:, pause]) < 0.7 * np.std(before[:, pause])


def test_a_path_is_read(noisy: Clip, tmp_path: Path) -> None:
    path = tmp_path / "noisy.wav"
    soundfile.write(path, noisy.samples.T, noisy.sample_rate, subtype="FLOAT")
    from_clip = denoise(noisy, model="wiener")
    for given in (path, str(path)):
        assert np.array_equal(denoise(given, model="wiener").samples, from_clip.samples)


def test_settings_reach_the_engine(noisy: Clip) -> None:
    untouched = denoise(noisy, model="wiener", strength=0)
    assert np.abs(untouched.samples - noisy.samples).max() < 1e-6
    mid = denoise(noisy, model="wiener", channels="mid")
    assert np.allclose(mid.samples[0], mid.samples[-1], atol=1e-6)


@pytest.mark.parametrize("kind", ["clip", "path", "float64", "float16", "tensor", "bytes"])
def test_a_stretch_alone_is_denoised_of_any_kind_of_sound(noisy: Clip, tmp_path: Path, kind: str) -> None:
    """Around it every bit stays, of doubles too."""
    rate = noisy.sample_rate
    soundfile.write(tmp_path / "noisy.wav", noisy.samples.T, rate, subtype="PCM_24")
    sixteenths = noisy.samples.astype(np.float64) + 1e-12
    sounds: dict[str, tuple[Any, dict[str, Any]]] = {
        "clip": (noisy, {}),
        "path": (tmp_path / "noisy.wav", {}),
        "float64": (sixteenths, {"sample_rate": rate}),
        "float16": (noisy.samples.astype(np.float16), {"sample_rate": rate}),
        "tensor": (torch.from_numpy(sixteenths.copy()), {"sample_rate": rate}),
        "bytes": ((tmp_path / "noisy.wav").read_bytes(), {}),
    }
    sound, more = sounds[kind]
    clean = denoise(sound, model="wiener", start=0.5, end=1.5, **more)

    def samples(of: Any) -> Array:
        if isinstance(of, bytes):
            return soundfile.read(io.BytesIO(of), dtype="float64")[0].T
        if isinstance(of, Path):
            return soundfile.read(of, dtype="float32")[0].T
        return np.asarray(of.samples if isinstance(of, Clip) else of)

    before, after = samples(sound), samples(clean)
    for part in (slice(0, rate // 2), slice(rate + rate // 2, None)):
        assert before[:, part].tobytes() == after[:, part].tobytes()
    assert not np.allclose(before, after, atol=1e-3)


def test_a_stretch_tells_the_noise(noisy: Clip) -> None:
    tracked, told = denoise(noisy, "mmse-lsa"), denoise(noisy, "mmse-lsa", noise_profile=(0.0, 0.12))
    assert not np.allclose(tracked.samples, told.samples, atol=1e-3)
    with pytest.raises(AudioError, match="spectral-subtraction, wiener, mmse-lsa"):
        denoise(noisy, "gru/hybrid", noise_profile=(0.0, 0.12))
    with pytest.raises(SettingError, match="ends after it begins: 2 s to 1 s"):
        denoise(noisy, "wiener", start=2, end=1)


def test_the_recommended_one_is_taken_when_none_is_named(noisy: Clip) -> None:
    model, loss = catalog.recommended()
    assert np.array_equal(denoise(noisy).samples, denoise(noisy, model=model, loss=loss).samples)


def test_presets_are_names_too(noisy: Clip) -> None:
    model, loss = catalog.presets()["fast"]
    assert np.array_equal(denoise(noisy, model="fast").samples, denoise(noisy, model=model, loss=loss).samples)


def test_what_is_wrong_is_said(noisy: Clip, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No model is called 'magic'"):
        denoise(noisy, model="magic")
    with pytest.raises(TypeError, match="volume"):
        denoise(noisy, model="wiener", volume=11)  # type: ignore[call-overload]
    with pytest.raises(SettingError, match="strength"):
        denoise(noisy, model="wiener", strength=101)
    with pytest.raises(SettingError, match="Say 80 for 80 %"):
        denoise(noisy, model="wiener", strength=0.8)
    with pytest.raises(AudioError):
        denoise(tmp_path / "not-there.wav", model="wiener")


# arrays and tensors


def shapes(noisy: Clip) -> list[Array]:
    """The same sound as arrays of several shapes and types."""
    both = noisy.samples
    return [both[0], both, both[:1], both.astype(np.float64), both[0].astype(np.float16), both[:, :0], both[:, ::-1]]


def test_an_array_comes_back_as_an_array_of_its_shape_and_type(noisy: Clip) -> None:
    for given in shapes(noisy):
        before = given.copy()
        clean = denoise(given, "wiener", sample_rate=noisy.sample_rate)
        assert (type(clean), clean.shape, clean.dtype) == (np.ndarray, given.shape, given.dtype)
        assert np.array_equal(given, before)
        clip = Clip(np.atleast_2d(given).astype(np.float32, order="C"), noisy.sample_rate)
        assert np.array_equal(np.atleast_2d(clean), denoise(clip, "wiener").samples.astype(given.dtype))


def test_a_tensor_comes_back_as_a_tensor_of_its_shape_type_and_device(noisy: Clip) -> None:
    for given in shapes(noisy):
        tensor = torch.from_numpy(given.copy())
        clean = denoise(tensor, "wiener", sample_rate=noisy.sample_rate)
        assert (clean.shape, clean.dtype, clean.device) == (tensor.shape, tensor.dtype, tensor.device)
        assert np.array_equal(clean.numpy(), denoise(given.copy(), "wiener", sample_rate=noisy.sample_rate))
    learnt = torch.from_numpy(noisy.samples[0]).to(torch.bfloat16).requires_grad_()
    clean = denoise(learnt, "wiener", sample_rate=noisy.sample_rate)
    assert clean.dtype == torch.bfloat16 and not clean.requires_grad


def test_with_no_strength_not_even_doubles_lose_a_bit() -> None:
    doubles = np.random.default_rng(0).normal(0, 0.1, 5000)
    clean = denoise(doubles, "wiener", sample_rate=16_000, strength=0)
    assert np.array_equal(clean, doubles) and clean is not doubles
    tensor = torch.from_numpy(doubles)
    assert torch.equal(denoise(tensor, "wiener", sample_rate=44_100, strength=0), tensor)


@pytest.mark.parametrize(
    ("sound", "rate", "error", "told"),
    [
        (np.zeros(100, np.float32), None, TypeError, "needs its sample_rate"),
        (np.zeros(100, np.float32), 16_000.0, TypeError, "whole number of Hz, not 16000.0"),
        (np.zeros(100, np.float32), True, TypeError, "whole number of Hz"),
        (np.zeros(100, np.float32), "16000", TypeError, "whole number of Hz"),
        (np.zeros(100, np.float32), 0, AudioError, "sample rate of 0 Hz"),
        (np.zeros(100, np.int16), 16_000, TypeError, "not int16: divide int16 by 32768"),
        (np.zeros(100, complex), 16_000, TypeError, "floating-point numbers"),
        (np.zeros(100, object), 16_000, TypeError, "floating-point numbers"),
        (torch.zeros(100, dtype=torch.int32), 16_000, TypeError, "not torch.int32"),
        (np.zeros((1, 2, 100)), 16_000, ValueError, r"of shape \(1, 2, 100\)"),
        (np.array(0.5), 16_000, ValueError, r"of shape \(\)"),
        (np.zeros((0, 100)), 16_000, ValueError, r"of shape \(0, 100\)"),
        (np.zeros((1000, 2)), 16_000, AudioError, r"\(channels, time\), has 1000 channels"),
        (np.array([0, np.nan]), 16_000, AudioError, "the array holds values that are not numbers"),
        (torch.tensor([0, torch.inf]), 16_000, AudioError, "the tensor holds values that are not numbers"),
        (b"no sound at all", None, AudioError, "not a sound file"),
        (b"", None, AudioError, "is empty"),
        (b"RIFF", 16_000, TypeError, "has its own"),
        (io.StringIO("text"), None, TypeError, "must be binary"),
        (None, None, TypeError, "sound is a path, a Clip"),
        (5, None, TypeError, "not int"),
        ([0.0, 0.1], 16_000, TypeError, "not list"),
        (torch.zeros(100, device="meta"), 16_000, TypeError, "at hand"),
        (torch.zeros(100).to_sparse(), 16_000, TypeError, "at hand"),
        ([0.0, 0.1], None, TypeError, "not list"),
    ],
)
def test_what_is_no_sound_is_refused_in_a_sentence(sound: Any, rate: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        denoise(sound, "wiener", sample_rate=rate)


# files


@pytest.mark.slow
@pytest.mark.parametrize(
    ("container", "codec"), [("WAV", "PCM_24"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")]
)
def test_bytes_come_back_as_bytes_of_the_same_format(noisy: Clip, container: str, codec: str) -> None:
    data = io.BytesIO()
    soundfile.write(data, noisy.samples.T, noisy.sample_rate, subtype=codec, format=container)
    for given in (
        data.getvalue(),
        bytearray(data.getvalue()),
        memoryview(data.getvalue()),
        io.BytesIO(data.getvalue()),
    ):
        clean = denoise(given, "wiener")
        assert type(clean) is bytes
        before, after = soundfile.info(io.BytesIO(data.getvalue())), soundfile.info(io.BytesIO(clean))
        assert (after.format, after.subtype, after.samplerate) == (before.format, before.subtype, before.samplerate)
        assert (after.channels, after.frames) == (before.channels, before.frames)
    assert denoise(data.getvalue(), "wiener", strength=0) == data.getvalue()


def test_an_open_file_is_read(noisy: Clip, tmp_path: Path) -> None:
    write(tmp_path / "noisy.flac", noisy)
    with (tmp_path / "noisy.flac").open("rb") as file:
        (tmp_path / "clean.flac").write_bytes(denoise(file, "wiener"))
    clean, expected = read(tmp_path / "clean.flac"), denoise(tmp_path / "noisy.flac", "wiener")
    assert np.abs(clean.samples - expected.samples).max() < 2**-14  # 16 bits


# models


def test_a_model_is_named_in_one_word_or_two(noisy: Clip) -> None:
    expected = denoise(noisy, "gru", "mse").samples
    assert np.array_equal(denoise(noisy, "gru/mse").samples, expected)
    assert np.array_equal(denoise(noisy, model="gru/mse", loss="mse").samples, expected)
    with pytest.raises(ValueError, match="leave loss='hybrid' out"):
        denoise(noisy, "gru/mse", "hybrid")
    with pytest.raises(CheckpointError, match="no checkpoint of gru trained with 'magic'"):
        denoise(noisy, "gru/magic")
    for wrong in ({"model": 5}, {"loss": 5}, {"model": ["gru"]}):
        with pytest.raises(TypeError, match="named by a text"):
            denoise(noisy, **wrong)  # type: ignore[call-overload]
    with pytest.raises(SettingError, match="each, mid, reference"):
        denoise(noisy, "wiener", channels="left")  # type: ignore[call-overload]
    with pytest.raises(AudioError, match="device 5 cannot be used"):
        denoise(noisy, "gru", device=5)  # type: ignore[call-overload]


def test_a_denoiser_is_loaded_by_the_same_names(noisy: Clip) -> None:
    denoiser = load("gru/hybrid")
    assert isinstance(denoiser, Denoiser) and denoiser.denoiser is load("gru", "hybrid").denoiser
    with torch.inference_mode():
        clean = denoiser(torch.from_numpy(noisy.samples))
    assert clean.shape == noisy.samples.shape
    (recommended,) = [row for row in list_models() if row.recommended]
    assert load().denoiser is load(recommended.name).denoiser
    assert load("wiener").sample_rate == 16_000


def test_a_stream_gives_the_samples_of_the_whole(noisy: Clip) -> None:
    stream = load("live").stream(noisy.sample_rate, 2, strength=80)
    pieces = [stream.push(noisy.samples[:, begin : begin + 700]) for begin in range(0, noisy.frames, 700)]
    streamed = np.concatenate([*pieces, stream.flush()], axis=1)
    np.testing.assert_allclose(streamed, denoise(noisy, "live", strength=80).samples, rtol=0, atol=1e-5)
    with pytest.raises(UserError, match="it needs later samples"):
        load("cnn").stream(16_000)


@pytest.mark.slow
def test_models_are_listed_a_line_each() -> None:
    rows = list_models()
    assert [(row.model, row.loss) for row in rows] == [(entry.model, entry.loss) for entry in catalog.entries()]
    assert {"wiener", "mmse-lsa", "gru/hybrid"} <= {row.name for row in rows}
    for row in rows:
        assert row.name in str(row) and "\n" not in str(row) and len(str(row)) < 120
        denoiser = load(row.name).denoiser
        facts = (denoiser.sample_rate, denoiser.causal, 1000 * denoiser.latency / denoiser.sample_rate)
        assert facts == (row.sample_rate, row.causal, row.latency_ms)
        if row.kind == "neural" and not isinstance(denoiser, OnnxDenoiser):  # ONNX Runtime keeps the weights to itself
            assert row.parameters == sum(p.numel() for p in denoiser.parameters())
    assert sum(str(row).endswith("recommended") for row in rows) == 1
