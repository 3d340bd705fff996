"""Folders of weights: what is saved comes back the same, and nothing that was tampered with is taken."""

from __future__ import annotations

import ast
import errno
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from denoise_app.checkpoints import store
from denoise_app.checkpoints.manifest import CheckpointError, Manifest
from denoise_app.models.registry import MODELS, build, count_parameters

ROOM = Path(store.__file__).parent


def refused(folder: Path) -> str:
    """The reason why `load` refuses a folder."""
    with pytest.raises(CheckpointError) as caught:
        store.load(folder)
    return caught.value.reason


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def swap(folder: Path, data: bytes) -> None:
    """Other weights, truly named by config.json."""
    (folder / "model.safetensors").write_bytes(data)
    edit(folder, size=len(data), sha256=hashlib.sha256(data).hexdigest())


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / "model.safetensors")


# there and back


def test_comes_back_the_same(stored: Path, module: nn.Module, manifest: Manifest) -> None:
    loaded, found = store.load(stored)
    assert not loaded.training
    ours, theirs = module.state_dict(), loaded.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    noisy = 0.1 * torch.randn(2, 9000, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(module.eval()(noisy), loaded(noisy))
    given = ("model", "loss", "config", "favours", "training", "languages", "licence", "credits", "scores")
    assert all(getattr(found, key) == getattr(manifest, key) for key in given)


def test_half_of_the_bits_are_nearly_the_same(stored: Path, module: nn.Module, manifest: Manifest) -> None:
    whole = (stored / "model.safetensors").stat().st_size
    store.save(stored, module, manifest, half=True)
    assert (stored / "model.safetensors").stat().st_size < 0.6 * whole
    loaded, _ = store.load(stored)
    assert {value.dtype for value in loaded.state_dict().values()} == {torch.float32}
    for ours, theirs in zip(module.state_dict().values(), loaded.state_dict().values(), strict=True):
        torch.testing.assert_close(theirs, ours, rtol=2**-10, atol=2**-24)


def test_what_half_of_the_bits_cannot_hold_is_not_saved(stored: Path, module: nn.Module, manifest: Manifest) -> None:
    next(module.parameters()).data.fill_(1e6)
    with pytest.raises(CheckpointError, match="not finite"):
        store.save(stored, module, manifest, half=True)
    store.load(stored)


def test_facts_are_read_from_the_module_and_the_file(stored: Path, module: nn.Module) -> None:
    manifest = store.read_manifest(stored)
    data = (stored / "model.safetensors").read_bytes()
    assert (manifest.size, manifest.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert manifest.parameters == count_parameters(module) and manifest.macs_per_second > 0
    assert (manifest.sample_rate, manifest.causal, manifest.latency) == (16_000, True, 4096)
    assert sorted(path.name for path in stored.iterdir()) == ["README.md", "config.json", "model.safetensors"]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_can_be_stored(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "macs_per_second", lambda model, config: 1)  # counted in tests/models
    model = build(name).eval()
    written = store.save(tmp_path / name / "hybrid", model, Manifest(name, "hybrid"))
    loaded, found = store.load(tmp_path / name / "hybrid")
    assert found == written and type(loaded) is MODELS[name][1]
    noisy = torch.randn(1, 8000, generator=torch.Generator().manual_seed(0)) / 10
    with torch.inference_mode():
        assert torch.equal(loaded(noisy), model(noisy))


def test_loading_leaves_the_callers_dice_alone(stored: Path) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    store.load(stored)
    assert torch.equal(torch.rand(3), expected)


def test_saving_again_replaces(stored: Path, module: nn.Module, manifest: Manifest) -> None:
    with torch.no_grad():
        next(module.parameters()).add_(1)
    store.save(stored, module, manifest)
    loaded, _ = store.load(stored)
    assert torch.equal(next(loaded.parameters()), next(module.parameters()))


def test_annotating_changes_words_and_not_weights(stored: Path) -> None:
    before = (stored / "model.safetensors").read_bytes()
    found = store.annotate(stored, scores={"stoi": 0.8}, scored_on="130 pairs", credits=("DEMAND: CC BY-SA 3.0",))
    assert store.load(stored)[1] == found and found.scores == {"stoi": 0.8}
    assert (stored / "model.safetensors").read_bytes() == before
    card = (stored / "README.md").read_text()
    assert "0.800" in card and "DEMAND" in card and "130 pairs" in card
    with pytest.raises(CheckpointError):
        store.annotate(stored, parameters=5)
    assert store.load(stored)[1] == found


# what may not be saved


def test_a_module_that_is_not_the_manifests_is_not_saved(tmp_path: Path, module: nn.Module, manifest: Manifest) -> None:
    with pytest.raises(CheckpointError) as caught:
        store.save(tmp_path / "x", module, replace(manifest, config=dict(manifest.config) | {"hidden": 16}))
    assert caught.value.reason == "manifest-invalid"
    with torch.no_grad():
        next(module.parameters())[0, 0] = float("nan")
    with pytest.raises(CheckpointError, match="not finite"):
        store.save(tmp_path / "x", module, manifest)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("fails_at", ["model.safetensors.tmp", "config.json.tmp", "README.md.tmp"])
def test_a_full_disk_keeps_the_old_checkpoint(
    stored: Path, module: nn.Module, manifest: Manifest, monkeypatch: pytest.MonkeyPatch, fails_at: str
) -> None:
    before = {path.name: path.read_bytes() for path in stored.iterdir()}
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name == fails_at:
            write(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with torch.no_grad():
        next(module.parameters()).add_(1)
    with pytest.raises(CheckpointError, match="No space left on device") as caught:
        store.save(stored, module, manifest)
    assert caught.value.reason == "checkpoint-not-saved"
    assert {path.name: path.read_bytes() for path in stored.iterdir()} == before


@pytest.mark.parametrize("is_folder", [False, True])
def test_what_is_no_checkpoint_is_not_replaced(
    tmp_path: Path, module: nn.Module, manifest: Manifest, is_folder: bool
) -> None:
    """As the README of a project, in whose folder somebody saves; or a folder of that name beside a checkpoint."""
    readme = tmp_path / "README.md"
    if is_folder:
        store.save(tmp_path, module, manifest)
        readme.unlink()
        readme.mkdir()
    else:
        readme.write_text("our own")
    before = {path.name: path.is_dir() or path.read_bytes() for path in tmp_path.iterdir()}
    with torch.no_grad():
        next(module.parameters()).add_(1)
    with pytest.raises(CheckpointError) as caught:
        store.save(tmp_path, module, manifest)
    assert caught.value.reason == "checkpoint-not-saved"
    assert {path.name: path.is_dir() or path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_manifest_as_long_and_as_old_as_the_former_is_read(
    tmp_path: Path, module: nn.Module, manifest: Manifest
) -> None:
    folder = tmp_path / manifest.model / manifest.loss
    store.save(folder, module, replace(manifest, licence="mit"))
    assert store.checked_manifest(folder).licence == "mit"
    config, status = folder / "config.json", (folder / "config.json").stat()
    config.write_text(config.read_text().replace('"mit"', '"isc"'))
    os.utime(config, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert store.checked_manifest(folder).licence == "isc"


def test_a_place_that_cannot_be_written_is_explained(tmp_path: Path, module: nn.Module, manifest: Manifest) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError) as caught:
        store.save(tmp_path / "file" / "gru", module, manifest)
    assert caught.value.reason == "checkpoint-not-saved"


# what is missing or changed


def test_missing_parts_are_named(stored: Path) -> None:
    assert refused(stored.parent / "nothing") == "no-manifest"
    (stored / "model.safetensors").unlink()
    assert refused(stored) == "no-weights"
    (stored / "config.json").unlink()
    assert refused(stored) == "no-manifest"


def test_changed_weights_are_refused(stored: Path) -> None:
    path = stored / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert refused(stored) == "weights-changed"
    path.write_bytes(data[:-1])
    assert refused(stored) == "weights-cut-off"
    path.write_bytes(b"")
    assert refused(stored) == "weights-cut-off"


def test_weights_over_the_cap_are_not_read(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_WEIGHTS_BYTES", 1000)
    assert refused(stored) == "weights-too-large"


# what is hostile


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "model.pt"])
def test_nothing_is_ever_unpickled(stored: Path, bomb: tuple[bytes, Path], name: str) -> None:
    data, trace = bomb
    (stored / "model.safetensors").unlink()
    if name == "model.safetensors":
        swap(stored, data)
        assert refused(stored) == "weights-do-not-fit"
    else:
        (stored / name).write_bytes(data)
        assert refused(stored) == "no-weights"
    store.list_folder(stored.parents[1])
    assert not trace.exists()


def test_a_torch_file_under_the_right_name_is_refused(stored: Path, bomb: tuple[bytes, Path], tmp_path: Path) -> None:
    torch.save({"weights": torch.zeros(3)}, tmp_path / "weights.pt")
    swap(stored, (tmp_path / "weights.pt").read_bytes())
    assert refused(stored) == "weights-do-not-fit"


@pytest.mark.parametrize("source", sorted(ROOM.glob("*.py")), ids=lambda path: path.name)
def test_no_reader_of_pickles_is_in_the_room(source: Path) -> None:
    tree = ast.parse(source.read_text())
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not calls & {"torch.load", "np.load", "numpy.load", "exec", "eval", "__import__"}
    assert not modules & {"pickle", "marshal", "shelve", "joblib", "importlib"}


def test_headers_that_lie_are_refused(stored: Path) -> None:
    for header in (
        {"w": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4]}},
        {"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 10**15]}},
        {"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
    ):
        text = json.dumps(header).encode()
        swap(stored, len(text).to_bytes(8, "little") + text + bytes(4))
        assert refused(stored) == "weights-do-not-fit"
    swap(stored, (2**63).to_bytes(8, "little") + b"{}")
    assert refused(stored) == "weights-do-not-fit"


def test_tensors_must_be_the_models(stored: Path) -> None:
    good = tensors(stored)
    first = next(key for key, value in good.items() if value.ndim == 2)
    others = {
        "one more": good | {"extra": torch.zeros(1)},
        "one less": {key: value for key, value in good.items() if key != first},
        "another shape": good | {first: good[first][:-1]},
        "turned": good | {first: good[first].T.contiguous()},
        "another type": good | {first: good[first].double()},
        "not finite": good | {first: torch.full_like(good[first], float("inf"))},
    }
    for name, bad in others.items():
        swap(stored, safetensors.torch.save(bad))
        assert refused(stored) == "weights-do-not-fit", name


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"config": {"hidden": 10**9}}, "hidden"),
        ({"config": {"hidden": 10**15}}, "hidden"),
        ({"config": {"hidden": -1}}, "hidden"),
        ({"config": {"hidden": 0.5}}, "hidden"),
        ({"config": {"hidden": "os.system"}}, "hidden"),
        ({"config": {"compression": 1e3}}, "compression"),
        ({"config": {"hop": 17}}, "hop"),
        ({"config": {"stft": 1}}, "stft"),
        ({"config": {"hidden": 2048, "width": 2048, "layers": 8}}, "parameters"),  # allowed one by one
        ({"parameters": 3}, "parameters"),
        ({"sample_rate": 48_000}, "sample_rate"),
        ({"latency": 1}, "latency"),
        ({"causal": False}, "causal"),
    ],
    ids=str,
)
def test_hostile_configs_are_refused_without_memory(
    stored: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], word: str
) -> None:
    devices: set[str] = set()

    def watched(name: str, config: Any) -> nn.Module:
        made = build(name, config)
        devices.update(parameter.device.type for parameter in made.parameters())
        return made

    monkeypatch.setattr(store, "build", watched)
    edit(stored, **changes)
    with pytest.raises(CheckpointError, match=word) as caught:
        store.load(stored)
    assert caught.value.reason == "manifest-invalid"
    assert devices <= {"meta"}, "it was built with memory before it was refused"


