"""The Bench tab: noisy speech whose clean speech is known, true numbers before and after, curves over the SNR."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from denoise_app.audio.mix import NOISES
from denoise_app.evaluation.pairs import HIGHEST_SNR, LOWEST_SNR, MOST_SECONDS
from denoise_app.evaluation.sweep import snrs
from denoise_app.inference.catalog import Entry
from denoise_app.plots.scores import sweep_figure
from denoise_app.plots.theme import Theme
from denoise_app.plots.theme import Words as FigureWords
from denoise_app.plots.waveform import activity_figure
from denoise_app.ui.parts.denoiser import name
from denoise_app.ui.parts.downloads import links
from denoise_app.ui.parts.language import say_for
from denoise_app.ui.parts.markup import alert, empty, heading, hint
from denoise_app.ui.parts.orders import AT_ONCE, WORK, Given, Orders, Updates, under_way
from denoise_app.ui.parts.player import NOISY, build_player, player_value
from denoise_app.ui.parts.problems import Unready, explained
from denoise_app.ui.parts.scripts import THEME
from denoise_app.ui.parts.site import Site
from denoise_app.ui.parts.source import example_handler
from denoise_app.ui.texts import LANGUAGES, Say
from denoise_app.ui.worker.session import Job, Session

from . import html, work
from .work import MOST, STEPS, Found, Mix, Recorded, Swept, Trial

FILE = "file"  # the choice of a noise that is uploaded
USUAL_NOISE, USUAL_SNR, USUAL_STEP = "pink", 5, 5
SWEEP: dict[str, Any] = {"concurrency_id": "sweep", "concurrency_limit": 1}  # waits apart, for it takes minutes


class BenchTab:
    """The tab's widgets, and what happens when they are used.

    Args:
        site: What it works with.
        page: The page that the tab lies in.
    """

    def __init__(self, site: Site, page: gr.Blocks) -> None:
        self._site = site
        self._offers = site.worker.offers
        self._speech = site.examples.speech
        self._noises = {path.stem: path for path in site.examples.noises}
        self.session = site.visit()
        self.theme = gr.Textbox("light", visible="hidden")
        with gr.Row(elem_id="bench", equal_height=False):
            with gr.Column(elem_id="bench-controls", min_width=300):
                self._build_sounds()
                self._build_denoisers()
                self._build_sweep()
            with gr.Column(elem_id="bench-outcome", elem_classes=["outcome"], min_width=300):
                self._build_outcome()
        starts = [self.start, self.begin]
        texts = "bench.cancelled", "bench.refused"
        self.orders = Orders(site.sessions, self.session, self.said, starts, self.cancel, *texts)
        self._wire(page)

    # ------------------------------------------------------------------------------------------------- widgets

    def _build_sounds(self) -> None:
        words = self._site.words
        with gr.Column(elem_classes=["sheet"]):
            self.mode = gr.Radio(
                [(words(f"bench.mode.{mode}"), mode) for mode in ("mix", "pair")],
                value="mix",
                label=words("bench.mode"),
                elem_id="bench-mode",
            )
            with gr.Column() as self.mixing:
                gr.HTML(words.made("html.bench-speech", lambda say: heading(say("bench.speech"))))
                self.clean = self._upload("bench-clean", "bench.speech")
                gr.HTML(words.made("html.bench-examples", lambda say: hint(say("source.examples"))))
                with gr.Row(elem_id="bench-examples", elem_classes=["examples"]):
                    self.examples = [
                        gr.Button(words(f"bench.example.{path.stem}"), size="sm", min_width=0, scale=0)
                        for path in self._speech
                    ]
                gr.HTML(words.made("html.bench-noise", lambda say: heading(say("bench.noise"))))
                self.kind = gr.Dropdown(
                    self._noise_choices(),
                    value=USUAL_NOISE,
                    label=words("bench.kind"),
                    info=words("bench.kind-help"),
                    filterable=False,
                    elem_id="bench-kind",
                )
                with gr.Column(visible=False) as self.uploading:
                    self.noise = self._upload("bench-noise", "bench.noise-file")
                self.snr = gr.Slider(
                    LOWEST_SNR, HIGHEST_SNR, USUAL_SNR, step=0.5, label=words("bench.snr"), elem_id="bench-snr"
                )
                self.seed = gr.Number(0, precision=0, label=words("bench.seed"), info=words("bench.seed-help"))
            with gr.Column(visible=False) as self.pairing:
                gr.HTML(words.made("html.bench-pair-noisy", lambda say: heading(say("bench.pair-noisy"))))
                self.pair_noisy = self._upload("bench-pair-noisy", "bench.pair-noisy")
                gr.HTML(words.made("html.bench-pair-clean", lambda say: heading(say("bench.pair-clean"))))
                self.pair_clean = self._upload("bench-pair-clean", "bench.pair-clean")
                gr.HTML(words.made("html.bench-pair-help", lambda say: hint(say("bench.pair-help"))))

    def _upload(self, elem_id: str, label: str) -> gr.Audio:
        return gr.Audio(
            sources=["upload"],
            type="filepath",
            label=self._site.words(label),
            show_label=False,
            buttons=[],
            editable=False,  # the browser's trimming would change rate and bit depth
            elem_id=elem_id,
            elem_classes=["recording"],
        )

    def _noise_choices(self) -> list[Any]:
        """Noises by rule, recordings of noise, and a file of the user's own."""
        kinds = (*NOISES, *self._noises, FILE)
        made = self._site.words.made
        return [(made(f"html.bench-noise.{kind}", partial(html.noise_label, kind=kind)), kind) for kind in kinds]

    def _build_denoisers(self) -> None:
        words = self._site.words
        with gr.Column(elem_classes=["sheet"]):
            gr.HTML(words.made("html.bench-denoisers", lambda say: heading(say("model.heading"))))
            self.offers = gr.Dropdown(
                [  # as of now, so that a page of before a restart may still choose; loading it brings the newest
                    (words.made(f"html.bench-offer.{offer.key}", partial(name, offer=offer)), offer.key)
                    for offer in self._offers.all()
                ],
                multiselect=True,
                max_choices=MOST,
                label=words.made("html.bench-offers", lambda say: say("bench.denoisers", most=MOST)),
                elem_id="bench-denoisers",
            )
            self.start = gr.Button(words("bench.run"), variant="primary", size="lg", elem_id="bench-run")

    def _build_sweep(self) -> None:
        words = self._site.words
        with gr.Column(elem_classes=["sheet"], elem_id="bench-sweeping") as self.sweeping:
            gr.HTML(words.made("html.bench-sweep", lambda say: heading(say("bench.sweep"))))
            gr.HTML(words.made("html.bench-sweep-help", self._sweep_help))
            self.step = gr.Radio(
                [(f"{step} dB", step) for step in STEPS],
                value=USUAL_STEP,
                label=words("bench.step"),
                elem_id="bench-step",
            )
            self.begin = gr.Button(words("bench.sweep-start"), size="lg", elem_id="bench-sweep-start")

    @staticmethod
    def _sweep_help(say: Say) -> str:
        return hint(say("bench.sweep-help", low=f"{LOWEST_SNR:g}", high=f"{HIGHEST_SNR:g}"))

    def _build_outcome(self) -> None:
        words = self._site.words
        self.said, self.cancel = under_way(words, "bench-said", "bench-cancel")
        seconds = f"{MOST_SECONDS:g}"
        self.empty = gr.HTML(
            words.made(
                "html.bench-empty",
                lambda say: empty(say("bench.empty"), say("bench.empty-more", seconds=seconds)),
            ),
            elem_id="bench-empty",
        )
        # Hidden by page.css until they have a heading: what Gradio has not put on the page loses what generators send.
        with gr.Column(elem_id="bench-result"):
            self.heading = gr.HTML(elem_id="bench-heading")
            self.player = build_player(LANGUAGES, elem_id="bench-player")
            self.table = gr.HTML(elem_id="bench-table")
            with gr.Column(elem_classes=["sheet"], elem_id="bench-along-time"):
                gr.HTML(words.made("html.bench-activity", lambda say: heading(say("bench.activity"), 3)))
                self.activity = gr.Plot(label=words("bench.activity-plot"), show_label=False, elem_id="bench-activity")
                gr.HTML(words.made("html.bench-activity-help", lambda say: hint(say("bench.activity-help"))))
                self.activity_said = gr.HTML(elem_id="bench-activity-said")
        with gr.Column(elem_id="bench-sweep", elem_classes=["sheet"]):
            self.swept = gr.HTML(elem_id="bench-swept")
            self.plot = gr.Plot(label=words("bench.plot"), show_label=False, elem_id="bench-plot")
            gr.HTML(words.made("html.bench-plot-help", lambda say: hint(say("bench.plot-help"))))
            self.sweep_said = gr.HTML(elem_id="bench-sweep-said")
        self.downloads = gr.HTML(elem_id="bench-downloads")

    # -------------------------------------------------------------------------------------------------- wiring

    def _wire(self, page: gr.Blocks) -> None:
        page.load(self.on_load, None, self.offers, **AT_ONCE)
        page.load(None, None, self.theme, js=f"() => {THEME}", api_visibility="private")
        self.mode.change(self.on_mode, self.mode, [self.mixing, self.pairing, self.sweeping], **AT_ONCE)
        self.kind.change(lambda kind: gr.Column(visible=kind == FILE), self.kind, self.uploading, **AT_ONCE)
        for button, path in zip(self.examples, self._speech, strict=True):
            example = example_handler(self._site.sessions, self.session, path)
            button.click(example, self.session, [self.clean, self.session], **AT_ONCE)

        asked = {
            *(self.session, self.mode, self.clean, self.kind, self.noise, self.snr, self.seed),
            *(self.pair_noisy, self.pair_clean, self.offers, self.step, self.theme),
        }
        curve = [self.swept, self.plot, self.sweep_said]
        along_time = [self.activity, self.activity_said]
        shown = [self.empty, self.heading, self.player, self.table, *along_time, self.downloads]
        wire = self.orders.wire
        wire(self.start, self.on_run, asked, shown, "#bench-outcome", **WORK)
        wire(self.begin, self.on_sweep, asked, [self.empty, *curve, self.downloads], "#bench-outcome", **SWEEP)
        stopped = [*self.orders.told, *curve, self.downloads]
        self.cancel.click(self.on_cancel, {self.session, self.theme}, stopped, **AT_ONCE)

    # ------------------------------------------------------------------------------------------------------ choices

    def on_load(self, request: gr.Request) -> Any:
        """The list of denoisers, with the recommended one and a classical one chosen."""
        say, offers, best = say_for(request), self._offers.all(), self._offers.recommended()
        classical = [offer for offer in offers if offer.manifest is None and offer.model == "wiener"]
        chosen = list(dict.fromkeys(offer.key for offer in (best, *classical)))
        return gr.Dropdown(choices=[(name(say, offer), offer.key) for offer in offers], value=chosen)

    def on_mode(self, mode: str) -> tuple[Any, Any, Any]:
        mixing = mode == "mix"
        return gr.Column(visible=mixing), gr.Column(visible=not mixing), gr.Column(visible=mixing)

    def _chosen(self, say: Say, given: Given) -> tuple[Entry, ...]:
        keys = given[self.offers] or []
        if not 1 <= len(set(keys)) <= MOST:
            raise Unready(say("bench.how-many", most=MOST))
        return tuple(self._offers.find(key) for key in dict.fromkeys(keys))

    def _mix(self, say: Say, given: Given) -> Mix:
        clean, kind, seed = given[self.clean], given[self.kind], given[self.seed]
        if not clean:
            raise Unready(say("bench.no-speech"))
        if kind == FILE and not given[self.noise]:
            raise Unready(say("bench.no-noise"))
        if seed is None or seed < 0:
            raise Unready(say("bench.bad-seed"))
        noise: Path | str = Path(given[self.noise]) if kind == FILE else self._noises.get(str(kind), str(kind))
        self._check_there(say, Path(clean), noise)
        return Mix(Path(clean), noise, int(seed), float(given[self.snr]))

    def _recorded(self, say: Say, given: Given) -> Recorded:
        noisy, clean = given[self.pair_noisy], given[self.pair_clean]
        if not (noisy and clean):
            raise Unready(say("bench.no-pair"))
        self._check_there(say, Path(noisy), Path(clean))
        return Recorded(Path(noisy), Path(clean))

    @staticmethod
    def _check_there(say: Say, *paths: Path | str) -> None:
        if not all(path.is_file() for path in paths if isinstance(path, Path)):
            raise Unready(say("error.gone"))

    # --------------------------------------------------------------------------------------------------------- work

    def on_run(self, given: Given, request: gr.Request) -> Iterator[Updates]:
        """A mixture, or two recordings, through the chosen denoisers."""
        say = say_for(request)
        session: Session[Found] = given[self.session]

        def carry_out(job: Job) -> Iterator[Updates]:
            asked = self._mix(say, given) if given[self.mode] == "mix" else self._recorded(say, given)
            offers = self._chosen(say, given)
            for step in work.run(self._site.worker, session, asked, offers, job):
                if isinstance(step, Trial):
                    yield self._shown(say, step, given[self.theme])
                else:
                    yield {self.said: html.progress(say, step)}
            yield self._offered(say, session)

        yield from self.orders.carry_out(say, session, carry_out)

    def on_sweep(self, given: Given, request: gr.Request) -> Iterator[Updates]:
        """Improvements over the SNR, point by point."""
        say = say_for(request)
        session: Session[Found] = given[self.session]

        def carry_out(job: Job) -> Iterator[Updates]:
            asked, offers = self._mix(say, given), self._chosen(say, given)
            at = snrs(given[self.step] if given[self.step] in STEPS else USUAL_STEP)
            for step in work.sweep(self._site.worker, session, asked, offers, at, job):
                if isinstance(step, Swept):
                    yield {self.empty: "", **self._drawn(say, step, given[self.theme])}
                else:
                    yield {self.said: html.progress(say, step)}
            yield self._offered(say, session)

        yield from self.orders.carry_out(say, session, carry_out)

    def on_cancel(self, given: Given, request: gr.Request) -> Updates:
        """Stops what is under way; what is done can be downloaded, of a sweep it is shown."""
        session: Session[Found] | None = given[self.session]
        told = self.orders.on_cancel(session, request)
        updates: Updates = dict(zip(self.orders.told, told, strict=True))
        if session is None:
            return updates
        if (swept := work.found(session).swept) and swept.found.points:
            updates |= self._drawn(say_for(request), swept, given[self.theme])
        return updates | self._offered(say_for(request), session)

    def _offered(self, say: Say, session: Session[Found]) -> Updates:
        """The link to all that the Bench has found."""
        try:
            bundle = work.pack(session)
        except OSError as error:
            return {self.downloads: alert(explained(say, error))}
        if bundle is None:
            self._site.downloads.remove(session.folder)
            return {self.downloads: ""}
        token = self._site.downloads.offer(session.folder, bundle)
        return {self.downloads: links(say, token, {"bench": bundle.archive})}

    def _shown(self, say: Say, trial: Trial, theme: Theme) -> Updates:
        """A trial on the page; what is heard first is the first result, as soon as there is one."""
        versions = html.versions(say, trial)
        selected = versions[2].key if len(versions) > 2 else NOISY
        return {
            self.empty: "",
            self.heading: html.trial_heading(say, trial),
            self.player: player_value(versions, selected=selected),
            self.table: html.scores_table(say, trial),
            self.activity: self._along_time(say, trial, theme),
            self.activity_said: html.said_of_activity(say, trial),
            self.downloads: "",
        }

    @staticmethod
    def _along_time(say: Say, trial: Trial, theme: Theme) -> Any:
        """Energy and zero crossings of all sounds above each other."""
        words = FigureWords(time=say("plots.time"), energy=say("bench.energy"), crossings=say("bench.crossings"))
        sounds = [(title, one.energy_db, one.crossings) for title, one in html.activities(say, trial)]
        return activity_figure(trial.clean_activity.times, sounds, theme=theme, words=words)

    def _drawn(self, say: Say, swept: Swept, theme: Theme) -> Updates:
        """A sweep on the page, with the points that it has."""
        words = FigureWords(snr=say("bench.snr-in"))
        ends = (swept.snrs[0], swept.snrs[-1])
        return {
            self.swept: html.swept_heading(say, swept),
            self.plot: sweep_figure(html.curves(say, swept), html.axes(say, swept), ends, theme=theme, words=words),
            self.sweep_said: html.said_of_sweep(say, swept),
        }
