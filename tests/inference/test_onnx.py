"""ONNX denoisers keep the contract; of files by others only those are run that hold nothing but what is expected."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from denoise_app.audio.clip import Clip
from denoise_app.checkpoints import store
from denoise_app.checkpoints.manifest import CheckpointError, Manifest
from denoise_app.denoiser import StreamingDenoiser
from denoise_app.export import sherpa
from denoise_app.export.onnx import Frames, Graph, describe, traced
from denoise_app.inference import catalog, engine, onnx_file
from denoise_app.inference.blocks import Blocks
from denoise_app.inference.onnx import OnnxDenoiser, checked, load
from denoise_app.inference.stream import Stream
from denoise_app.models.layers import SpectralModel
from denoise_app.models.registry import build

SMALL = {"width": 8, "hidden": 8, "layers": 1}
Change = Callable[[onnx.ModelProto], None]


def small(name: str = "gru", config: dict[str, int] | None = None) -> SpectralModel:
    torch.manual_seed(0)
    model = build(name, SMALL if config is None else config).eval().requires_grad_(False)
    assert isinstance(model, SpectralModel)
    return model


def graph_of(model: SpectralModel, frames: Frames = "one", **said: str) -> onnx.ModelProto:
    graph = Graph(model)
    proto = traced(graph, frames)
    manifest = Manifest("gru", "hybrid", licence="mit", credits=("Somebody",), latency=model.latency, sha256="0" * 64)
    describe(proto, sherpa.metadata(manifest, model, graph.size, "float32") | said)
    return proto


@pytest.fixture(scope="module")
def plain() -> bytes:
    """A graph of one frame in order, 30 kB."""
    return graph_of(small()).SerializeToString()


def changed(plain: bytes, change: Change) -> bytes:
    proto = onnx.load_model_from_string(plain)
    change(proto)
    return proto.SerializeToString()


def says(**said: str | None) -> Change:
    """The metadata with other values; None takes one away."""

    def change(proto: onnx.ModelProto) -> None:
        now = {entry.key: entry.value for entry in proto.metadata_props} | said
        describe(proto, {key: value for key, value in now.items() if value is not None})

    return change


# the contract


@pytest.mark.slow
@pytest.mark.parametrize("frames", ["one", "any"])
@pytest.mark.parametrize("name", ["gru", "band-df"])  # the latter hears a frame ahead
def test_a_graph_is_the_denoiser_that_it_was_made_of(name: str, frames: Frames, tmp_path: Path, speech: Clip) -> None:
    model = small(name)
    path = tmp_path / "graph.onnx"
    onnx.save(graph_of(model, frames), path)
    denoiser = load(path)
    assert isinstance(denoiser, StreamingDenoiser)
    assert (denoiser.sample_rate, denoiser.causal, denoiser.latency, denoiser.hop, denoiser.delay) == (
        model.sample_rate,
        model.causal,
        model.latency,
        model.hop,
        model.delay,
    )
    signal = torch.tensor(speech.samples[:, 16_000:56_007]).repeat(2, 1) * torch.tensor([[1.0], [-0.5]])
    kept = signal.clone()
    with torch.inference_mode():
        wanted = model(signal)
    torch.testing.assert_close(denoiser(signal), wanted, rtol=0, atol=1e-5)
    blocks = Blocks(denoiser, 2)
    parts = [blocks.push(part) for part in signal.split(7001, dim=1)]
    torch.testing.assert_close(torch.cat([*parts, blocks.finish()], dim=1), wanted, rtol=0, atol=1e-5)
    assert torch.equal(signal, kept)
    assert denoiser(signal[:, :0]).shape == (2, 0)


def test_it_streams_and_runs_in_the_engine(plain: bytes, speech: Clip) -> None:
    denoiser = OnnxDenoiser(plain, checked(plain))
    clip = speech.with_samples(np.ascontiguousarray(speech.samples[:, :30_000]))
    stream = Stream(denoiser, 16_000)
    streamed = np.concatenate([stream.push(clip.samples), stream.flush()], axis=1)
    np.testing.assert_allclose(streamed, engine.denoise(clip, denoiser).samples, rtol=0, atol=1e-5)


def test_names_of_inputs_are_free(plain: bytes) -> None:
    """As in files by others, which call them mix, conv_cache and so on."""

    def rename(proto: onnx.ModelProto) -> None:
        for entry in [*proto.graph.input, *proto.graph.output]:
            for node in proto.graph.node:
                node.input[:] = [f"x_{name}" if name == entry.name else name for name in node.input]
                node.output[:] = [f"x_{name}" if name == entry.name else name for name in node.output]
            entry.name = f"x_{entry.name}"

    data = changed(plain, rename)
    noise = torch.randn(1, 5000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(OnnxDenoiser(data, checked(data))(noise), OnnxDenoiser(plain, checked(plain))(noise))


# what is refused


def external(proto: onnx.ModelProto) -> None:
    weight = proto.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../../../etc/passwd")


def external_without_saying_so(proto: onnx.ModelProto) -> None:
    proto.graph.initializer[0].external_data.add(key="location", value="weights.bin")


def external_in_a_constant(proto: onnx.ModelProto) -> None:
    constant = next(node for node in proto.graph.node if node.op_type == "Constant")
    constant.attribute[0].t.data_location = TensorProto.EXTERNAL


def custom(proto: onnx.ModelProto) -> None:
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    first = proto.graph.node[0]
    proto.graph.node.insert(0, helper.make_node("Gelu", [proto.graph.input[0].name], ["extra"], domain="com.microsoft"))
    assert first.op_type


def own_function(proto: onnx.ModelProto) -> None:
    body = [helper.make_node("Identity", ["a"], ["b"])]
    proto.functions.append(helper.make_function("own", "twice", ["a"], ["b"], body, [helper.make_opsetid("", 17)]))


def loops(proto: onnx.ModelProto) -> None:
    proto.graph.node.append(helper.make_node("Loop", ["", ""], ["forever"]))


def hides_in_a_branch(proto: onnx.ModelProto) -> None:
    weight = numpy_helper.from_array(np.zeros(1, np.float32), "hidden")
    weight.data_location = TensorProto.EXTERNAL
    inner = helper.make_graph([], "inner", [], [], [weight])
    proto.graph.node.append(helper.make_node("SequenceMap", ["a"], ["b"], body=inner))


def one_input_more(proto: onnx.ModelProto) -> None:
    proto.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))


def one_output_less(proto: onnx.ModelProto) -> None:
    del proto.graph.output[3]


def whole_numbers(proto: onnx.ModelProto) -> None:
    for entry in (proto.graph.input[3], proto.graph.output[3]):
        entry.type.tensor_type.elem_type = TensorProto.INT64


def other_bins(proto: onnx.ModelProto) -> None:
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 129


def many_fixed_frames(proto: onnx.ModelProto) -> None:
    proto.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 4


def not_numbers(proto: onnx.ModelProto) -> None:
    for weight in proto.graph.initializer:
        if weight.data_type == TensorProto.FLOAT:
            weight.raw_data = np.full(len(weight.raw_data) // 4, np.nan, np.float32).tobytes()


def unknown_operator(proto: onnx.ModelProto) -> None:
    proto.graph.node[-1].op_type = "Nonsense"


REFUSED: dict[str, tuple[Change, str]] = {
    "external": (external, "external data"),
    "external-unsaid": (external_without_saying_so, "external data"),
    "external-constant": (external_in_a_constant, "external data"),
    "external-in-a-branch": (hides_in_a_branch, "external data"),
    "custom": (custom, "custom operator com.microsoft:Gelu"),
    "function": (own_function, "functions"),
    "loop": (loops, r"control flow \(Loop\)"),
    "inputs": (one_input_more, "5 inputs"),
    "outputs": (one_output_less, "3 outputs"),
    "int64": (whole_numbers, "."),
    "bins": (other_bins, "."),
    "frames": (many_fixed_frames, "."),
    "nan": (not_numbers, "not numbers"),
    "unknown": (unknown_operator, "ONNX Runtime refuses it"),
    "no-type": (says(model_type=None), "model_type 'gtcrn', not 'nothing'"),
    "other-type": (says(model_type="dpdfnet"), "model_type"),
    "version": (says(version="2"), "version"),
    "window-type": (says(window_type="hann"), "window_type"),
    "no-rate": (says(sample_rate=None), "no sample_rate"),
    "rate": (says(sample_rate="4000"), "sample_rate must be a whole number in 8000 to 48000"),
    "rate-text": (says(sample_rate="many"), "sample_rate"),
    "rate-other-digits": (says(sample_rate="１６０００"), "sample_rate"),
    "rate-long": (says(sample_rate="16000" * 2000), "sample_rate"),
    "fft": (says(n_fft="256"), "window_length must be its n_fft"),
    "hop": (says(hop_length="300"), "the hop must divide the window"),
    "no-state": (says(conv_cache_shape=None), "conv_cache_shape as whole numbers"),
    "state-text": (says(tra_cache_shape="1,x"), "tra_cache_shape"),
    "state-zero": (says(tra_cache_shape="0"), "tra_cache_shape"),
    "state-huge": (says(tra_cache_shape="4000,4000,4000"), "more than 16,777,216 numbers"),
    "state-other": (says(conv_cache_shape="1,3"), "its metadata says"),
    "ahead": (says(look_ahead="-1"), "look_ahead"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_as_it_should_be_is_refused(case: str, plain: bytes, tmp_path: Path) -> None:
    change, words = REFUSED[case]
    path = tmp_path / "stranger.onnx"
    path.write_bytes(changed(plain, change))
    with pytest.raises(CheckpointError, match=words) as refused:
        load(path)
    assert refused.value.reason == "graph-refused" and "stranger.onnx" in str(refused.value)
    assert len(str(refused.value)) < 500


def test_nothing_is_run_before_its_bytes_were_looked_at(plain: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(data: bytes) -> None:
        raise AssertionError("ONNX Runtime was given a file that is forbidden")

    monkeypatch.setattr("denoise_app.inference.onnx._session", never)
    with pytest.raises(ValueError, match="external"):
        checked(changed(plain, external))


def test_files_that_are_cut_off_or_no_onnx_at_all(plain: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    cuts = [plain[:size] for size in (0, 1, 2, 10, 100, len(plain) // 2, len(plain) - 1)]
    rng = np.random.default_rng(0)
    noise = [rng.bytes(size) for size in (1, 10, 1000, 100_000)]
    for data in [*cuts, *noise, b"\xff" * 50, b"PK\x03\x04" * 99, b'{"model_type": "gtcrn"}', plain + plain]:
        path.write_bytes(data)
        with pytest.raises(CheckpointError):
            load(path)


def test_bytes_that_were_changed_anywhere_end_in_an_error_or_a_denoiser(plain: bytes, tmp_path: Path) -> None:
    """Never in another exception; the seed is fixed, so that it is the same two hundred files each time."""
    path, rng = tmp_path / "broken.onnx", np.random.default_rng(1)
    refused = 0
    for _ in range(200):
        data = bytearray(plain)
        for place in rng.integers(0, len(data), 3):
            data[place] = rng.integers(256)
        try:
            checked(bytes(data))
        except ValueError:
            refused += 1
    assert refused < 200
    path.write_bytes(plain)
    assert load(path).latency == 512


def test_a_file_too_large_and_one_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        load(tmp_path / "none.onnx")
    monkeypatch.setattr("denoise_app.inference.onnx.MAX_BYTES", 10)
    (tmp_path / "large.onnx").write_bytes(b"0" * 11)
    with pytest.raises(CheckpointError, match="more than 10 bytes"):
        load(tmp_path / "large.onnx")


def test_the_reader_sees_what_the_library_sees(plain: bytes) -> None:
    proto, contents = onnx.load_model_from_string(plain), onnx_file.read(plain)
    assert contents.operators == {node.op_type for node in proto.graph.node}
    assert contents.metadata == {entry.key: entry.value for entry in proto.metadata_props}
    constants = [attribute.t for node in proto.graph.node for attribute in node.attribute if attribute.name == "value"]
    sizes = [int(np.prod(tensor.dims)) for tensor in [*proto.graph.initializer, *constants]]
    assert contents.numbers == sum(sizes)


# the catalogue


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The operator's folder, named by DENOISE_ONNX."""
    place = tmp_path / "others"
    place.mkdir()
    monkeypatch.setenv("DENOISE_ONNX", str(place))
    return place


