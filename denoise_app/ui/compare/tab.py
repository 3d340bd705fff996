"""The Compare tab: several denoisers over one recording, heard, seen and measured side by side."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import gradio as gr
from markupsafe import Markup

from denoise_app.audio.errors import AudioError
from denoise_app.inference.catalog import Entry
from denoise_app.plots.grid import spectrogram_grid, waveform_grid
from denoise_app.plots.page import page
from denoise_app.plots.theme import Words as FigureWords
from denoise_app.plots.trade import trade_figure
from denoise_app.ui.blind.tab import BlindPanel
from denoise_app.ui.blind.work import Material
from denoise_app.ui.parts import figures
from denoise_app.ui.parts.downloads import Bundle, OnDemand, links
from denoise_app.ui.parts.language import say_for
from denoise_app.ui.parts.markup import alert, empty, heading, hint
from denoise_app.ui.parts.measured import Numbers
from denoise_app.ui.parts.orders import AT_ONCE, QUIET, WORK, Given, Orders, Updates, under_way
from denoise_app.ui.parts.player import NOISY, build_player, player_value
from denoise_app.ui.parts.problems import Unready, explained
from denoise_app.ui.parts.receipt import Made, report
from denoise_app.ui.parts.scripts import SORTABLE, THEME
from denoise_app.ui.parts.site import Site
from denoise_app.ui.parts.source import Source
from denoise_app.ui.texts import LANGUAGES, Say
from denoise_app.ui.worker.background import Step
from denoise_app.ui.worker.session import Job, Session

from . import html, work
from .work import MOST, MOST_SECONDS, Column, Comparison, View

USUAL = ("mmse-lsa", "wiener")  # what the recommended denoiser is compared with where nothing was chosen
LEVELS = "levels"  # shown in the grid, instead of differences from a version
WIDE, PHONE = 3, 640  # panels side by side; px of the page's width below which there is one

Preset = Literal["columns", "losses"]


class CompareTab:
    """The tab's widgets, and what happens when they are used.

    Args:
        site: What it works with.
        page: The page that the tab lies in.
        tab: The tab.
    """

    def __init__(self, site: Site, page: gr.Blocks, tab: gr.Tab) -> None:
        self._site = site
        self._offers = site.worker.offers
        self.session = site.visit()
        self.screen = gr.Textbox("", visible="hidden")  # "light 1280": what figures are drawn for
        with gr.Column(elem_id="compare"):
            with gr.Row(elem_id="compare-controls", equal_height=False):
                with gr.Column(min_width=300):
                    self.source = Source(site, self.session, prefix="compare-")
                    self.audio = self.source.audio
                with gr.Column(min_width=300):
                    self._build_choice()
            with gr.Column(elem_id="compare-outcome", elem_classes=["outcome"]):
                self._build_outcome()
        self.orders = Orders(site.sessions, self.session, self.said, [self.start], self.cancel, "compare.cancelled")
        self._wire(page, tab)

    # ------------------------------------------------------------------------------------------------- widgets

    def _build_choice(self) -> None:
        words = self._site.words
        with gr.Column(elem_classes=["sheet"]):
            gr.HTML(words.made("html.compare", lambda say: heading(say("compare.heading"))))
            self.preset = gr.Radio(
                [(words(f"compare.preset.{preset}"), preset) for preset in ("columns", "losses")],
                value="columns",
                label=words("compare.preset"),
                elem_id="compare-preset",
            )
            minutes = f"{MOST_SECONDS / 60:g}"
            self.columns = gr.Dropdown(
                [],
                multiselect=True,
                max_choices=MOST,
                label=words.made("html.compare-columns", lambda say: say("compare.columns", most=MOST)),
                info=words.made("html.compare-columns-help", lambda say: say("compare.columns-help", minutes=minutes)),
                elem_id="compare-columns",
            )
            self.model = gr.Dropdown(
                [],
                visible=False,
                filterable=False,
                label=words("compare.model"),
                info=words("compare.model-help"),
                elem_id="compare-model",
            )
            self.start = gr.Button(words("compare.start"), variant="primary", size="lg", elem_id="compare-start")

    def _build_outcome(self) -> None:
        words = self._site.words
        self.said, self.cancel = under_way(words, "compare-said", "compare-cancel")
        nothing_yet = words.made(
            "html.compare-empty", lambda say: empty(say("compare.empty"), say("compare.empty-more"))
        )
        self.empty = gr.HTML(nothing_yet, elem_id="compare-empty")
        with gr.Column(elem_id="compare-result", elem_classes=["result"]):
            self.heading = gr.HTML()
            self.player = build_player(LANGUAGES, elem_id="compare-player")
            self.favours = gr.HTML(elem_id="compare-favours")
            self.downloads = gr.HTML(elem_id="compare-downloads")
            self.table = gr.HTML(js_on_load=SORTABLE, elem_id="compare-table")
            self.blind = BlindPanel(self._site, self.session, _material)
            with gr.Column(elem_classes=["sheet", "timed"], visible=False) as self.figures:
                with gr.Row(elem_classes=["figures-head"]):
                    gr.HTML(words.made("html.compare-figures", lambda say: heading(say("compare.figures"))))
                    self.show = gr.Dropdown(
                        [], label=words("compare.show"), show_label=False, filterable=False, elem_id="compare-show"
                    )
                self.grid = gr.Plot(label=words("compare.grid"), show_label=False, elem_id="compare-grid")
                self.grid_said = gr.HTML()
                gr.HTML(words.made("html.compare-removed", lambda say: heading(say("compare.removed"), 3)))
                self.removed = gr.Plot(label=words("compare.removed"), show_label=False, elem_id="compare-removed")
                gr.HTML(words.made("html.compare-removed-help", lambda say: hint(say("compare.removed-help"))))
            with gr.Column(elem_classes=["sheet"], visible=False) as self.trading:
                gr.HTML(words.made("html.compare-trade", lambda say: heading(say("compare.trade"))))
                self.trade = gr.Plot(label=words("compare.trade"), show_label=False, elem_id="compare-trade")
                gr.HTML(words.made("html.compare-trade-help", lambda say: hint(say("compare.trade-help"))))
                self.trade_said = gr.HTML()

    # -------------------------------------------------------------------------------------------------- wiring

    def _wire(self, page: gr.Blocks, tab: gr.Tab) -> None:
        page.load(self.on_load, None, [self.columns, self.model], **AT_ONCE)
        tab.select(self.on_select, None, [self.columns, self.model], **AT_ONCE)
        self.preset.change(self.on_preset, self.preset, [self.columns, self.model], **AT_ONCE)
        self.source.wire()

        shown = [self.empty, self.heading, self.player, self.table, self.downloads, self.favours, self.show]
        asked = {self.session, self.audio, self.preset, self.columns, self.model}
        run = self.orders.wire(self.start, self.on_compare, asked, shown, "#compare-outcome", **WORK)
        drawn = [self.figures, self.grid, self.grid_said, self.removed, self.trading, self.trade, self.trade_said]
        drawing: dict[str, Any] = {
            "fn": self.on_draw,
            "inputs": [self.session, self.show, self.screen],
            "outputs": [self.session, self.said, *drawn],
            "js": SCREEN,
        }
        run.then(**drawing, **QUIET)
        self.blind.follow(run)
        run.then(self.on_measure, self.session, [self.session, self.table, self.downloads], **QUIET)
        self.show.input(**drawing, **AT_ONCE)
        self.cancel.click(self.orders.on_cancel, self.session, self.orders.told, **AT_ONCE)

    # ---------------------------------------------------------------------------------------------- what to compare

    def on_load(self, request: gr.Request) -> tuple[Any, Any]:
        """Both lists, with something chosen that is worth hearing."""
        say, offers = say_for(request), self._offers.all()
        best, live = self._offers.recommended(), self._offers.recommended("live")
        sisters = [offer for offer in offers if offer.model == best.model and offer.key != best.key]
        others = [live] if live.key != best.key else sisters[:1]
        others += [offer for model in USUAL for offer in offers if offer.model == model]
        chosen = list(dict.fromkeys(offer.key for offer in (best, *others)))[:3]
        several = models_with_losses(offers)
        return (
            gr.Dropdown(choices=self._choices(say), value=chosen, multiselect=True),
            gr.Dropdown(choices=several, value=next(iter(several), None)),
        )

    def on_hand(self, key: str, columns: list[str] | None) -> tuple[Preset, Any]:
        """A denoiser that another tab has used becomes the first column, whatever was to be compared before."""
        chosen = list(dict.fromkeys([key, *(columns or [])]))
        return "columns", gr.update(value=chosen[:MOST])

    def on_select(self, request: gr.Request) -> tuple[Any, Any]:
        """Both lists again, when the tab is opened: checkpoints may have been found on the Hub since."""
        several = models_with_losses(self._offers.all())
        return gr.Dropdown(choices=self._choices(say_for(request))), gr.Dropdown(choices=several)

    def _choices(self, say: Say) -> list[tuple[str, str]]:
        best = self._offers.recommended()
        return [(html.choice(say, offer, offer.key == best.key), offer.key) for offer in self._offers.all()]

    def on_preset(self, preset: Preset) -> tuple[Any, Any]:
        return gr.Dropdown(visible=preset == "columns"), gr.Dropdown(visible=preset == "losses")

    def _chosen(self, say: Say, given: Given) -> list[Entry]:
        """The denoisers that were asked for."""
        if given[self.preset] == "columns":
            return [self._offers.find(key) for key in given[self.columns] or []]
        if given[self.model] is None:
            raise Unready(say("compare.no-model"))
        losses: dict[str | None, Entry] = {}
        for offer in self._offers.all():
            if offer.model == given[self.model]:
                losses.setdefault(offer.loss, offer)  # a loss once, where the Hub has it too
        return list(losses.values())

    # ------------------------------------------------------------------------------------------------- comparing

    def on_compare(self, given: Given, request: gr.Request) -> Iterator[Updates]:
        """Runs what was ordered."""
        say = say_for(request)
        session: Session[Comparison] = given[self.session]

        def carry_out(job: Job) -> Iterator[Updates]:
            offers = self._chosen(say, given)
            work.checked(offers)  # before the recording is looked for: it is the nearer mistake
            steps = work.compare(self._site.worker, session, self._recording(say, given, session), offers, job)
            yield from self._followed(say, session, steps, offers)

        yield from self.orders.carry_out(say, session, carry_out)

    def _recording(self, say: Say, given: Given, session: Session[Comparison]) -> Path:
        path = given[self.audio]
        if not path:
            raise Unready(say("error.no-recording-to-compare"))
        if not Path(path).is_file():
            raise Unready(say("error.gone"))
        return session.adopt(Path(path))

    def _followed(
        self, say: Say, session: Session[Comparison], steps: Iterator[Step | Comparison], offers: Sequence[Entry]
    ) -> Iterator[Updates]:
        """Updates of the page for the steps of the work."""
        done, heard = 0, False
        for step in steps:
            if isinstance(step, Comparison):
                done, heard = len(step.columns), bool(step.ready)
                if heard:
                    yield self._shown(say, session, step)
            elif done < len(offers):
                yield {self.session: session, self.said: html.progress(say, step, offers, done, heard)}

    def _shown(self, say: Say, session: Session[Comparison], compared: Comparison) -> Updates:
        """A comparison on the page, as far as it has come."""
        versions = html.versions(say, compared)
        differences = [(say("compare.show.difference", name=version.label), version.key) for version in versions]
        return {
            self.session: session,
            self.empty: "",
            self.heading: html.result_heading(say, compared),
            self.player: player_value(versions, selected=versions[1].key),
            self.table: html.numbers_table(say, compared),
            self.downloads: "",
            self.favours: html.favours(say, compared),
            self.show: gr.Dropdown(choices=[(say("compare.show.levels"), LEVELS), *differences], value=LEVELS),
        }

    def on_measure(self, session: Session[Comparison] | None, request: gr.Request) -> Iterator[Updates]:
        """The numbers of what is shown, as they become known."""
        yield {self.session: session}
        if session is None or session.result is None or session.busy:
            return
        say, begun = say_for(request), session.result
        try:
            for compared in work.measure(self._site.worker, session, begun):
                yield {self.session: session, self.table: html.numbers_table(say, compared)}
            if (shown := session.latest(begun)) and shown.measured:
                yield {self.session: session, self.downloads: self._offer(say, session, shown)}
        except Exception as error:
            if shown := session.latest(begun):  # else its files have gone with it
                yield {self.table: html.numbers_table(say, shown) + alert(explained(say, error))}

    def _offer(self, say: Say, session: Session[Comparison], compared: Comparison) -> Markup:
        """The link to a zip of it all: every sound with a report that `replay` takes, and the figures."""
        stem = compared.path.stem
        files: dict[str, Path | OnDemand] = {compared.path.name: compared.path}
        for column in compared.ready:
            name = f"{stem}.{column.key.replace('/', '-')}"
            files |= {f"{name}{column.path.suffix}": column.path, f"{name}.report.json": _reported(compared, column)}
        spectrograms = html.spectrograms(say, compared, work.look(self._site.worker, session, compared))
        drawn = compared.ready[0].path.with_name("comparison.html")
        drawn.write_text(page(spectrograms, compared.path.name, say.language, figure_words(say)), "utf-8")
        archive = f"{stem}.compared.zip"
        token = self._site.downloads.offer(session.folder, Bundle(files | {f"{stem}.compared.html": drawn}, archive))
        sounds = {
            html.title(say, compared, column.offer): f"{stem}.{column.key.replace('/', '-')}{column.path.suffix}"
            for column in compared.ready
        }
        return links(say, token, {"compared": archive}) + html.single_downloads(say, token, sounds)

    # ------------------------------------------------------------------------------------------------- figures

    def on_draw(self, session: Session[Comparison] | None, show: str, screen: str, request: gr.Request) -> Updates:
        """The figures of what is shown, for a screen such as "light 1280": its theme, and the page's width in px."""
        say = say_for(request)
        if session is None:
            return {self.session: None, self.said: alert(say("error.stale-comparison"))}
        if session.result is None:
            return {self.session: session}
        compared = session.result
        try:
            view = work.look(self._site.worker, session, compared)
        except AudioError as error:
            gone = say("error.stale-comparison") if error.reason == "missing" else explained(say, error)
            return {self.session: session, self.said: alert(gone)}
        except Exception as error:
            return {self.session: session, self.said: alert(explained(say, error))}
        return {self.session: session} | self._figures(say, compared, view, show, screen)

    def _figures(self, say: Say, compared: Comparison, view: View, show: str, screen: str) -> Updates:
        theme, width = screen.split()
        across = 1 if int(width) < PHONE else WIDE
        style: dict[str, Any] = {"theme": theme, "words": figure_words(say)}
        names = html.labels(say, compared)
        keys = [NOISY, *(column.key for column in compared.ready)]
        looks = [view.columns[key] for key in keys[1:]]
        spectrograms = html.spectrograms(say, compared, view)
        reference = keys.index(show) if show in keys else None
        removed = list(zip(names[1:], (look.removed for look in looks), strict=True))
        points = [
            (title, look.noise_db, look.speech_db)
            for title, look in zip(names[1:], looks, strict=True)
            if look.noise_db is not None and look.speech_db is not None
        ]
        return {
            self.figures: gr.Column(visible=True),
            self.grid: spectrogram_grid(spectrograms, across, reference=reference, **style),
            self.grid_said: html.said_of_grid(say, compared, reference),
            self.removed: waveform_grid(removed, across, **style),
            self.trading: gr.Column(visible=True),
            self.trade: gr.Plot(trade_figure(points, **style) if points else None, visible=bool(points)),
            self.trade_said: html.said_of_figures(say, compared, view),
        }


