"""The Bench tab's handlers, with a fake worker and no browser."""

from __future__ import annotations

import csv
import errno
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from denoise_app.audio.clip import Clip
from denoise_app.audio.mix import NOISES
from denoise_app.evaluation import sweep
from denoise_app.evaluation.sweep import Measurements
from denoise_app.metrics.activity import deviation
from denoise_app.metrics.errors import MetricUnavailable
from denoise_app.metrics.table import METRICS
from denoise_app.ui.app import EXAMPLES
from denoise_app.ui.bench import html as bench_panels
from denoise_app.ui.bench import work as bench
from denoise_app.ui.bench.tab import FILE, BenchTab
from denoise_app.ui.parts.downloads import Bundle, Downloads
from denoise_app.ui.parts.site import Examples, Site
from denoise_app.ui.texts import CHINESE, ENGLISH, Say
from denoise_app.ui.worker.session import Sessions

from .. import tab_page
from ..tab_page import TabPage, unserved

RATE = 16_000


class Page(TabPage):
    def __init__(self, worker: Any, sessions: Sessions, clean: Path, request: Any = tab_page.ENGLISH) -> None:
        noises = sorted(BENCH_EXAMPLES.glob("noise-*"))
        with unserved() as blocks:
            self.downloads = Downloads()
            tab = BenchTab(Site(worker, sessions, self.downloads, examples=Examples(noises=noises)), blocks)
        values: dict[Any, Any] = {
            tab.session: None, tab.mode: "mix", tab.clean: str(clean), tab.kind: "pink", tab.noise: None, tab.snr: 5,
            tab.seed: 0, tab.pair_noisy: None, tab.pair_clean: None, tab.offers: ["half/hybrid", "wiener"],
            tab.step: 10, tab.theme: "light",
        }  # fmt: skip
        super().__init__(tab, values, request)

    def run(self) -> list[dict[Any, Any]]:
        self.order()
        return self.follow(self.tab.on_run(dict(self.values), self.request))

    def sweep(self) -> list[dict[Any, Any]]:
        self.order()
        return self.follow(self.tab.on_sweep(dict(self.values), self.request))

    @property
    def bundle(self) -> Bundle:
        """What can be downloaded now."""
        token = re.findall(r'href="results/([^/]+)/bench-results.zip"', self.values[self.tab.downloads])[0]
        return self.downloads._offered[token][1]


BENCH_EXAMPLES = EXAMPLES / "bench"
QUICK = ("snr", "si_sdr", "stoi", "mse")


