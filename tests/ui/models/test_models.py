"""The leaderboard on the page: filtered, ordered by its own metrics, and never more than it knows."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from denoise_app.checkpoints import hub
from denoise_app.checkpoints.hub import HubCheckpoint
from denoise_app.checkpoints.manifest import CheckpointError
from denoise_app.evaluation.leaderboard import FORMAT_VERSION, Board
from denoise_app.inference.catalog import Entry
from denoise_app.ui.models import html as board
from denoise_app.ui.models.tab import ModelsTab
from denoise_app.ui.parts import numbers
from denoise_app.ui.parts.site import Site
from denoise_app.ui.texts import Say

EVIL = "<b>&\"'"


def row(model: str, loss: str | None, pesq: float, lsd: float, **facts: Any) -> dict[str, Any]:
    def spread(mean: float) -> dict[str, float]:
        return {"mean": mean, "low": mean - 0.1, "high": mean + 0.1}

    return {
        "model": model,
        "loss": loss,
        "kind": "neural" if loss else "classical",
        "causal": True,
        "latency_ms": 32.0,
        "parameters": 1000,
        "rtf": 0.01,
        "scores": {"pesq_wb": spread(pesq), "lsd": spread(lsd)},
        "by": {"language": {"en": {"pairs": 2, "scores": {"pesq_wb": spread(pesq + 0.2)}}}},
        "conditions": {"clipped": {"pairs": 1, "scores": {"pesq_wb": spread(pesq - 0.2)}}},
    } | facts


@pytest.fixture
def ours() -> Board:
    rows = [
        row("noisy", None, 1.3, 20.0, parameters=0, rtf=0.0),
        row("wiener", None, 1.4, 18.0, parameters=0),
        row("half", "hybrid", 1.7, 12.0),
        row("half", "log-mag", 1.6, 11.0, causal=False),
    ]
    return {"format_version": FORMAT_VERSION, "data": {"about": f"3 pairs {EVIL}"}, "rows": rows}


@pytest.fixture
def say() -> Say:
    return Say("en")


def names(html: str) -> list[str]:
    """Of every row; those of the folded table, where there is one."""
    html = html.partition("<details")[2] or html
    return re.findall(r'<th scope="row" data-value="([^"]*)"', html)


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("all", ["wiener", "half", "half"]),
        ("neural", ["half"] * 2),
        ("causal", ["wiener", "half"]),
        ("classical", ["wiener"]),
    ],
)
def test_filters_leave_their_kind_and_the_noisy_row(ours: Board, say: Say, kind: str, shown: list[str]) -> None:
    assert names(board.table(say, ours, "all", kind)) == [say("board.noisy"), *shown]


def test_the_best_of_each_model_comes_first_and_the_rest_is_folded(ours: Board, say: Say) -> None:
    first, _, rest = board.table(say, ours, "all", "all").partition("<details")
    assert names(first) == [say("board.noisy"), "wiener", "half"]
    assert first.count("#card-half-hybrid") == 1 and "#card-half-log-mag" not in first
    assert "#card-half-log-mag" in rest and say("board.rest", count=3) in rest
    assert "<details" not in board.table(say, ours, "all", "classical")


def test_the_best_is_marked_by_each_metrics_own_direction(ours: Board, say: Say) -> None:
    html = board.table(say, ours, "all", "all")
    first, _, everything = html.partition("<details")
    assert re.findall(r"<b>([\d.]+)</b>", everything) == ["1.70", "11.0"]
    assert re.findall(r"<b>([\d.]+)</b>", first) == ["1.70"]  # what is not shown is the better one
    assert EVIL not in html and "± 0.10" in html


def test_parts_have_their_own_scores_and_say_over_how_many_pairs(ours: Board, say: Say) -> None:
    assert [key for _, key in board.groups(say, ours)] == ["all", "language:en", "condition:clipped"]
    html = board.table(say, ours, "condition:clipped", "all")
    assert '<b>1.50</b> <small class="quiet">± 0.10</small>' in html and say("title.lsd") not in html
    assert say("board.part", pairs="1", part=say("board.condition.clipped")) in html
    assert say("board.part", pairs="2", part=say("board.language.en")) in board.table(say, ours, "language:en", "all")
    assert "Of these" not in board.table(say, ours, "all", "all")
    assert board.scores(ours["rows"][2], "language:en")["pesq_wb"]["mean"] == pytest.approx(1.9)
    assert board.scores(ours["rows"][2], "language:zh") == {}


def test_points_name_the_best_of_each_model_and_open_its_card(ours: Board) -> None:
    points = board.points(ours, "all", "all", "lsd", "rtf")
    labels = {point.title: point.label for point in points}
    assert labels == {"wiener": "wiener", "half/hybrid": "", "half/log-mag": "half"}
    assert {point.card for point in points} == {"card-wiener", "card-half-hybrid", "card-half-log-mag"}
    assert "wiener" not in {point.title for point in board.points(ours, "all", "all", "lsd", "parameters")}


def test_the_matrix_says_which_loss_is_best(ours: Board, say: Say) -> None:
    assert "half: hybrid" in board.said_of_matrix(say, ours, "all", "pesq_wb")
    assert "half: log-mag" in board.said_of_matrix(say, ours, "all", "lsd")
    assert say("board.unscored") in board.said_of_matrix(say, ours, "language:en", "stoi")


def test_a_missing_or_broken_leaderboard_is_told(tmp_path: Path) -> None:
    assert board.standing(tmp_path).board is None
    (tmp_path / "leaderboard.json").write_text("{")
    assert "no leaderboard" in board.standing(tmp_path).problem


ROW = {"system": "Other", "pesq_wb": 1.5, "rtf": None}


@pytest.mark.parametrize(
    "broken",
    [
        "{",
        "[]",
        "[" * 100_000,
        "\x00",
        json.dumps({"measured": {"about": "no rows"}}),
        json.dumps({"measured": {"rows": []}}),
        json.dumps({"measured": {"rows": [ROW, {"system": "Short"}]}}),
        json.dumps({"measured": {"rows": [ROW | {"pesq_wb": "good"}]}}),
        json.dumps({"measured": {"rows": [ROW | {"system": 3}]}}),
        json.dumps({"measured": {"rows": [1]}, "format_version": 1}),
    ],
)
def test_broken_peers_are_left_out_and_logged(
    broken: str, say: Say, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "peers.json").write_text(broken)
    assert board.others(say, board.standing(tmp_path).peers) == "" and "peers.json" in caplog.text


def test_whole_peers_are_shown_beside_what_nobody_knows(say: Say, tmp_path: Path) -> None:
    (tmp_path / "peers.json").write_text(json.dumps({"published": {"rows": [ROW]}, "rumoured": {"rows": [ROW]}}))
    peers = board.standing(tmp_path).peers
    assert list(peers) == ["published"] and board.others(say, peers).count("<details") == 1


def test_peers_are_apart_and_say_where_their_numbers_come_from(say: Say) -> None:
    peers = board.standing().peers
    html = board.others(say, peers)
    assert html.count("<details") == 2 and "UL-UNAS" in html
    told = unescape(html)
    assert say("board.peers.published-help") in told and say("board.peers.measured-help") in told
    assert "UL-UNAS" not in board.table(say, board.standing().board or {}, "all", "all")


def test_cards_are_of_all_and_mark_the_best(worker: Any, say: Say) -> None:
    offers = worker.offers.all()
    html = board.cards(say, offers, offers[1])
    titles = [re.sub("<.*?>", "", title) for title in re.findall("<summary>(.*?)</summary>", html)]
    assert titles == [say("models.all", count=3), "half/hybrid", "half/log-mag recommended", "wiener"]


def test_a_card_shows_the_training_and_escapes_what_it_tells(worker: Any, say: Say) -> None:
    offer = worker.offers.all()[0]
    training = {
        "hours_seen": 12.5,
        "commit": EVIL,
        "data": {"clean": {"hours": 6.8}, "noise": "lost"},
        "curve": [{"step": 10, "loss": 3.0}, {"step": 20, "loss": 2.0, "pesq-wb": 1.5}, {"step": 30, "loss": 1.0}],
    }
    told = replace(offer, manifest=replace(offer.manifest, training=training, credits=(EVIL,)))
    html = board.card(say, told)
    assert EVIL not in html and 'id="card-half-hybrid"' in html
    assert "12.5 h" in html and "speech 6.8 h" in html
    assert "from 3 to 1 in 30 steps" in html and html.count("<polyline") == 1


def test_a_card_is_drawn_anew_only_for_what_it_shows(worker: Any, say: Say) -> None:
    offer = worker.offers.all()[0]
    card = board.card(say, offer)
    assert board.card(Say(say.language), replace(offer, manifest=replace(offer.manifest))) is card
    favours = {"en": "Dogs.", "zh": "狗。"}
    changes: dict[str, Any] = {"training": {"seed": 7}, "licence": "mit", "favours": favours, "sha256": "1" * 64}
    for name, value in changes.items():
        assert board.card(say, replace(offer, manifest=replace(offer.manifest, **{name: value}))) != card
    assert board.card(Say({"en": "zh", "zh": "en"}[say.language]), offer) != card


@pytest.mark.parametrize(
    "training", [{"curve": 5}, {"curve": [{"step": 1, "loss": 1e400}] * 2, "data": {"a": {"hours": []}}}, 5]
)
def test_a_broken_card_takes_no_other_along(worker: Any, say: Say, training: Any) -> None:
    good, bad, other = worker.offers.all()
    bad = replace(bad, manifest=replace(bad.manifest, training=training))
    html = board.cards(say, [good, bad, other], good)
    assert re.findall('id="(card-[a-z-]+)"', html) == ["card-half-hybrid", "card-half-log-mag", "card-wiener"]
    assert board.card(say, good, recommended=True) in html and board.card(say, other) in html


def test_a_card_that_cannot_be_drawn_says_so(worker: Any, say: Say) -> None:
    bad = replace(worker.offers.all()[0], manifest=replace(worker.offers.all()[0].manifest, training={"curve": 5}))
    assert say("models.undrawn") in unescape(board.cards(say, [bad], bad))


# the tab itself


def value(update: Any, name: str = "value") -> Any:
    return update.constructor_args[name]


@pytest.fixture
def tab(site: Site, ours: Board) -> ModelsTab:
    with gr.Blocks() as page:
        return ModelsTab(site, page, board.Standing(ours, {}))


@pytest.fixture
def request_() -> gr.Request:
    return gr.Request(username=None, headers={"accept-language": "en"})


def test_the_tab_shows_what_is_at_hand(tab: ModelsTab, request_: gr.Request) -> None:
    cards, group, _ = tab.on_load(request_)
    assert "recommended" in cards and cards.count("<details") == 1 + 3 and len(value(group, "choices")) == 3
    heat, said, *scatters = tab.on_figures("all", "all", "all", "pesq_wb", "dark", request_)
    assert json.loads(heat.to_json())["data"][0]["z"] == [[1.7], [1.6]] and "hybrid" in said
    assert [len(scatter.data) for scatter in scatters] == [2, 1]
    symbols = [{trace.customdata[0].split("-")[1]: trace.marker.symbol for trace in one.data} for one in scatters]
    assert symbols[1].items() <= symbols[0].items()  # a model looks the same in both


class Repository:
    """What asks the Hub."""

    def __init__(self, found: list[HubCheckpoint]) -> None:
        self.found = found
        self.asked: list[Any] = []

    def list_checkpoints(self, repo: str, revision: str | None) -> tuple[list[HubCheckpoint], list[CheckpointError]]:
        self.asked.append((repo, revision))
        return self.found, [CheckpointError.of("hub-not-found", name=EVIL)]

    def pull(self, offer: Entry) -> Entry:
        if offer.loss == "log-mag":
            raise CheckpointError.of("hub-cut-off", name="it")
        self.asked.append(offer.key)
        return offer


def test_a_repository_is_shown_before_anything_is_fetched(
    tab: ModelsTab, worker: Any, request_: gr.Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = [replace(entry.manifest, size=7) for entry in worker.offers.all() if entry.manifest]
    repository = Repository([HubCheckpoint("a/b", "0" * 40, manifest, None) for manifest in manifests])
    monkeypatch.setattr(hub, "list_checkpoints", repository.list_checkpoints)
    monkeypatch.setattr(worker.offers, "pull", repository.pull)
    found, said, choice, card, button = tab.on_look(" a/b ", "", request_)
    assert repository.asked == [("a/b", None)] and EVIL not in said
    assert "apache-2.0" in value(choice, "choices")[0][0] and "MB" in value(choice, "choices")[0][0]
    assert "open" in card and value(button, "visible") is True
    said, *_ = tab.on_pull(found, found[0].key, request_)
    assert repository.asked[-1] == found[0].key and "half/hybrid" in said
    said, *_ = tab.on_pull(found, found[1].key, request_)
    assert "broke off" in said
    assert "author/name" in tab.on_look("  ", "", request_)[1]


def test_the_recordings_of_the_board_are_told_in_the_readers_language() -> None:
    about = "130 recordings (LibriSpeech test-other, English; AISHELL-3, Mandarin; recorded noise, -5 to 15 dB)"
    assert numbers.recordings(Say("en"), about) == about
    assert numbers.recordings(Say("zh"), about).startswith("130 段录音（LibriSpeech test-other，英语；")
    assert numbers.recordings(Say("zh"), "2 recordings (mine)") == "2 recordings (mine)"


def test_a_loss_is_all_that_is_listed(ours: Board, say: Say) -> None:
    assert board.losses(ours)[:1] == ["hybrid"] and "log-mag" in board.losses(ours)
    listed = board.rows(ours, "all", "all", "hybrid")
    assert {row["loss"] for row in listed} == {"hybrid", None} and any(row["model"] == "half" for row in listed)
    assert [row["model"] for row in listed if row["loss"] is None] == ["noisy"]
    shown = board.table(say, ours, "all", "all", "log-mag")
    assert "log-mag" in shown and "hybrid" not in shown
    titles = [point.title for point in board.points(ours, "all", "all", "pesq_wb", "parameters", "log-mag")]
    assert titles and all(title.endswith("/log-mag") for title in titles)