def test_an_unknown_model_names_the_known(stored: Path) -> None:
    edit(stored, model="os")
    with pytest.raises(CheckpointError, match=r"No model is called 'os'. There are: .*gru") as caught:
        store.load(stored)
    assert caught.value.reason == "no-such-model"


# lists


def emptied(folder: Path) -> None:
    edit(folder, loss=folder.name)
    (folder / "model.safetensors").unlink()


def test_lists_what_is_good_and_says_why_the_rest_is_not(stored: Path) -> None:
    root = stored.parents[1]
    for name, spoil in {
        "a-broken": lambda folder: edit(folder, causal="yes"),
        "b-elsewhere": lambda folder: None,
        "c-empty": lambda folder: emptied(folder),
    }.items():
        folder = root / "gru" / name
        folder.mkdir()
        for path in stored.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        spoil(folder)
    (root / "README.md").write_text("not a checkpoint")
    (root / "gru" / "d-nothing").mkdir()
    found, broken = store.list_folder(root)
    assert [item.folder for item in found] == [stored]
    assert [(error.reason, error.facts["name"]) for error in broken] == [
        ("manifest-invalid", "gru/a-broken"),
        ("manifest-elsewhere", "gru/b-elsewhere"),
        ("no-weights", "gru/c-empty"),
    ]


def test_a_list_of_nothing(tmp_path: Path) -> None:
    assert store.list_folder(tmp_path / "nowhere") == ([], [])
    assert store.list_folder(tmp_path) == ([], [])
