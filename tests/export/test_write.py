"""A file is only written when it gives PyTorch's samples; the real sherpa-onnx is the referee of the form."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from denoise_app.audio.clip import Clip
from denoise_app.checkpoints import store
from denoise_app.checkpoints.manifest import Manifest
from denoise_app.export import write
from denoise_app.export.onnx import OPSET, Graph, halved, parts_of, rebuilt
from denoise_app.inference.onnx import load
from denoise_app.models.layers import SpectralModel
from denoise_app.models.registry import MODELS, build

from .conftest import Export

EXPORTED = ["autoencoder", "band-df", "dpcrn", "frcrn", "gru", "light-crn"]
REFUSED = {"cnn": "not causal", "transformer": "not causal", "waveform": "samples, not on spectra"}

SHERPA = """
import sys
import numpy as np
import sherpa_onnx as so
graph = so.OfflineSpeechDenoiserGtcrnModelConfig(model=sys.argv[1])
model = so.OfflineSpeechDenoiserModelConfig(gtcrn=graph, num_threads=1, provider="cpu")
denoiser = so.OnlineSpeechDenoiser(so.OnlineSpeechDenoiserConfig(model=model))
noisy = np.load(sys.argv[2])
parts = [denoiser(noisy[start : start + 997], 16000).samples for start in range(0, len(noisy), 997)]
np.save(sys.argv[3], np.concatenate([np.array(part, np.float32) for part in [*parts, denoiser.flush().samples]]))
"""


def noisy(clip: Clip) -> np.ndarray:
    """(T,), with hiss, so that there is something to take away."""
    return clip.samples[0] + 0.02 * np.random.default_rng(0).standard_normal(clip.samples.shape[1]).astype(np.float32)


def test_every_model_is_exported_or_told_why_not() -> None:
    assert {*EXPORTED, *REFUSED} == MODELS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("model", EXPORTED)
def test_sherpa_onnx_gives_the_samples_of_pytorch(
    model: str, exported: Export, weights: Callable[[str], Path], short: Clip, tmp_path: Path
) -> None:
    """In a process of its own: what sherpa-onnx refuses ends the process at once."""
    file = exported(model, "one")
    assert file.parity.difference <= write.TOLERANCE
    sound, out = noisy(short), tmp_path / "out.npy"
    np.save(tmp_path / "in.npy", sound)
    command = [sys.executable, "-c", SHERPA, str(file.path), str(tmp_path / "in.npy"), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    network, _ = store.load(weights(model))
    assert isinstance(network, SpectralModel)
    with torch.inference_mode():
        wanted = network(torch.from_numpy(sound)[None])[0].numpy()
    late = network.look_ahead * network.hop  # sherpa-onnx knows of no look-ahead: the output is late by it
    found = np.load(out)[late : len(sound)]
    assert np.abs(wanted - sound).max() > 1e-3
    np.testing.assert_allclose(found, wanted[: len(found)], rtol=0, atol=1e-5)
    assert len(found) == len(sound) - late


@pytest.mark.slow
@pytest.mark.parametrize("model", EXPORTED)
@pytest.mark.parametrize("blocks", [[1, 1, 2, 3], [64, 7], [150]])
def test_a_graph_of_any_number_of_frames_gives_the_models_spectra(
    model: str, blocks: list[int], exported: Export, weights: Callable[[str], Path]
) -> None:
    """However they are cut, at once too: what the tracer has fixed by mistake would show."""
    file = exported(model, "any")
    network, _ = store.load(weights(model))
    assert isinstance(network, SpectralModel)
    graph = load(file.path)
    spectra = 0.1 * torch.randn(
        1, network.stft.bins, sum(blocks), dtype=torch.complex64, generator=torch.Generator().manual_seed(1)
    )
    graph._frames = 1000  # a block a call
    memory, parts = graph.initial_frames(1), []
    with torch.inference_mode():
        for block in spectra.split(blocks, dim=2):
            clean, memory = graph.enhance(block, memory)
            parts.append(clean)
        wanted, _ = network.enhance(spectra, network.initial_frames(1))
    torch.testing.assert_close(torch.cat(parts, 2), wanted, rtol=0, atol=1e-5)


def test_what_the_file_says_of_itself(exported: Export, weights: Callable[[str], Path]) -> None:
    file = exported("band-df", "one")
    manifest: Manifest = store.read_manifest(weights("band-df"))
    proto = onnx.load(file.path)
    said = {entry.key: entry.value for entry in proto.metadata_props}
    assert (said["model_type"], said["version"], said["window_type"]) == ("gtcrn", "1", "hann_sqrt")
    assert (said["sample_rate"], said["n_fft"], said["hop_length"], said["window_length"]) == (
        "16000",
        "512",
        "256",
        "512",
    )
    assert said["sha256"] == manifest.sha256 and said["licence"] == manifest.licence
    assert said["credits"] == "\n".join(manifest.credits) and manifest.credits
    assert (said["latency"], said["look_ahead"], said["weights"]) == ("768", "1", "float32")
    shapes = [[size.dim_value for size in entry.type.tensor_type.shape.dim] for entry in proto.graph.input]
    assert shapes[0] == [1, 257, 1, 2] and shapes[1] == [int(size) for size in said["conv_cache_shape"].split(",")]
    assert [entry.type for entry in proto.graph.output] == [entry.type for entry in proto.graph.input]
    assert proto.ir_version <= 9 and [(entry.domain, entry.version) for entry in proto.opset_import] == [("", 17)]
    assert file.size == file.path.stat().st_size


def test_sixteen_bits_hold_what_they_hold_exactly_and_nothing_else() -> None:
    """Equal arrays once, those of 16 bits in 16 bits; the graph computes the same, bit by bit."""
    rng = np.random.default_rng(1)
    half, whole = rng.standard_normal((64, 64)).astype(np.float16).astype(np.float32), rng.standard_normal((64, 64))
    arrays = {"half": half, "whole": whole.astype(np.float32), "again": half, "huge": 1e6 * half, "few": half[0, :4]}
    nodes, last = [], "x"
    for name in ("half", "whole", "again", "huge"):
        nodes.append(onnx.helper.make_node("MatMul", [last, name], [f"{name}-out"]))
        last = f"{name}-out"
    nodes.append(onnx.helper.make_node("Concat", [last, "few-row"], ["y"], axis=1))
    nodes.insert(0, onnx.helper.make_node("Unsqueeze", ["few", "zero"], ["few-row"]))
    value = onnx.numpy_helper.from_array(arrays.pop("again"))
    nodes.insert(0, onnx.helper.make_node("Constant", [], ["again"], value=value))
    graph = onnx.helper.make_graph(
        nodes,
        "graph",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 64])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 68])],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
        + [onnx.numpy_helper.from_array(np.array([0], np.int64), "zero")],
    )
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=8)
    small = halved(proto)
    stored = {each.name: onnx.TensorProto.DataType.Name(each.data_type) for each in small.graph.initializer}
    expected = {"half.half": "FLOAT16", "whole": "FLOAT", "huge": "FLOAT", "few": "FLOAT", "zero": "INT64"}
    assert stored == expected
    x = {"x": rng.standard_normal((1, 64)).astype(np.float32)}
    runs = [onnxruntime.InferenceSession(each.SerializeToString()).run(None, x)[0] for each in (proto, small)]
    np.testing.assert_array_equal(*runs)


@pytest.mark.parametrize("model", REFUSED)
def test_what_has_no_such_graph_is_refused(model: str, tmp_path: Path, short: Clip) -> None:
    folder = tmp_path / model / "hybrid"
    store.save(folder, build(model).eval(), Manifest(model, "hybrid"))
    with pytest.raises(write.ExportError, match=REFUSED[model]):
        write.export(folder, tmp_path / "out.onnx", short)
    assert not list(tmp_path.glob("*onnx*"))


@pytest.mark.slow
@pytest.mark.parametrize("before", [None, b"what was there"])
def test_a_file_that_differs_is_not_left(
    before: bytes | None,
    weights: Callable[[str], Path],
    tmp_path: Path,
    short: Clip,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A model that answers otherwise where it is traced: the graph is then not that of the model."""
    from denoise_app.models.gru import Gru

    honest = Gru.enhance_parts

    def louder(self: Gru, parts: torch.Tensor, memory: object) -> object:
        clean, memory = honest(self, parts, memory)  # type: ignore[arg-type]
        return (clean * 1.01 if torch.jit.is_tracing() else clean), memory

    monkeypatch.setattr(Gru, "enhance_parts", louder)
    target = tmp_path / "gru.onnx"
    if before:
        target.write_bytes(before)
    with pytest.raises(write.ExportError, match="does not give PyTorch's samples: they differ by"):
        write.export(weights("gru"), target, short)
    assert [path.name for path in tmp_path.iterdir()] == (["gru.onnx"] if before else [])
    assert not before or target.read_bytes() == before


