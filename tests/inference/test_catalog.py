"""Names become denoisers: which there are, which is best, and one copy of each in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from denoise_app.audio.errors import AudioError
from denoise_app.checkpoints import hub, store
from denoise_app.checkpoints.manifest import CheckpointError, Manifest
from denoise_app.classical import CLASSICAL
from denoise_app.denoiser import Denoiser
from denoise_app.inference import catalog
from denoise_app.models.registry import build

SMALL = {"window": 4096, "hop": 2048, "width": 8, "hidden": 8, "layers": 1}
Put = Callable[..., Path]


def put_into(root: Path, loss: str, seed: int = 0, **scores: float) -> Path:
    """A checkpoint of a small gru in a tree laid out like weights/."""
    torch.manual_seed(seed)
    folder = root / "gru" / loss
    store.save(folder, build("gru", SMALL), Manifest("gru", loss, config=SMALL, scores=scores))
    return folder


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Puts a checkpoint into the folder of weights, which is otherwise empty."""
    root = tmp_path / "weights"
    monkeypatch.setenv("DENOISE_WEIGHTS", str(root))
    return lambda loss, seed=0, **scores: put_into(root, loss, seed, **scores)


@pytest.fixture
def pull(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Puts a checkpoint of friend/weights into the Hub's cache, as the Hub's client lays it out."""
    cache = tmp_path / "hub"
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("DENOISE_HUB_REPO", "friend/weights")
    return lambda loss, commit, seed=0, repo="friend--weights": put_into(
        cache / f"models--{repo}" / "snapshots" / commit, loss, seed
    )


def names(entries: list[catalog.Entry]) -> list[tuple[str, str | None, str]]:
    return [(entry.model, entry.loss, entry.source) for entry in entries if entry.kind == "neural"]


# entries


def test_every_entry_is_what_it_says(put: Put) -> None:
    put("hybrid")
    entries = catalog.entries()
    assert {entry.model for entry in entries} == {"gru", *CLASSICAL}
    assert len({(entry.model, entry.loss) for entry in entries}) == len(entries)
    for entry in entries:
        denoiser = catalog.load(entry.model, entry.loss)
        assert isinstance(denoiser, Denoiser)
        facts = (denoiser.sample_rate, denoiser.causal, denoiser.latency)
        assert facts == (entry.sample_rate, entry.causal, entry.latency), entry.model
        noisy = torch.zeros(1, 5000)
        with torch.inference_mode():
            assert denoiser(noisy).shape == noisy.shape
        assert (entry.kind, entry.source) == (("neural", "bundled") if entry.manifest else ("classical", "built-in"))


def test_weights_are_beside_the_package_unless_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DENOISE_WEIGHTS", raising=False)
    assert catalog.weights_folder() == Path(catalog.__file__).resolve().parents[2] / "weights"
    monkeypatch.setenv("DENOISE_WEIGHTS", str(tmp_path))
    assert catalog.weights_folder() == tmp_path
    assert names(catalog.entries()) == []


def test_listing_builds_no_model(put: Put, pull: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    put("hybrid")
    pull("mse", "a" * 40)

    def no_model(*_: object) -> None:
        raise AssertionError("a model was built")

    monkeypatch.setattr(store, "build", no_model)
    assert len(names(catalog.entries())) == len(catalog.pulled()) + 1 == 2
    assert catalog.recommended() == ("gru", "hybrid")
    monkeypatch.undo()


def test_what_a_checkpoint_says_of_its_model_is_checked_when_it_is_loaded(put: Put) -> None:
    config = put("hybrid") / "config.json"
    config.write_text(config.read_text().replace('"latency": ', '"latency": 1'))
    with pytest.raises(CheckpointError, match="latency: it says 1"):
        catalog.load("gru", "hybrid")
    config.write_text(config.read_text().replace('"layers": 1', '"layers": "many"'))
    assert names(catalog.entries()) == []


def test_a_broken_checkpoint_is_left_out_and_explained(put: Put) -> None:
    put("hybrid")
    (put("mse") / "config.json").write_text("{}")
    assert names(catalog.entries()) == [("gru", "hybrid", "bundled")]
    assert [error.reason for error in catalog.broken()] == ["manifest-invalid"]
    with pytest.raises(CheckpointError) as caught:
        catalog.load("gru", "mse")
    assert caught.value.reason == "manifest-invalid"


def test_a_folder_of_an_unknown_model_does_not_stand_in_the_way_of_names(put: Put, tmp_path: Path) -> None:
    put("hybrid")
    text = (put("mse") / "config.json").read_text().replace('"gru"', '"newer"')
    (tmp_path / "weights" / "newer" / "mse").mkdir(parents=True)
    (tmp_path / "weights" / "newer" / "mse" / "config.json").write_text(text)
    assert [error.reason for error in catalog.broken()] == ["no-such-model"]
    for wrong in (("grue", None), ("newer", None), ("newer", "mse")):
        with pytest.raises(CheckpointError, match="No model is called"):
            catalog.load(*wrong)
    with pytest.raises(CheckpointError, match="no checkpoint of gru trained with 'nothing'"):
        catalog.load("gru", "nothing")


def test_a_broken_checkpoint_explains_no_other_one(put: Put) -> None:
    put("hybrid")
    (put("mse-x") / "config.json").write_text("{}")
    with pytest.raises(CheckpointError) as caught:
        catalog.load("gru", "mse")
    assert caught.value.reason == "no-such-loss"
    with pytest.raises(CheckpointError) as caught:
        catalog.load("gr")
    assert caught.value.reason == "no-such-model"


def test_pulled_checkpoints_are_entries_and_bundled_ones_go_first(put: Put, pull: Put) -> None:
    put("hybrid", seed=1)
    first = pull("hybrid", "a" * 40, seed=2)
    pull("mse", "a" * 40, seed=3)
    assert names(catalog.entries()) == [("gru", "hybrid", "bundled"), ("gru", "mse", "hub")]
    entry = next(entry for entry in catalog.entries() if entry.loss == "mse")
    assert (entry.repo, entry.revision) == ("friend/weights", "a" * 40)
    theirs = catalog.load("gru", "hybrid", revision="a" * 40)
    ours = catalog.load("gru", "hybrid")
    expected, _ = store.load(first)
    assert torch.equal(next(theirs.parameters()), next(expected.parameters()))  # type: ignore[attr-defined]
    assert not torch.equal(next(ours.parameters()), next(expected.parameters()))  # type: ignore[attr-defined]
    with pytest.raises(CheckpointError):
        catalog.load("gru", "hybrid", revision="b" * 40)


def test_the_newest_pulled_is_the_one_that_a_name_means(put: Put, pull: Put) -> None:
    pull("mse", "b" * 40, seed=1)
    pull("mse", "a" * 40, seed=2)
    assert [entry.revision for entry in catalog.pulled()] == ["a" * 40, "b" * 40]
    assert [entry.revision for entry in catalog.entries() if entry.loss == "mse"] == ["a" * 40]


def test_strangers_in_the_cache_are_not_entries(put: Put, pull: Put) -> None:
    pull("mse", "a" * 40, repo="stranger--weights")
    assert catalog.pulled() == []


# recommended


def test_the_best_scores_are_recommended(put: Put) -> None:
    put("hybrid", pesq_wb=1.60, si_sdr=9.0)
    put("log-mag", pesq_wb=1.75, si_sdr=8.0)
    put("mse", pesq_wb=1.20, si_sdr=10.0)
    assert catalog.recommended() == ("gru", "log-mag")
    assert catalog.recommended_loss("gru") == "log-mag"
    assert catalog.load("gru") is catalog.load("gru", "log-mag")


def test_without_scores_the_all_rounder_is_recommended(put: Put) -> None:
    for loss in ("compressed", "hybrid", "mse"):
        put(loss)
    assert catalog.recommended() == ("gru", "hybrid")
    put("mse", pesq_wb=1.0, si_sdr=-5.0)
    assert catalog.recommended() == ("gru", "mse"), "a known score goes before an unknown one"


def test_without_weights_a_classical_one_is_recommended(put: Put) -> None:
    model, loss = catalog.recommended()
    assert (model, loss) == ("mmse-lsa", None) and model in CLASSICAL
    assert catalog.recommended_loss("wiener") is None


@pytest.fixture
def timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a checkpoint of any model with scores and a real-time factor into the folder of weights."""
    monkeypatch.setenv("DENOISE_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(store, "macs_per_second", lambda model, config: 1)
    small = {"gru": SMALL, "cnn": {"channels": 2}, "dpcrn": {"channels": 4}, "light-crn": {"channels": 4}}

    def put(model: str, pesq: float, speed: float, loss: str = "hybrid") -> None:
        said = Manifest(
            model, loss, config=small[model], scores={"pesq_wb": pesq, "si_sdr": 0.0}, real_time_factor=speed
        )
        store.save(tmp_path / "weights" / model / loss, build(model, small[model]), said)

    return put


def test_presets_are_the_best_the_fast_and_the_live_one(timed: Callable[..., None]) -> None:
    timed("cnn", 2.3, 0.24)
    timed("cnn", 2.2, 0.09, "mse")
    timed("dpcrn", 2.1, 0.11)
    timed("light-crn", 2.0, 0.07)
    timed("gru", 1.9, 0.03)
    assert catalog.recommended() == ("cnn", "mse"), "the best is too slow"
    assert catalog.presets() == {
        "best": ("cnn", "hybrid"),
        "fast": ("light-crn", "hybrid"),
        "live": ("light-crn", "hybrid"),
    }
    for name, meant in catalog.presets().items():
        assert catalog.load(name) is catalog.load(*meant) and catalog.recommended_loss(name) == meant[1]
    assert catalog.find("best", "mse").model == "cnn"
    with pytest.raises(CheckpointError) as caught:
        catalog.load("fast", "compressed")
    assert caught.value.reason == "no-such-loss"


def test_what_nobody_timed_is_recommended_and_never_called_fast(timed: Callable[..., None]) -> None:
    timed("cnn", 2.3, 0.0)
    timed("dpcrn", 2.2, 0.0)
    assert catalog.recommended() == catalog.presets()["best"] == ("cnn", "hybrid")
    assert catalog.presets()["live"] == ("dpcrn", "hybrid")
    assert catalog.presets()["fast"] == ("cnn", "hybrid"), "with none that is known to be, the best has to do"
    timed("cnn", 2.3, 0.09)
    timed("gru", 1.2, 0.02)
    assert catalog.presets()["fast"] == ("gru", "hybrid")


def test_without_weights_every_preset_is_the_recommended_one(put: Put, pull: Put) -> None:
    pull("mse", "a" * 40)
    assert set(catalog.presets().values()) == {catalog.recommended()} == {("mmse-lsa", None)}
    assert type(catalog.load("live")) is type(CLASSICAL["mmse-lsa"]())
    assert catalog.find("best", "mse").source == "hub"


# load


def test_unknown_names_say_what_there_is(put: Put) -> None:
    put("hybrid")
    with pytest.raises(CheckpointError, match=r"No model is called 'grue'. There are: .*gru.*wiener") as caught:
        catalog.load("grue")
    assert caught.value.reason == "no-such-model"
    with pytest.raises(CheckpointError, match=r"gru trained with 'mse'. There are: hybrid") as caught:
        catalog.load("gru", "mse")
    assert caught.value.reason == "no-such-loss"
    with pytest.raises(CheckpointError, match="Leave the loss out") as caught:
        catalog.load("wiener", "hybrid")
    assert caught.value.reason == "no-loss-taken"
    for trick in ("../gru", "gru/../hybrid", "gru/hybrid/", "gru/mse", "", "/etc/passwd"):
        with pytest.raises(CheckpointError):
            catalog.load(trick)
    with pytest.raises(CheckpointError):
        catalog.recommended_loss("grue")


def test_an_unusable_device_is_named(put: Put) -> None:
    put("hybrid")
    with pytest.raises(AudioError, match="cuda:99"):
        catalog.load("gru", "hybrid", device="cuda:99")


def test_a_checkpoint_is_read_once_and_shared(put: Put) -> None:
    put("hybrid")
    loaded = catalog.load("gru", "hybrid", "cpu")
    assert loaded is catalog.load("gru", "hybrid", "cpu")
    assert isinstance(loaded, torch.nn.Module) and not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert {parameter.device.type for parameter in loaded.parameters()} == {"cpu"}


def test_replaced_weights_are_read_again(put: Put) -> None:
    put("hybrid", seed=1)
    old = catalog.load("gru", "hybrid")
    put("hybrid", seed=2)
    new = catalog.load("gru", "hybrid")
    assert new is not old and not torch.equal(next(new.parameters()), next(old.parameters()))  # type: ignore[attr-defined]


def test_a_replaced_config_is_read_again(put: Put) -> None:
    folder = put("hybrid", seed=1)
    old: Any = catalog.load("gru", "hybrid")
    store.annotate(folder, config={**store.read_manifest(folder).config, "floor": 0.3})
    new: Any = catalog.load("gru", "hybrid")
    assert (old.config.floor, new.config.floor) == (0.1, 0.3)


def test_classical_ones_are_built_anew(put: Put) -> None:
    assert catalog.load("wiener") is not catalog.load("wiener")


def test_ten_threads_read_a_checkpoint_once(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = put("hybrid", seed=9)
    reads: list[Path] = []
    real = store.load

    def counted(path: Path) -> object:
        reads.append(path)
        return real(path)

    monkeypatch.setattr(store, "load", counted)
    start = threading.Barrier(10)
    got: list[Denoiser] = []

    def work() -> None:
        start.wait()
        got.append(catalog.load("gru", "hybrid"))

    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reads == [folder]
    assert len(got) == 10 and len({id(denoiser) for denoiser in got}) == 1


def test_damaged_weights_are_refused_each_time(put: Put) -> None:
    path = put("hybrid") / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    for _ in range(2):
        with pytest.raises(CheckpointError) as caught:
            catalog.load("gru", "hybrid")
        assert caught.value.reason == "weights-cut-off"


def test_a_model_may_be_named_with_its_loss() -> None:
    entry = catalog.find("light-crn", "mse")
    assert catalog.find("light-crn/mse") == catalog.find("light-crn/mse", "mse") == entry
    with pytest.raises(CheckpointError):
        catalog.find("light-crn/mse", "hybrid")