def test_files_by_others_join_under_their_names_and_licences(folder: Path, plain: bytes) -> None:
    (folder / "GTCRN_simple.onnx").write_bytes(plain)
    entry = catalog.find("gtcrn-simple")
    assert entry in catalog.entries()
    assert (entry.kind, entry.source, entry.loss, entry.causal) == ("neural", "onnx", "onnx", True)
    assert entry.manifest is not None and (entry.manifest.licence, entry.manifest.latency) == ("mit", 512)
    assert entry.manifest.credits[1:] == ("Somebody",) and entry.manifest.parameters > 1000
    denoiser = catalog.load("gtcrn-simple")
    assert isinstance(denoiser, OnnxDenoiser) and catalog.load("gtcrn-simple", "onnx") is denoiser
    assert catalog.sha256("gtcrn-simple") == entry.manifest.sha256
    assert catalog.recommended()[0] != "gtcrn-simple"


def test_a_file_without_a_licence_says_so(folder: Path, plain: bytes) -> None:
    (folder / "mine.onnx").write_bytes(changed(plain, says(licence=None, credits=None)))
    manifest = catalog.find("mine").manifest
    assert manifest is not None and manifest.licence == "unknown"


@pytest.mark.parametrize("name", ["gru", "wiener", "best", "a b", ".hidden", "ü", "x" * 41])
def test_names_that_are_taken_or_none_are_refused(name: str, folder: Path, plain: bytes) -> None:
    (folder / f"{name}.onnx").write_bytes(plain)
    assert not [entry for entry in catalog.entries() if entry.source == "onnx"]
    assert [problem.facts["name"] for problem in catalog.broken()] == [f"{name}.onnx"]