@pytest.mark.slow
def test_eight_bits_are_smaller_and_nearly_the_same(exported: Export) -> None:
    small, whole = exported("autoencoder", "one", True), exported("autoencoder", "one")
    parameters = sum(each.numel() for each in build("autoencoder").parameters())
    assert small.size < 0.3 * 4 * parameters
    assert small.size < 0.6 * whole.size
    assert small.parity.difference_db < -40
    said = {entry.key: entry.value for entry in onnx.load(small.path).metadata_props}
    assert said["weights"] == "int8" and said["model_type"] == "gtcrn"


def test_eight_bits_that_save_nothing_are_refused(weights: Callable[[str], Path], tmp_path: Path, short: Clip) -> None:
    with pytest.raises(write.ExportError, match="save nothing"):
        write.export(weights("light-crn"), tmp_path / "small.onnx", short, int8=True)
    assert not list(tmp_path.iterdir())


def test_a_memory_is_taken_apart_and_put_together_again() -> None:
    model = build("frcrn")
    assert isinstance(model, SpectralModel)
    memory = model.initial_frames(1)
    parts = [torch.full(part.shape, float(n)) for n, part in enumerate(parts_of(memory))]
    again = rebuilt(memory, iter([part.flatten() for part in parts]))
    assert type(again) is type(memory) and type(again.rounds[0]) is type(memory.rounds[0])
    assert all(torch.equal(a, b) for a, b in zip(parts_of(again), parts, strict=True))


def test_a_memory_that_does_not_begin_with_zeros_is_no_graphs() -> None:
    model = build("gru")
    assert isinstance(model, SpectralModel)
    memory = model.initial_frames(1)
    model.initial_frames = lambda batch: replace_hidden(memory)  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="zeros"):
        Graph(model)


def replace_hidden(memory: object) -> object:
    return memory._replace(hidden=torch.ones(2, 1, 256))  # type: ignore[attr-defined]


def test_parity_measures_what_it_says(short: Clip) -> None:
    model = build("gru").eval().requires_grad_(False)
    assert isinstance(model, SpectralModel)
    same = write.compared(model, model, replace(short))
    assert same.difference == 0 and same.difference_db == -np.inf
    assert 0 < same.torch_ms < 100
