"""What the page's widgets say, as the engine takes it; which denoisers there are."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from denoise_app.audio.errors import AudioError
from denoise_app.checkpoints import hub, store
from denoise_app.checkpoints.hub import HubCheckpoint
from denoise_app.checkpoints.manifest import CheckpointError, Manifest
from denoise_app.inference import catalog
from denoise_app.inference.engine import Settings
from denoise_app.inference.settings import RANGES, treatment
from denoise_app.ui.texts import Say
from denoise_app.ui.worker.worker import NO_LIMIT_DB, Offer, Worker, settings_from

REVISION = "0123456789" * 4


def test_settings_of_untouched_widgets_are_the_engines() -> None:
    assert settings_from(100, NO_LIMIT_DB, "follow", None, -1, "", 0) == Settings()


def test_settings_are_taken_over() -> None:
    assert settings_from(40, 12, "keep", -16, -2, "flac", 24) == Settings(40, 12, "keep", -16, -2, "flac", 24)
    assert settings_from(100, 60, "follow", None, -1, "", 24.0).bit_depth == 24  # as number fields have it
    assert settings_from(100, NO_LIMIT_DB, "drop", None, -1, None, None).max_attenuation_db == math.inf


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ((101, 60, "follow", None, -1, "", 0), "bad-strength"),
        ((-1, 60, "follow", None, -1, "", 0), "bad-strength"),
        ((math.nan, 60, "follow", None, -1, "", 0), "bad-strength"),
        ((None, 60, "follow", None, -1, "", 0), "bad-strength"),
        ((True, 60, "follow", None, -1, "", 0), "bad-strength"),
        (("50", 60, "follow", None, -1, "", 0), "bad-strength"),
        ((0.8, 60, "follow", None, -1, "", 0), "strength-in-percent"),
        ((100, True, "follow", None, -1, "", 0), "bad-attenuation"),
        ((100, 60, ["follow"], None, -1, "", 0), "bad-high-band"),
        ((100, 60, "follow", True, -1, "", 0), "bad-loudness"),
        ((100, 60, "follow", -16, True, "", 0), "bad-true-peak"),
        ((100, 60, "follow", None, -1, "", 15.5), "bad-bit-depth"),
        ((100, 60, "follow", None, -1, "", True), "bad-bit-depth"),
        ((100, 60, "follow", None, -1, "", "24"), "bad-bit-depth"),
        ((100, 60, "follow", None, -1, "", math.nan), "bad-bit-depth"),
        ((100, 60, "follow", None, -1, 5, 0), "unknown-format"),
        ((100, -3, "follow", None, -1, "", 0), "bad-attenuation"),
        ((100, None, "follow", None, -1, "", 0), "bad-attenuation"),
        ((100, 60, "__import__", None, -1, "", 0), "bad-high-band"),
        ((100, 60, "follow", 5, -1, "", 0), "bad-loudness"),
        ((100, 60, "follow", -16, None, "", 0), "bad-true-peak"),
        ((100, 60, "follow", -16, 3, "", 0), "bad-true-peak"),
        ((100, 60, "follow", None, -1, "", math.inf), "bad-bit-depth"),
    ],
)
def test_settings_out_of_range_are_told_to_the_user(wrong: tuple[Any, ...], reason: str) -> None:
    with pytest.raises(AudioError) as raised:
        settings_from(*wrong)
    error = raised.value
    assert error.reason == reason and Say("en").problem(error) == str(error)
    chinese = Say("zh").problem(error).replace(str(error.facts.get("known")), "")
    assert not re.search("[A-Za-z]{5,}", chinese), "nothing in it is left in English"
    if reason in RANGES:
        assert (error.facts["name"], error.facts["low"], error.facts["high"]) == RANGES[reason]
        assert f"{error.facts['low']:g}" in str(error) and f"{error.facts['low']:g}" in chinese


def test_an_empty_target_is_refused_and_one_that_is_not_asked_for_is_not_looked_at() -> None:
    with pytest.raises(AudioError) as raised:
        settings_from(100, 60, "follow", None, -1, "", 0, to_target=True)
    assert raised.value.reason == "bad-loudness"
    for lufs, true_peak in ((None, None), (5, 7), (-16, -3)):
        assert settings_from(100, 60, "follow", lufs, true_peak, "", 0, to_target=False) == Settings()
    assert settings_from(100, 60, "follow", None, None, "", 0) == Settings()


def test_channels_are_one_of_three() -> None:
    assert [treatment(name) for name in ("each", "mid", "reference")] == ["each", "mid", "reference"]
    for wrong in ("left", None, True, ["mid"]):
        with pytest.raises(AudioError, match="each, mid, reference"):
            treatment(wrong)


def test_levels_are_those_of_the_whole_file(recording: Callable[..., Path], tmp_path: Path) -> None:
    levels = Worker().levels(recording(seconds=3.0))
    assert -15 < levels.peak_db < -13 and -35 < levels.loudness_lufs < -10
    soundfile.write(tmp_path / "zero.wav", np.zeros(8000), 16_000)
    assert Worker().levels(tmp_path / "zero.wav").peak_db == -math.inf
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), 16_000, "FLOAT")
    with pytest.raises(AudioError):
        Worker().levels(tmp_path / "nan.wav")


def test_a_long_recording_is_listened_to_in_excerpts(recording: Callable[..., Path]) -> None:
    short, long = recording("a.wav", 60.0, 8_000), recording("b.wav", 61.0, 8_000)
    whole = Worker().excerpts(short, short)
    assert (whole.count, whole.seconds, whole.before.shape) == (1, 60.0, (480_000,))
    some = Worker().excerpts(long, long)
    assert (some.count, some.seconds, some.before.shape) == (4, 15.0, (480_000,))
    np.testing.assert_array_equal(some.before, some.after)


def test_a_cut_is_the_beginning_bit_by_bit(recording: Callable[..., Path], tmp_path: Path) -> None:
    path = recording(seconds=3.0, channels=2, codec="PCM_24")
    cut = Worker().cut(path, 1.5, tmp_path / "cut.wav")
    whole, rate = soundfile.read(path, dtype="float32")
    np.testing.assert_array_equal(soundfile.read(cut, dtype="float32")[0], whole[: round(1.5 * rate)])


def test_classical_denoisers_are_always_on_offer() -> None:
    offers = Worker().offers()
    assert {"wiener", "mmse-lsa", "nlms"} <= {offer.key for offer in offers}
    assert Worker().recommended().key in {offer.key for offer in offers}
    assert Worker().find("wiener").source == "built-in"


def test_a_name_that_is_not_on_offer_is_told_to_the_user() -> None:
    for call in (Worker().find, Worker().recommended):
        with pytest.raises(CheckpointError):
            call("no-such-thing")


def test_what_the_hub_lists_is_on_offer_and_is_fetched_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = Manifest("gru", "special", sample_rate=16_000, causal=True, size=1000)
    found = HubCheckpoint("somebody/models", REVISION, manifest, None)
    refused = CheckpointError.of("no-weights", name="somebody/old")
    pulled: list[tuple[str, ...]] = []
    monkeypatch.setattr(hub, "list_checkpoints", lambda: ([found], [refused]))
    monkeypatch.setattr(hub, "pull", lambda *names: pulled.append(names))
    monkeypatch.setattr(catalog, "load", lambda *names, **more: (names, more))
    worker = Worker()
    assert worker.look_on_hub() == (1, [refused])
    offer = worker.find(f"gru/special@{REVISION}")
    assert isinstance(offer, Offer) and (offer.source, offer.repo, offer.cached) == ("hub", "somebody/models", False)
    assert worker.denoiser(offer) == (("gru", "special"), {"revision": REVISION})  # type: ignore[comparison-overlap]
    assert pulled == [("somebody/models", "gru/special", REVISION)]


def test_what_one_visitor_was_offered_stays_when_another_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = Manifest("gru", "special", sample_rate=16_000, causal=True, size=1000)
    worker = Worker()
    for revision in (REVISION, REVISION[::-1]):
        found = HubCheckpoint("somebody/models", revision, manifest, None)
        monkeypatch.setattr(hub, "list_checkpoints", lambda found=found: ([found], []))
        worker.look_on_hub()
    assert {worker.find(f"gru/special@{revision}").revision for revision in (REVISION, REVISION[::-1])} == {
        REVISION,
        REVISION[::-1],
    }


@pytest.fixture
def cached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """gru/mse bundled, and in the Hub's cache gru/mse and gru/special."""
    made = {loss: Manifest("gru", loss, sample_rate=16_000, causal=True) for loss in ("mse", "special")}
    pulled = [HubCheckpoint("somebody/models", REVISION, manifest, tmp_path) for manifest in made.values()]
    monkeypatch.setattr(hub, "cached", lambda: pulled)
    monkeypatch.setattr(store, "list_folder", lambda root: ([store.Stored(tmp_path, made["mse"])], []))