def test_what_is_refused_is_left_out_and_told(folder: Path, plain: bytes) -> None:
    (folder / "good.onnx").write_bytes(plain)
    (folder / "bad.onnx").write_bytes(changed(plain, external))
    (folder / "folder.onnx").mkdir()
    (folder / "gone.onnx").symlink_to(folder / "nowhere")
    (folder / "readme.txt").write_text("not looked at")
    assert [entry.model for entry in catalog.entries() if entry.source == "onnx"] == ["good"]
    assert {problem.facts["name"] for problem in catalog.broken()} == {"bad.onnx", "folder.onnx", "gone.onnx"}


def test_a_file_that_was_replaced_is_read_again(folder: Path, plain: bytes) -> None:
    path = folder / "mine.onnx"
    path.write_bytes(plain)
    first = catalog.load("mine")
    path.write_bytes(graph_of(small("band-df")).SerializeToString())
    assert catalog.load("mine") is not first and catalog.load("mine").latency == 768


def test_a_folder_that_is_not_there_holds_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DENOISE_ONNX", str(tmp_path / "none"))
    assert not [entry for entry in catalog.entries() if entry.source == "onnx"]


# graphs beside bundled weights


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a small bundled gru, its graph beside its weights."""
    root = tmp_path / "weights"
    monkeypatch.setenv("DENOISE_WEIGHTS", str(root))
    model, place = small(), root / "gru" / "hybrid"
    manifest = store.save(place, model, Manifest("gru", "hybrid", config=SMALL))
    proto = graph_of(model, "any", network_sha256=manifest.network_sha256)
    onnx.save(proto, place / catalog.GRAPH)
    return place


@pytest.mark.slow
def test_a_graph_beside_its_weights_runs_on_the_cpu_and_gives_their_samples(bundled: Path, speech: Clip) -> None:
    signal = torch.tensor(speech.samples[:, :30_000])
    quick = catalog.load("gru", "hybrid", "cpu")
    assert isinstance(quick, OnnxDenoiser)
    (bundled / catalog.GRAPH).unlink()
    plain = catalog.load("gru", "hybrid", "cpu")
    assert isinstance(plain, SpectralModel)
    with torch.inference_mode():
        torch.testing.assert_close(quick(signal), plain(signal), rtol=0, atol=1e-5)


def test_a_graph_of_other_weights_is_not_used(bundled: Path) -> None:
    onnx.save(graph_of(small(), "any", network_sha256="1" * 64), bundled / catalog.GRAPH)
    assert isinstance(catalog.load("gru", "hybrid", "cpu"), SpectralModel)


def test_a_graph_of_these_weights_under_another_config_is_not_used(bundled: Path) -> None:
    content = json.loads((bundled / "config.json").read_text())
    content["config"]["level_memory"] = 1.0  # the same weights follow the level more slowly
    (bundled / "config.json").write_text(json.dumps(content))
    assert isinstance(catalog.load("gru", "hybrid", "cpu"), SpectralModel)


def test_a_graph_in_the_hubs_cache_is_not_used(bundled: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from denoise_app.checkpoints import hub

    place = tmp_path / "hub" / "models--friend--weights" / "snapshots" / ("0" * 40) / "gru" / "hybrid"
    shutil.copytree(bundled, place)
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("DENOISE_HUB_REPO", "friend/weights")
    assert [entry.revision for entry in catalog.pulled()] == ["0" * 40]
    assert isinstance(catalog.load("gru", "hybrid", "cpu", revision="0" * 40), SpectralModel)