@pytest.fixture(autouse=True)
def few_metrics(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """The quick ones only, but for tests that ask for every one: each number is tested where it is computed."""
    if "every_metric" not in request.fixturenames:
        monkeypatch.setattr(bench, "scores", partial(sweep.scores, wanted=QUICK))
        monkeypatch.setitem(METRICS, "pesq_wb", replace(METRICS["pesq_wb"], shown=("bench",)))


@pytest.fixture
def every_metric() -> None:
    """Asked for by name."""


@pytest.fixture
def clean(speech: Clip, tmp_path: Path) -> Path:
    path = tmp_path / "my speech.wav"
    soundfile.write(path, speech.samples[0, : 2 * RATE], RATE, "PCM_16")
    return path


@pytest.fixture
def page(worker: Any, sessions: Sessions, clean: Path) -> Page:
    return Page(worker, sessions, clean)


def text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


# ------------------------------------------------------------------------------------------------------------- mixtures


@pytest.mark.slow
def test_a_mixture_is_measured_truly_and_can_be_heard(page: Page, every_metric: None) -> None:
    steps = page.run()
    tab, values = page.tab, page.values
    assert values[tab.said] == "" and values[tab.empty] == ""
    assert values[tab.start]["interactive"] is True and values[tab.cancel]["visible"] is False
    versions = values[tab.player]["versions"]
    assert [version["key"] for version in versions] == ["clean", "noisy", "half/hybrid", "wiener"]
    assert all(version["gain_db"] <= 0 for version in versions)
    told = text(values[tab.heading])
    assert "Mixed at 5 dB" in told and "my speech.wav + Pink" in told and "SNR 5.00 dB" in told and "P.56" in told
    table = text(values[tab.table])
    for key in ("SNR (true)", "SI-SDR", "Segmental SNR", "PESQ-WB", "PESQ-NB", "STOI", "ESTOI", "MSE"):
        assert key in table
    assert "↑ higher is better" in table and "↓ lower is better" in table
    assert sum(tab.table in step for step in steps) == 3  # the noisy side first, then each denoiser as it comes


def test_energy_and_zero_crossings_are_drawn_and_said(page: Page) -> None:
    steps = page.run()
    tab, values = page.tab, page.values
    figure, said = values[tab.activity], text(values[tab.activity_said])
    sounds = ["Clean", "Noisy", "half/hybrid", "wiener"]
    quantities = "Energy (dBFS)", "Zero-crossing rate"
    assert [trace.name for trace in figure.data] == [f"{sound} · {what}" for what in quantities for sound in sounds]
    half = page.session.result.trial.takes[0].activity
    np.testing.assert_array_equal(figure.data[2].y, half.energy_db)
    apart = deviation(half, page.session.result.trial.clean_activity)
    assert f"half/hybrid {apart.energy_db:.1f} {apart.crossings:.3f}" in said
    assert "comes closest to the clean speech" in said and said.count("hybrid") + said.count("wiener") == 3
    first = next(step for step in steps if tab.activity in step)
    assert len(first[tab.activity].data) == 4 and "The energy of the noisy input differs" in first[tab.activity_said]
    chinese = bench_panels.said_of_activity(Say("zh"), page.session.result.trial)
    assert "能量随时间的变化最接近干净语音的是" in chinese and chinese.count("<tr>") == 1 + 3


def test_half_of_everything_keeps_what_does_not_hear_levels(page: Page) -> None:
    page.run()
    trial = page.session.result.trial
    after = trial.takes[0].scores
    assert after["si_sdr"] == pytest.approx(trial.before["si_sdr"], abs=0.01)
    halved = 6.02 - 10 * np.log10(
        1 + 10 ** (-trial.before["snr"] / 10)
    )  # half the speech is missing, half the noise is in
    assert after["snr"] == pytest.approx(halved, abs=0.1)
    noisy, half = (soundfile.read(path)[0] for path in (trial.noisy, trial.takes[0].path))
    np.testing.assert_allclose(half, noisy / 2, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["noise-voices", FILE])
def test_noise_may_be_an_example_or_a_file(page: Page, recording: Callable[..., Path], kind: str) -> None:
    page.values[page.tab.kind] = kind
    page.values[page.tab.noise] = str(recording("my noise.wav", seconds=0.7, rate=22_050))
    page.values[page.tab.offers] = ["wiener"]
    page.run()
    told = text(page.values[page.tab.heading])
    if kind == FILE:
        assert "my speech.wav + my noise.wav" in told and "repeated" in told and "22.05 to 16 kHz" in told
    else:
        assert "noise-voices.flac" in told and "a place that the seed draws" in told


def test_a_new_run_replaces_the_files_of_the_old_one(page: Page) -> None:
    page.values[page.tab.offers] = ["wiener"]
    page.run()
    first = page.session.result.trial
    page.run()
    assert not first.noisy.exists() and page.session.result.trial.noisy.exists()
    assert len(list(page.session.folder.rglob("*.wav"))) == 3


def test_one_denoiser_that_fails_leaves_the_others(page: Page, worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    load = worker.offers.load

    def denoiser(offer: Any) -> Any:
        if offer.key == "half/hybrid":
            raise RuntimeError("secret /home/x")
        return load(offer)

    monkeypatch.setattr(worker.offers, "load", denoiser)
    page.run()
    table = text(page.values[page.tab.table])
    assert "half/hybrid failed:" in table and "secret" not in table
    assert [version["key"] for version in page.values[page.tab.player]["versions"]] == ["clean", "noisy", "wiener"]
    page.sweep()
    assert "half/hybrid failed:" in text(page.values[page.tab.sweep_said])
    assert {point.name for point in page.session.result.swept.found.points} == {"wiener"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("widget", "value", "told"),
    [
        ("clean", None, "bench.no-speech"),
        ("clean", "/nowhere/gone.wav", "error.gone"),
        ("kind", FILE, "bench.no-noise"),
        ("seed", None, "bench.bad-seed"),
        ("seed", -1, "bench.bad-seed"),
        ("offers", [], "bench.how-many"),
        ("mode", "pair", "bench.no-pair"),
    ],
)
def test_what_is_missing_is_told_and_the_page_stays_usable(page: Page, widget: str, value: Any, told: str) -> None:
    kept = page.values[getattr(page.tab, widget)]
    page.values[getattr(page.tab, widget)] = value
    page.run()
    assert 'role="alert"' in page.said and text(ENGLISH[told]).format(most=6)[:30] in text(page.said)
    assert "/nowhere" not in page.said and page.values[page.tab.start]["interactive"] is True
    page.values[getattr(page.tab, widget)] = kept
    page.values[page.tab.offers] = ["wiener"]
    page.run()
    assert page.said == ""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["silence", "text", "short"])
def test_bad_speech_is_told_in_both_languages(
    worker: Any, sessions: Sessions, clean: Path, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "bad.wav"
    if kind == "text":
        path.write_text("this is text")
    else:
        soundfile.write(path, np.zeros(RATE if kind == "silence" else 100), RATE)
    for request, word in (
        (tab_page.ENGLISH, "speech" if kind != "text" else "sound file"),
        (tab_page.CHINESE, "bad.wav"),
    ):
        page = Page(worker, sessions, path, request)
        page.run()
        assert word in page.said and str(tmp_path) not in page.said and 'role="alert"' in page.said
        assert bool(re.search("[\u4e00-\u9fff]", page.said)) == (request is tab_page.CHINESE)


# ---------------------------------------------------------------------------------------------------------------- pairs


@pytest.fixture
def pair(page: Page, speech: Clip, tmp_path: Path) -> Page:
    """Two recordings; the noisy one begins 100 ms later."""
    clean = speech.samples[0, : 2 * RATE]
    late = np.concatenate([np.zeros(1600, np.float32), clean])[: clean.size]
    noise = np.random.default_rng(0).normal(0, 0.01, clean.size).astype(np.float32)
    soundfile.write(tmp_path / "noisy.wav", late + noise, RATE, "FLOAT")
    page.values |= {page.tab.mode: "pair", page.tab.pair_noisy: str(tmp_path / "noisy.wav")}
    page.values |= {page.tab.pair_clean: page.values[page.tab.clean], page.tab.offers: ["wiener"]}
    return page


def test_two_recordings_are_aligned_and_the_lag_is_told(pair: Page) -> None:
    pair.run()
    told = text(pair.values[pair.tab.heading])
    assert (
        "Lag +1600 samples (+100.00 ms)" in told
        and "the noisy recording starts later" in told
        and "correlation 0.9" in told
    )
    assert pair.session.result.trial.takes[0].scores["si_sdr"] > 0


def test_a_clean_file_of_other_speech_is_refused_with_its_correlation(pair: Page, speech: Clip, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "other.wav", speech.samples[0, -2 * RATE :], RATE, "FLOAT")
    pair.values[pair.tab.pair_clean] = str(tmp_path / "other.wav")
    pair.run()
    assert re.search(r"correlation is 0\.\d\d at best, and 0\.15 is needed", pair.said)
    assert pair.session.result is None


# ------------------------------------------------------------------------------------------------------------ the sweep


@pytest.mark.slow
def test_a_sweep_draws_curves_and_says_them(page: Page, worker: Any) -> None:
    steps = page.sweep()
    tab = page.tab
    figure = page.values[tab.plot]
    assert [trace.name for trace in figure.data] == ["half/hybrid", "wiener"] * 2
    assert list(figure.data[0].x) == [-10, 0, 10, 20, 30]
    np.testing.assert_allclose(figure.data[2].y, 0, atol=0.01)  # half of everything improves no SI-SDR
    told = page.values[tab.sweep_said]
    assert "wiener changes SI-SDR by" in text(told) and told.count("<tr>") == 1 + 10
    assert 'class="swept"' in page.values[tab.swept] and page.values[tab.empty] == ""
    assert any("Sweeping" in str(step.get(tab.said)) for step in steps)
    loaded = len(worker.offers.loaded)
    page.sweep()
    assert len(worker.offers.loaded) == loaded  # everything was known


def test_a_cancelled_sweep_shows_what_is_done_and_goes_on_from_there(
    page: Page, worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.values[page.tab.offers] = ["wiener"]
    put = Measurements.put
    measured: list[Any] = []

    def stop_after_two(self: Measurements, key: Any, value: Any) -> None:
        put(self, key, value)
        measured.append(key)
        if len(measured) == 4:  # the noisy side and the result, at two SNRs
            page.session.stop()

    monkeypatch.setattr(Measurements, "put", stop_after_two)
    page.sweep()
    assert "Cancelled" in page.said
    page.take(page.tab.on_cancel(dict(page.values), page.request))
    assert list(page.values[page.tab.plot].data[0].x) == [-10, 0]
    assert page.values[page.tab.start]["interactive"] is True
    worker.offers.loaded.clear()
    page.sweep()
    assert list(page.values[page.tab.plot].data[0].x) == [-10, 0, 10, 20, 30] and len(worker.offers.loaded) == 3


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_sounds_and_numbers_can_be_taken_along(page: Page) -> None:
    page.run()
    alone = page.bundle
    assert set(alone.files) == {"clean.wav", "noisy.wav", "half-hybrid.wav", "wiener.wav", "scores.csv"}
    noisy, half, wiener = rows(alone.files["scores.csv"])
    assert [row["denoiser"] for row in (noisy, half, wiener)] == ["noisy", "half/hybrid", "wiener"]
    trial = page.session.result.trial
    assert float(noisy["si_sdr"]) == pytest.approx(trial.before["si_sdr"], rel=1e-5)
    assert float(wiener["mse"]) == pytest.approx(trial.takes[1].scores["mse"], rel=1e-5)

    page.sweep()
    both = page.bundle
    assert set(both.files) == {*alone.files, "sweep.csv"} and len(page.downloads._offered) == 1
    points = rows(both.files["sweep.csv"])
    assert [row["snr_db"] for row in points[::2]] == ["-10", "0", "10", "20", "30"]
    point = page.session.result.swept.found.points[1]
    assert points[1]["denoiser"] == point.name == "wiener"
    assert float(points[1]["si_sdr_before"]) == pytest.approx(point.before["si_sdr"], rel=1e-5)
    assert float(points[1]["stoi_after"]) == pytest.approx(point.after["stoi"], rel=1e-5)

    page.run()
    assert all(path.is_file() for path in page.bundle.files.values())


@pytest.mark.slow
def test_a_number_that_is_missing_is_left_empty(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = MetricUnavailable("silent", metric="STOI")
    monkeypatch.setattr(bench, "scores", lambda of, samples: {"si_sdr": 1.0, "stoi": reason})
    page.run()
    assert rows(page.bundle.files["scores.csv"])[0] == {"denoiser": "noisy", "si_sdr": "1", "stoi": ""}


def test_a_full_disk_takes_the_download_alone(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    page.run()
    assert "alert" in page.values[page.tab.downloads] and "<a " not in page.values[page.tab.downloads]
    assert page.ready and "wiener" in page.values[page.tab.table]


def test_what_came_before_a_cancel_can_be_taken_along(page: Page, worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    take = bench._take

    def stop_after_one(*given: Any) -> Any:
        page.session.stop()
        return take(*given)

    page.run()
    page.values[page.tab.offers] = ["wiener", "half/hybrid"]
    monkeypatch.setattr(bench, "_take", stop_after_one)
    page.run()
    assert page.values[page.tab.downloads] == ""
    page.take(page.tab.on_cancel(dict(page.values), page.request))
    assert set(page.bundle.files) == {"clean.wav", "noisy.wav", "scores.csv"}


def test_cancel_before_the_turn_has_come_does_nothing_at_all(page: Page, worker: Any) -> None:
    page.order()
    page.take(page.tab.on_cancel(dict(page.values), page.request))
    assert list(page.tab.on_run(dict(page.values), page.request)) == [{page.tab.session: page.session}]
    assert not worker.offers.loaded and "Cancelled" in page.said


def test_a_page_of_an_earlier_server_is_told_so(page: Page) -> None:
    page.refuse()
    assert "server was restarted" in page.said and page.ready
    page.take(page.tab.on_cancel(dict(page.values), page.request))  # without a session
    assert "Cancelled" in page.said


@pytest.mark.slow
def test_six_at_once_get_their_own(worker: Any, sessions: Sessions, clean: Path) -> None:
    pages = [Page(worker, sessions, clean) for _ in range(6)]
    for k, page in enumerate(pages):
        page.values |= {page.tab.snr: 5 * k, page.tab.seed: k, page.tab.offers: ["wiener"]}
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(Page.run, pages))
    assert len({page.session.folder for page in pages}) == 6
    for k, page in enumerate(pages):
        assert f"Mixed at {5 * k} dB" in page.values[page.tab.heading]
        assert page.session.result.trial.asked.seed == k and page.session.result.trial.snr_db == pytest.approx(
            5 * k, abs=0.01
        )


# ---------------------------------------------------------------------------------------------------------------- texts


@pytest.mark.slow
def test_everything_is_said_in_chinese_too(worker: Any, sessions: Sessions, clean: Path) -> None:
    page = Page(worker, sessions, clean, tab_page.CHINESE)
    page.values[page.tab.step] = 10
    page.run()
    page.sweep()
    shown = [page.values[widget] for widget in (page.tab.heading, page.tab.table, page.tab.swept, page.tab.sweep_said)]
    for html in shown:
        assert re.findall(r"[A-Za-z]{3,} [a-z]{2,} [a-z]{2,}", text(html)) == []
        assert re.search("[\u4e00-\u9fff]", html)
    assert "越高越好" in shown[1] or "↑" in shown[1]


def test_every_noise_has_a_name_in_words() -> None:
    for kind in (*NOISES, FILE, *(path.stem for path in BENCH_EXAMPLES.glob("noise-*.flac"))):
        assert f"bench.noise.{kind}" in ENGLISH and f"bench.noise.{kind}" in CHINESE
    for path in BENCH_EXAMPLES.glob("speech-*.flac"):
        assert f"bench.example.{path.stem}" in ENGLISH
    assert bench_panels.noise_label(Say("en"), "thunder") == "thunder"


def test_names_of_files_are_escaped(page: Page, clean: Path) -> None:
    odd = clean.rename(clean.with_name("<b>`x`.wav"))
    page.values |= {page.tab.clean: str(odd), page.tab.offers: ["wiener"]}
    page.run()
    assert "<b>`x`" not in page.values[page.tab.heading] and "&lt;b&gt;" in page.values[page.tab.heading]
