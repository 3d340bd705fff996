"""Which denoisers there are to choose from."""

from __future__ import annotations

from pathlib import Path

import pytest

from denoise_app.checkpoints import hub, store
from denoise_app.checkpoints.hub import HubCheckpoint
from denoise_app.checkpoints.manifest import CheckpointError, Manifest
from denoise_app.inference import catalog
from denoise_app.inference.catalog import Entry
from denoise_app.ui.worker.offers import Offers, hub_is_named

REVISION = "0123456789" * 4


def test_classical_denoisers_are_always_on_offer() -> None:
    offers = Offers().all()
    assert {"wiener", "mmse-lsa", "nlms"} <= {offer.key for offer in offers}
    assert Offers().recommended().key in {offer.key for offer in offers}
    assert Offers().find("wiener").source == "built-in"


def test_a_name_that_is_not_on_offer_is_told_to_the_user() -> None:
    for call in (Offers().find, Offers().recommended):
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
    offers = Offers()
    assert offers.list_hub() == (1, [refused])
    offer = offers.find(f"gru/special@{REVISION}")
    assert isinstance(offer, Entry) and (offer.source, offer.repo, offer.cached) == ("hub", "somebody/models", False)
    assert offers.load(offer) == (("gru", "special"), {"revision": REVISION})  # type: ignore[comparison-overlap]
    assert pulled == [("somebody/models", "gru/special", REVISION)]


def test_what_one_visitor_was_offered_stays_when_another_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = Manifest("gru", "special", sample_rate=16_000, causal=True, size=1000)
    offers = Offers()
    for revision in (REVISION, REVISION[::-1]):
        found = HubCheckpoint("somebody/models", revision, manifest, None)
        monkeypatch.setattr(hub, "list_checkpoints", lambda found=found: ([found], []))
        offers.list_hub()
    assert {offers.find(f"gru/special@{revision}").revision for revision in (REVISION, REVISION[::-1])} == {
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
    keys = [offer.key for offer in Offers().all() if offer.loss]
    assert keys == ["gru/mse", f"gru/special@{REVISION}", f"gru/mse@{REVISION}"]
    offer = Offers().find(f"gru/mse@{REVISION}")
    assert (offer.source, offer.cached) == ("hub", True)
    assert Offers().recommended("gru").key == "gru/mse"


@pytest.mark.usefixtures("cached")
def test_an_offer_is_named_by_model_and_loss_wherever_it_lies() -> None:
    assert Offers().recommended("gru", "mse").key == "gru/mse"
    assert Offers().recommended("gru", "special").key == f"gru/special@{REVISION}"
    assert Offers().recommended("wiener").key == "wiener"
    for names, reason in ((("wiener", "mse"), "no-loss-taken"), (("gru", "nonsense"), "no-such-loss")):
        with pytest.raises(CheckpointError) as raised:
            Offers().recommended(*names)
        assert raised.value.reason == reason


def test_nothing_is_asked_of_the_hub_before_somebody_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the Hub was asked")

    monkeypatch.setattr(hub, "list_checkpoints", fail)
    offers = Offers()
    offers.all(), offers.recommended()


def test_the_hub_is_named_by_whoever_runs_this(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DENOISE_HUB_REPO", "DENOISE_HUB_AUTHORS"):
        monkeypatch.delenv(name, raising=False)
    assert not hub_is_named()
    monkeypatch.setenv("DENOISE_HUB_AUTHORS", "somebody")
    assert hub_is_named()