@pytest.mark.usefixtures("cached")
def test_what_was_pulled_is_on_offer_beside_a_bundled_one_of_its_name() -> None:
    """For any visitor, and after a restart: nobody has looked on the Hub here."""
    keys = [offer.key for offer in Worker().offers() if offer.loss]
    assert keys == ["gru/mse", f"gru/special@{REVISION}", f"gru/mse@{REVISION}"]
    offer = Worker().find(f"gru/mse@{REVISION}")
    assert (offer.source, offer.cached) == ("hub", True)
    assert Worker().recommended("gru").key == "gru/mse"


@pytest.mark.usefixtures("cached")
def test_an_offer_is_named_by_model_and_loss_wherever_it_lies() -> None:
    assert Worker().named("gru", "mse").key == "gru/mse"
    assert Worker().named("gru", "special").key == f"gru/special@{REVISION}"
    assert Worker().named("wiener").key == "wiener"
    for names, reason in ((("wiener", "mse"), "no-loss-taken"), (("gru", "nonsense"), "no-such-loss")):
        with pytest.raises(CheckpointError) as raised:
            Worker().named(*names)
        assert raised.value.reason == reason


def test_nothing_is_asked_of_the_hub_before_somebody_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the Hub was asked")

    monkeypatch.setattr(hub, "list_checkpoints", fail)
    worker = Worker()
    worker.offers(), worker.recommended(), worker.device()


def test_the_hub_is_named_by_whoever_runs_this(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DENOISE_HUB_REPO", "DENOISE_HUB_AUTHORS"):
        monkeypatch.delenv(name, raising=False)
    assert not Worker().hub_is_named()
    monkeypatch.setenv("DENOISE_HUB_AUTHORS", "somebody")
    assert Worker().hub_is_named()
