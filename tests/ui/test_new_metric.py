"""A metric is one row: added to the table and to the texts, it is measured and shown everywhere."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from denoise_app.audio.clip import Clip
from denoise_app.checkpoints.card import card
from denoise_app.checkpoints.manifest import Manifest
from denoise_app.evaluation import leaderboard, losses_page
from denoise_app.evaluation.evaluate import Candidate, score_pair, summarise
from denoise_app.evaluation.leaderboard import FORMAT_VERSION, Board
from denoise_app.evaluation.pairs import PairFiles, mix, prepare
from denoise_app.evaluation.sweep import scores
from denoise_app.inference.engine import Settings
from denoise_app.metrics.report import Measured, score
from denoise_app.metrics.table import METRICS, Metric, Place, Take, shown
from denoise_app.ui.bench import html as bench_html
from denoise_app.ui.bench import work as bench
from denoise_app.ui.clean import html as clean_html
from denoise_app.ui.clean import work as flow
from denoise_app.ui.compare import html as compare_html
from denoise_app.ui.compare.work import Column, Comparison
from denoise_app.ui.models import html as models_html
from denoise_app.ui.parts import denoiser, numbers
from denoise_app.ui.texts import LANGUAGES, Say
from denoise_app.ui.worker.session import Session

RATE = 16_000
TITLES = {"en": "Crest factor", "zh": "峰值因数"}
PLACES: tuple[Place, ...] = ("bench", "evaluate", "leaderboard", "about", "summary")


def crest(take: Take) -> float:
    """The function: peak over RMS, dB."""
    peak, power = np.abs(take.samples).max(), np.mean(np.square(take.samples, dtype=np.float64))
    return float(20 * np.log10(peak) - 10 * np.log10(power))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the slow metrics, which are not needed to see a new one."""
    for metric in list(METRICS.values()):
        if metric.slow:
            monkeypatch.setitem(METRICS, metric.key, replace(metric, shown=()))