def _reported(compared: Comparison, column: Column) -> Path:
    """The report of a column, beside its sound."""
    assert column.rendered is not None
    seconds = compared.info.seconds
    made = Made(
        recording=compared.path,
        offer=column.offer,
        settings=work.SETTINGS,
        rendered=column.rendered,
        device=column.device,
        real_time_factor=column.computing / seconds if seconds else 0.0,
        numbers=Numbers(column.numbers),
    )
    written = column.path.with_name("report.json")
    written.write_text(json.dumps(report(made), indent=1, ensure_ascii=False), "utf-8")
    return written


def models_with_losses(offers: Sequence[Entry]) -> list[str]:
    """The models that have been trained for more than one loss, those with the most losses first."""
    pairs = {(offer.model, offer.loss) for offer in offers if offer.loss is not None}
    losses = Counter(model for model, _ in pairs)
    models = dict.fromkeys(offer.model for offer in offers if losses[offer.model] > 1)
    return sorted(models, key=lambda model: -losses[model])


def figure_words(say: Say) -> FigureWords:
    more = {"attenuation": say("compare.speech"), "noise_attenuation": say("compare.noise")}
    return figures.words(say, difference=say("unit.db"), **more)


def _material(session: Session[Comparison] | None) -> Material | None:
    """What there is to listen to blindly."""
    return work.material(session.result) if session is not None and session.result is not None else None


SCREEN = f"(session, show) => [session, show, ({THEME}) + ' ' + innerWidth]"