@pytest.fixture(params=["true", "estimated"])
def row(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Metric:
    """The row and the texts: all that a new metric adds beside its function."""
    against_clean = request.param == "true"
    places: tuple[Place, ...] = PLACES if against_clean else ("clean", "evaluate", "leaderboard", "about")
    made = Metric("crest", "crest factor", "dB", 3, "lower", crest, places, needs_reference=against_clean)
    monkeypatch.setitem(METRICS, "crest", made)
    for language, title in TITLES.items():
        monkeypatch.setitem(LANGUAGES[language], "title.crest", title)
        monkeypatch.setitem(LANGUAGES[language], "cards.crest-how", f"{title} = 20 log (peak / RMS).")
    return made


@pytest.fixture(params=["en", "zh"])
def say(request: pytest.FixtureRequest) -> Say:
    return Say(request.param)


@pytest.fixture
def pair(speech: Clip, tmp_path: Path) -> PairFiles:
    soundfile.write(tmp_path / "clean.wav", speech.samples[0, : 2 * RATE], RATE, "FLOAT")
    mixture = mix(prepare(tmp_path / "clean.wav", "white", 0), 5.0)
    for side in ("clean", "noisy"):
        soundfile.write(tmp_path / f"{side}.wav", getattr(mixture, side), RATE, "FLOAT")
    return PairFiles("a.wav", tmp_path / "clean.wav", tmp_path / "noisy.wav")


def text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def board_of(pair: PairFiles) -> Board:
    facts: dict[str, Any] = {"kind": "neural", "causal": True, "latency_ms": 8.0, "parameters": 1000, "rtf": 0.01}
    found = summarise([score_pair(pair, Candidate("noisy"))]) | facts
    rows = [found | {"model": model, "loss": loss} for model, loss in (("noisy", None), ("gru", "mse"))]
    return {"format_version": FORMAT_VERSION, "data": {"about": "one pair"}, "rows": rows}


@pytest.mark.slow
def test_it_is_measured(row: Metric, pair: PairFiles) -> None:
    sides = pair.load()
    clean = sides.clean if row.needs_reference else None
    expected = crest(Take(sides.noisy, RATE))
    assert score(sides.noisy, RATE, clean)["crest"] == expected
    assert score_pair(pair, Candidate("noisy")).scores["crest"] == expected
    assert ("crest" in score_pair(pair, Candidate("noisy"), "clipped").scores) == ("summary" in row.shown)
    assert ("crest" in scores(sides, sides.noisy)) == ("bench" in row.shown)


def test_it_is_a_column_of_the_leaderboard_in_markdown_and_on_the_page(row: Metric, pair: PairFiles, say: Say) -> None:
    board = board_of(pair)
    mean = f"{board['rows'][0]['scores']['crest']['mean']:.3f}"
    heading = "crest factor dB ↓" if row.needs_reference else "crest factor dB (estimated) ↓"
    assert f"| {heading} |" in leaderboard.table(board) and f"{mean} ± 0.000" in leaderboard.table(board)
    assert heading in losses_page.measured(board)
    page = models_html.table(say, board, "all", "all")
    assert TITLES[say.language] in page and f"{say('compare.lower')}" in page and mean in page
    assert TITLES[say.language] in models_html.said_of_matrix(say, board, "all", "crest")
    assert numbers.title_and_unit(say, row) in [numbers.title_and_unit(say, metric) for metric in shown("leaderboard")]
    assert (mean in leaderboard.matrix(board)) == ("summary" in row.shown)


def test_it_is_in_the_card_of_a_checkpoint_and_beside_it_on_the_page(row: Metric, worker: Any, say: Say) -> None:
    manifest = Manifest("gru", "mse", sample_rate=RATE, scores={"crest": 12.3456}, noisy_scores={"crest": 10.0})
    assert f"| {row.heading} | 10.000 | 12.346 |" in card(manifest)
    offer = replace(worker.offers.recommended(), manifest=manifest)
    assert f"{TITLES[say.language]} 12.346 dB (10.000)" in text(denoiser.about(say, offer))


def test_it_is_in_the_table_of_the_bench_and_has_a_curve(
    row: Metric, pair: PairFiles, worker: Any, session: Session, say: Say
) -> None:
    asked = bench.Recorded(pair.noisy, pair.clean)
    *_, trial = bench.run(worker, session, asked, (worker.offers.all()[2],), session.begin())
    assert isinstance(trial, bench.Trial)
    told = text(bench_html.scores_table(say, trial))
    assert (f"{TITLES[say.language]} dB · ↓ {say('compare.lower')}" in told) == ("bench" in row.shown)
    swept = bench.Swept(bench.Mix(pair.clean, "white", 0, 5.0), (), (0.0, 5.0), bench.Sweep())
    axes = {axis.key: axis for axis in bench_html.axes(say, swept)}
    assert ("crest" in axes) == ("summary" in row.shown)
    if "crest" in axes:
        assert TITLES[say.language] in axes["crest"].title and axes["crest"].least == pytest.approx(0.05)


def test_it_is_a_card_in_clean_and_a_column_in_compare(
    row: Metric, worker: Any, say: Say, result: Any, comparison: Comparison
) -> None:
    found = replace(result, numbers=replace(result.numbers, measured={"crest": Measured(12.0, 14.5)}))
    cards, table = text(clean_html.cards(say, found)), text(compare_html.numbers_table(say, comparison))
    wanted = "clean" in row.shown
    assert (f"{TITLES[say.language]} i {TITLES[say.language]} = 20 log (peak / RMS)." in cards) == wanted
    assert ("14.500 dB" in cards) == wanted
    assert (TITLES[say.language] in table) == wanted and ("14.500" in table) == wanted


@pytest.fixture
def result(worker: Any, session: Session, pair: PairFiles) -> Any:
    order = flow.Order(session.adopt(pair.noisy), worker.offers.recommended(), "each", Settings())
    *_, found = flow.denoise(worker, session, order, session.begin(), preview=False)
    return found


@pytest.fixture
def comparison(worker: Any, session: Session, pair: PairFiles, result: Any) -> Comparison:
    column = Column(worker.offers.recommended(), result.rendered, numbers={"crest": Measured(12.0, 14.5)})
    return Comparison(pair.noisy, result.info, (column,))
