"""The Clean tab: a recording in, the same without its noise out, and everything that is to be heard and seen of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
from markupsafe import Markup

from denoise_app.inference.catalog import FALLBACK, PRESETS, Entry
from denoise_app.inference.engine import Cancelled, Selection, Settings
from denoise_app.inference.noise_profile import takes_profile
from denoise_app.inference.settings import treatment
from denoise_app.metrics.table import keys
from denoise_app.plots.theme import Theme
from denoise_app.ui.parts import denoiser
from denoise_app.ui.parts.downloads import Bundle, OnDemand, links
from denoise_app.ui.parts.language import say_for
from denoise_app.ui.parts.markup import alert, empty, heading, hint
from denoise_app.ui.parts.orders import AT_ONCE, QUIET, WORK, Given, Orders, Updates, under_way
from denoise_app.ui.parts.player import Version, build_player, player_value
from denoise_app.ui.parts.problems import Unready, explained
from denoise_app.ui.parts.scripts import THEME
from denoise_app.ui.parts.site import Site, page_of
from denoise_app.ui.parts.sounds import Sound
from denoise_app.ui.parts.source import Source
from denoise_app.ui.texts import LANGUAGES, Say
from denoise_app.ui.worker.background import Step
from denoise_app.ui.worker.offers import hub_is_named
from denoise_app.ui.worker.session import Job, Session
from denoise_app.ui.worker.worker import Worker

from . import html, link, work
from .figures import figure, figure_page
from .settings import NO_LIMIT_DB, USUAL, settings_from
from .stretch import Marks, Stretch
from .work import Order, Playable, Result


class CleanTab:
    """The tab's widgets, and what happens when they are used.

    Args:
        site: What it works with.
        page: The page that the tab lies in.
    """

    def __init__(self, site: Site, page: gr.Blocks) -> None:
        self._site = site
        self._offers = site.worker.offers
        self.session = site.visit()
        self.theme = gr.Textbox("light", visible="hidden")
        self.address = gr.Textbox("", visible="hidden")
        self.visit = gr.Textbox("", visible="hidden")
        self.remembered = gr.Textbox("", visible="hidden")
        with gr.Row(elem_id="clean", equal_height=False):
            with gr.Column(elem_id="controls", min_width=300):
                self.source = Source(site, self.session, under=self._build_stretch)
                self.audio = self.source.audio
                with gr.Row(elem_id="actions"):
                    self.start = gr.Button(
                        site.words("run.denoise"),
                        variant="primary",
                        size="lg",
                        interactive=False,  # until a denoiser is chosen
                        elem_id="denoise",
                    )
            with gr.Column(elem_id="outcome", elem_classes=["outcome"], min_width=300):
                self._build_outcome()
            with gr.Column(elem_id="choices", min_width=300):
                self._build_denoiser()
                self._build_advanced()
        starts = [self.start, self.stretch.denoise]
        self.orders = Orders(site.sessions, self.session, self.said, starts, self.cancel, "run.cancelled")
        self._wire(page)

    # ------------------------------------------------------------------------------------------------- widgets

    def _build_stretch(self) -> None:
        self.stretch = Stretch(self._site.words)

    def _build_denoiser(self) -> None:
        words = self._site.words
        with gr.Column(elem_classes=["sheet"]):
            gr.HTML(words.made("html.model", lambda say: heading(say("model.heading"))))
            with gr.Row(elem_id="presets", elem_classes=["examples"]):
                self.presets = {
                    name: gr.Button(words(f"model.preset.{name}"), size="sm", min_width=0, scale=0) for name in PRESETS
                }
            gr.HTML(words.made("html.presets-help", lambda say: hint(say("model.presets-help"))))
            self.model = gr.Dropdown([], label=words("model.model"), filterable=False, elem_id="model")
            self.checkpoint = gr.Dropdown([], label=words("model.checkpoint"), filterable=False, elem_id="checkpoint")
            self.about = gr.HTML(elem_id="about")
            self.hub = gr.Button(words("model.hub"), size="sm", visible=hub_is_named(), elem_id="hub")
            self.hub_said = gr.HTML()
            self.reset = gr.Button(words("model.reset"), size="sm", elem_id="reset-choices")

    def _build_advanced(self) -> None:
        words = self._site.words
        self.most_help = words.made("html.most-help", lambda say: say("advanced.most-help", limit=f"{NO_LIMIT_DB} dB"))
        with gr.Accordion(words("advanced.heading"), open=False, elem_id="advanced"):
            self.strength = gr.Slider(
                0, 100, 100, step=1, label=words("advanced.strength"), info=words("advanced.strength-help")
            )
            self.most = gr.Slider(
                link.LEAST_LIMIT_DB,
                NO_LIMIT_DB,
                NO_LIMIT_DB,
                step=1,
                label=words("advanced.most"),
                info=self.most_help,
            )
            self.high_band = gr.Radio(
                [(words(f"advanced.high-band.{key}"), key) for key in ("follow", "keep", "drop")],
                value="follow",
                label=words("advanced.high-band"),
                info=words("advanced.high-band-help"),
            )
            self.loudness = gr.Radio(
                [(words(f"advanced.loudness.{key}"), key) for key in ("keep", "target")],
                value="keep",
                label=words("advanced.loudness"),
            )
            with gr.Row(visible=False) as self.target_row:
                # without bounds: Gradio would refuse the whole order for them, and say neither why nor of what
                self.lufs = gr.Number(-16, label=words("advanced.lufs"), min_width=120)
                self.true_peak = gr.Number(-1, label=words("advanced.true-peak"), min_width=120)
            self.channels = gr.Radio(
                [(words(f"advanced.channels.{key}"), key) for key in ("each", "mid", "reference")],
                value="each",
                label=words("advanced.channels"),
                info=words("advanced.channels-help"),
            )
            with gr.Row():
                same = (words("advanced.format.same"), "")
                kinds = ("wav", "flac", "ogg", "mp3", "m4a")
                self.format = gr.Dropdown(
                    [same, *((kind, kind) for kind in kinds)],
                    value="",
                    label=words("advanced.format"),
                    filterable=False,
                    min_width=120,
                )
                depths: list[Any] = [
                    (words("advanced.bits.same"), 0),
                    ("16", 16),
                    ("24", 24),
                    (words("advanced.bits.float"), 32),
                ]
                self.bits = gr.Dropdown(depths, value=0, label=words("advanced.bits"), filterable=False, min_width=120)

    def _build_outcome(self) -> None:
        words = self._site.words
        self.said, self.cancel = under_way(words, "said", "cancel")
        self.empty = gr.HTML(
            words.made("html.empty", lambda say: empty(say("result.empty"), say("result.empty-more"))),
            elem_id="empty",
        )
        # Hidden by page.css while `empty` shows: what Gradio has not put on the page loses what generators send it.
        with gr.Column(elem_id="result", elem_classes=["result"]):
            self.heading = gr.HTML()
            self.player = build_player(LANGUAGES, elem_id="player")
            self.downloads = gr.HTML(elem_id="downloads")
            with gr.Row(elem_id="onward"):
                self.to_compare = gr.Button(words("result.to-compare"), size="sm", elem_id="to-compare")
                self.to_blind = gr.Button(words("result.to-blind"), size="sm", elem_id="to-blind")
                self.to_bench = gr.Button(words("result.to-bench"), size="sm", elem_id="to-bench")
            self.fidelity = gr.HTML(elem_id="fidelity")
            self.cards = gr.HTML(elem_id="cards")
            with gr.Column(elem_classes=["sheet", "timed"], visible=False) as self.figures:
                with gr.Row(elem_id="figures-head"):
                    gr.HTML(words.made("html.plots", lambda say: heading(say("plots.heading"))))
                    self.scale = gr.Radio(
                        [(words("plots.linear"), "linear"), (words("plots.log"), "log")],
                        value="linear",
                        label=words("plots.scale"),
                        container=False,
                        elem_id="scale",
                    )
                self.plot = gr.Plot(label=words("plots.name"), show_label=False, elem_id="plot")
                gr.HTML(words.made("html.plots-help", lambda say: hint(say("plots.help"))))
                self.figures_said = gr.HTML()

    # -------------------------------------------------------------------------------------------------- wiring

    @property
    def _settings_inputs(self) -> list[Any]:
        return [
            self.strength,
            self.most,
            self.high_band,
            self.loudness,
            self.lufs,
            self.true_peak,
            self.format,
            self.bits,
        ]

    def _wire(self, page: gr.Blocks) -> None:
        choice = [self.model, self.checkpoint, self.about]
        restored = [*choice, self.said, *self._settings_inputs, self.channels]
        kept = [self.address, self.visit, self.remembered]
        self.orders.open_after(page.load(self.on_load, kept, restored, js=KEPT, **AT_ONCE))
        page.load(None, None, self.theme, js=f"() => {THEME}", api_visibility="private")
        chosen: list[Any] = [
            self.model.input(self.on_model, self.model, choice, **AT_ONCE),
            self.checkpoint.input(self.on_checkpoint, self.checkpoint, self.about, **AT_ONCE),
        ]
        for name, button in self.presets.items():
            chosen.append(button.click(self.preset_handler(name), None, choice, **AT_ONCE))
        for then in (*(event.then for event in chosen), self.format.input, self.bits.input):
            then(None, [self.checkpoint, self.format, self.bits], None, js=KEEP_CHOICES, api_visibility="private")
        self.reset.click(self.on_reset, None, restored, js=FORGET_CHOICES, **AT_ONCE)
        self.hub.click(self.on_hub, {self.checkpoint}, [*choice, self.hub_said], **AT_ONCE)
        self.loudness.change(lambda kind: gr.Row(visible=kind == "target"), self.loudness, self.target_row, **AT_ONCE)

        shown = [self.empty, self.heading, self.player, self.fidelity, self.downloads, self.cards]
        back = page.load(self.on_return, kept, [self.session, self.audio, *shown], js=KEPT, **AT_ONCE)
        self.visit.change(None, self.visit, None, js=KEEP_VISIT, api_visibility="private")
        times: set[Any] = {self.stretch.start, self.stretch.end, self.stretch.noise}
        asked = {self.session, self.audio, self.checkpoint, self.channels, *times, *self._settings_inputs}
        changing = [self.session, self.said, *shown]
        drawing = [self.session, self.scale, self.theme], [self.session, self.figures, self.plot, self.figures_said]
        measuring = self.session, [self.session, self.cards, self.downloads]
        back.then(self.on_draw, *drawing, **AT_ONCE)  # no orders: a page opens however many of those wait
        back.then(self.on_measured, *measuring, **AT_ONCE)
        for start, work_of in ((self.start, self.on_denoise), (self.stretch.denoise, self.on_denoise_stretch)):
            run = self.orders.wire(start, work_of, asked, shown, "#outcome", **WORK)
            settled = run.then(self.on_settings, asked, changing, **QUIET, **WORK)
            settled.then(self.on_draw, *drawing, **QUIET)
            settled.then(self.on_measure, *measuring, **QUIET)
            settled.then(self.source.on_result, [self.audio, self.session], self.source.facts, **AT_ONCE)
        changed = gr.on(
            [widget.change for widget in self._settings_inputs],
            self.on_settings,
            asked,
            changing,
            trigger_mode="always_last",
            **QUIET,
            **WORK,
        )
        changed.then(self.on_draw, *drawing, **QUIET)
        changed.then(self.on_measure, *measuring, **QUIET)
        self.scale.input(self.on_draw, *drawing, **AT_ONCE)
        self.cancel.click(self.orders.on_cancel, self.session, self.orders.told, **AT_ONCE)
        taken = [self.stretch.noise, self.stretch.told, self.stretch.forget]
        marked = [self.stretch.start, self.stretch.end, *taken]
        profiled = [*choice, self.said, *taken]
        self.stretch.profile.click(self.on_profile, {self.checkpoint, *times}, profiled, **AT_ONCE)
        self.stretch.forget.click(self.on_forget, None, taken, **AT_ONCE)
        # one event for all that is pointed at, so that what was sent first never arrives last
        pointed = [self.stretch.start.change, self.stretch.end.change, self.stretch.told.change]
        gr.on(
            pointed,
            self.on_mark,
            {self.session, self.audio, *times},
            self.session,
            trigger_mode="always_last",
            **AT_ONCE,
        )
        self.source.wire([*marked, self.visit], self.on_recording)

    # ---------------------------------------------------------------------------------------- choosing a denoiser

    def on_load(self, address: str, visit: str, remembered: str, request: gr.Request) -> tuple[Any, ...]:
        """The best denoiser and the usual settings, or others.

        Args:
            address: The page's query: settings that it asks for go before all others.
            visit: The name of the visit before a reload, whose settings come next.
            remembered: What was chosen in this browser before, as the query of a link.
        """
        say, wanted = say_for(request), link.parse(address)
        problems = [say("link.unread", names=", ".join(wanted.unread))] if wanted.unread else []
        asked = wanted != link.Wanted()
        before = self._site.sessions.find(visit)
        if not asked:
            wanted = link.parse(_link(before.result) if before and before.result else remembered)
        chosen = self._offers.recommended()
        try:
            chosen = self._offers.find(wanted.denoiser) if wanted.denoiser else chosen
            chosen = chosen if asked else self._for_profile(before, chosen, link.parse(remembered).denoiser)
        except Exception as error:
            problems += [explained(say, error)] if asked else []  # what is only remembered may be gone
        values = wanted.values | ({"loudness": "target"} if "lufs" in wanted.values else {})
        widgets = [gr.update(value=values[name]) if name in values else gr.update() for name in USUAL]
        return *self._choose(say, chosen), alert(" ".join(problems)) if problems else "", *widgets

    def _for_profile(self, before: Session[Any] | None, chosen: Entry, remembered: str | None) -> Entry:
        """What is chosen, or what makes use of the noise profile that comes back, where that makes none."""
        marks = before.marks if before else None
        if not isinstance(marks, Marks) or not marks.noise or chosen.model in takes_profile():
            return chosen
        used = remembered if remembered in takes_profile() else FALLBACK
        return self._offers.recommended(used)

    def on_reset(self, request: gr.Request) -> tuple[Any, ...]:
        """The best denoiser and the usual settings."""
        return *self._choose(say_for(request), self._offers.recommended()), "", *USUAL.values()

    def on_return(self, address: str, visit: str, remembered: str, request: gr.Request) -> Updates:
        """The recording and the result that were there before a reload, as long as the server keeps them."""
        session = self._site.sessions.resume(visit, page_of(request, self.session))
        if session is None:
            return {self.session: gr.skip()}
        updates: Updates = {self.session: session}
        if session.recording is not None and session.recording.is_file():
            updates[self.audio] = str(session.recording)
        if session.result is not None and all(path.is_file() for path in session.result.files):
            updates |= self._shown(say_for(request), session, session.result)
        return updates

    def preset_handler(self, name: str) -> Callable[..., tuple[Any, Any, str]]:
        def on_preset(request: gr.Request) -> tuple[Any, Any, str]:
            """The denoiser that a name in PRESETS means."""
            return self._choose(say_for(request), self._offers.recommended(name))

        return on_preset

    def on_model(self, model: str, request: gr.Request) -> tuple[Any, Any, str]:
        say = say_for(request)
        offers = [offer for offer in self._offers.all() if offer.model == model]
        only_listed = offers and all(offer.source == "hub" for offer in offers)
        try:
            chosen = offers[0] if only_listed else self._offers.recommended(model)
        except Exception as error:  # the model is no longer there: the lists go on without it
            models, checkpoints, _ = self._choose(say, self._offers.recommended())
            return models, checkpoints, alert(explained(say, error))
        return self._choose(say, chosen)

    def on_checkpoint(self, key: str, request: gr.Request) -> str:
        say = say_for(request)
        try:
            return denoiser.about(say, self._offers.find(key))
        except Exception as error:
            return alert(explained(say, error))

    def on_hub(self, given: Given, request: gr.Request) -> tuple[Any, Any, str, str]:
        say = say_for(request)
        count, problems = self._offers.list_hub()
        said = denoiser.hub_listing(say, count, problems)
        try:
            chosen = self._offers.find(given[self.checkpoint])
        except Exception as error:  # what was chosen is no longer there: the lists go on without it
            chosen, said = self._offers.recommended(), alert(explained(say, error)) + said
        return *self._choose(say, chosen), said

    def _choose(self, say: Say, chosen: Entry) -> tuple[Any, Any, str]:
        """Both lists and the text below, for a denoiser that is chosen."""
        offers, best = self._offers.all(), self._offers.recommended()
        models = {
            model: [offer for offer in offers if offer.model == model]
            for model in dict.fromkeys(offer.model for offer in offers)
        }
        labels = [(denoiser.model_label(say, of, model == best.model), model) for model, of in models.items()]
        same = models[chosen.model]
        favourite = self._offers.recommended(chosen.model).key if any(o.source != "hub" for o in same) else ""
        checkpoints = [
            (denoiser.checkpoint_label(say, offer, len(same) > 1 and offer.key == favourite, spelled=True), offer.key)
            for offer in same
        ]
        return (
            gr.Dropdown(choices=labels, value=chosen.model),
            gr.Dropdown(choices=checkpoints, value=chosen.key, visible=chosen.loss is not None),
            denoiser.about(say, chosen),
        )

    # -------------------------------------------------------------------------------------------------- denoising

    def on_denoise(self, given: Given, request: gr.Request) -> Iterator[Updates]:
        """Does what was ordered."""
        say = say_for(request)
        session: Session[Result] = given[self.session]

        def carry_out(job: Job) -> Iterator[Updates]:
            order = self._order(say, given, session)
            yield from self._followed(say, session, work.denoise(self._site.worker, session, order, job))

        yield from self.orders.carry_out(say, session, carry_out)

    def on_denoise_stretch(self, given: Given, request: gr.Request) -> Iterator[Updates]:
        """Does what was ordered of the stretch that is pointed at."""
        say = say_for(request)
        session: Session[Result] = given[self.session]

        def carry_out(job: Job) -> Iterator[Updates]:
            selection = Selection(*self.stretch.chosen(say, given), given[self.stretch.noise])
            order = replace(self._order(say, given, session), selection=selection)
            yield from self._followed(say, session, work.denoise(self._site.worker, session, order, job))

        yield from self.orders.carry_out(say, session, carry_out)

    def on_profile(self, given: Given, request: gr.Request) -> Updates:
        """Takes the stretch for the noise, by a denoiser that makes use of it."""
        say = say_for(request)
        try:
            noise = self.stretch.chosen(say, given)
            if self._offers.find(given[self.checkpoint]).model in takes_profile():
                return self.stretch.taken(say, noise) | {self.said: ""}
            chosen = self._offers.recommended(FALLBACK)
        except Exception as error:
            return {self.said: alert(explained(say, error))}
        choice = dict(zip((self.model, self.checkpoint, self.about), self._choose(say, chosen), strict=True))
        return self.stretch.taken(say, noise, chosen.model) | choice | {self.said: ""}

    def on_forget(self, request: gr.Request) -> Updates:
        """There is no noise profile any more."""
        return self.stretch.taken(say_for(request), None)

    def on_recording(self, say: Say, path: str | None, session: Session[Result]) -> Updates:
        """Times are those of a recording: another one has none yet, the one of before a reload has them still.

        With them goes the name by which the page finds its visit again after a reload.
        """
        if not isinstance(session.marks, Marks) or session.marks.recording != path:
            session.marks = Marks(path or "")
        return self.stretch.marked(say, session.marks) | {self.visit: session.folder.name}

    def on_mark(self, given: Given) -> Any:
        """Keeps what is pointed at, for a reload; a page that has just been loaded points at nothing yet."""
        session: Session[Result] | None = given[self.session]
        if session is None or not given[self.audio]:
            return gr.skip()
        session.marks = self.stretch.marks(given[self.audio], given)
        return session

    def on_hand(self, session: Session[Result] | None, other: Session[Any] | None) -> tuple[Any, Session[Any]]:
        """The recording of the result for another tab's visit, so that nobody uploads it twice."""
        other = other or self._site.sessions.open()
        if session is None or session.result is None or not session.result.before.is_file():
            return gr.skip(), other
        return str(other.adopt(session.result.before)), other

    def on_settings(self, given: Given, request: gr.Request) -> Iterator[Updates]:
        """Renders what is shown again, where the settings are other ones by now; while a denoiser runs it waits."""
        session: Session[Result] | None = given[self.session]
        yield {self.session: session}  # Gradio takes a generator that yields nothing for one that clears everything
        if session is None or session.result is None or session.busy:
            return
        say = say_for(request)
        job = session.begin()
        try:
            settings = self._settings(given)
            if settings != session.result.order.settings:
                yield from self._followed(say, session, work.render_again(self._site.worker, session, settings, job))
                yield {self.session: session, self.said: ""}
        except Cancelled:
            return
        except Exception as error:
            yield {self.session: session, self.said: alert(explained(say, error))}
        finally:
            job.end()

    def on_measure(self, session: Session[Result] | None, request: gr.Request) -> Iterator[Updates]:
        """The numbers of what is shown, as they become known."""
        if session is None:  # one that has begun meanwhile is not to be put out
            yield {self.cards: gr.skip()}
            return
        yield {self.session: session}
        if session.result is None or session.result.preview:
            return
        if set(keys("clean")) <= session.result.numbers.measured.keys():
            return
        say = say_for(request)
        try:
            for result in work.measure(self._site.worker, session, session.result):
                yield {self.session: session, self.cards: html.cards(say, result)}
            if session.result is not None and session.result.numbers.measured:
                yield {self.session: session, self.downloads: self._offer(say, session, session.result, measured=True)}
        except Exception as error:
            yield {self.cards: alert(explained(say, error))}

    def on_measured(self, session: Session[Result] | None, request: gr.Request) -> Updates:
        """The numbers of a result that came back before they were known."""
        found: Updates = {}
        for updates in self.on_measure(session, request):
            found |= updates
        return found

    def on_draw(self, session: Session[Result] | None, scale: str, theme: Theme, request: gr.Request) -> Updates:
        """The figures of what is shown."""
        if session is None:
            return {self.figures: gr.Column(visible=False)}
        result = session.result
        if result is None or result.preview:
            return {self.session: session, self.figures: gr.Column(visible=False)}
        say = say_for(request)
        try:
            looked = work.look(self._site.worker, session, result)
        except Exception as error:
            return {self.session: session, self.figures_said: alert(explained(say, error))}
        return {
            self.session: session,
            self.figures: gr.Column(visible=True),
            self.plot: figure(looked, say, scale == "log", theme),
            self.figures_said: html.said_of_figures(say, looked.change, result.rendered.gain_db),
        }

    def _followed(
        self, say: Say, session: Session[Result], steps: Iterator[Step | Playable | Result]
    ) -> Iterator[Updates]:
        """Updates of the page for the steps of some work."""
        has_preview = False
        for step in steps:
            if isinstance(step, Result):
                has_preview = step.preview
                yield self._shown(say, session, step)
            elif isinstance(step, Playable):
                has_preview = False
                yield self._show_playable(say, session, step)
            else:
                yield {self.session: session, self.said: html.progress(say, step, has_preview)}

    def _show_playable(self, say: Say, session: Session[Result], ready: Playable) -> Updates:
        """What can be heard while its file is being written."""
        sounds: dict[str, Path | Sound] = {"before": ready.order.path, "after": ready.after}
        versions = [Version(key, say(f"player.version.{key}"), it, ready.gains_db[key]) for key, it in sounds.items()]
        return {
            self.session: session,
            self.empty: "",
            self.heading: html.heading(say, ready.order),
            self.player: player_value(versions, selected="after"),
            **dict.fromkeys((self.fidelity, self.downloads, self.cards), ""),
        }

    def _shown(self, say: Say, session: Session[Result], result: Result) -> Updates:
        """A result on the page."""
        gains = result.gains_db()
        sounds: dict[str, Path | Sound] = {"before": result.before, "after": result.after, "removed": result.removed}
        versions = [Version(key, say(f"player.version.{key}"), sound, gains[key]) for key, sound in sounds.items()]
        whole = not result.preview
        return {
            self.session: session,
            self.empty: "",
            self.heading: html.heading(say, result.order, result.preview),
            self.player: player_value(versions, selected="after"),
            self.fidelity: html.fidelity(say, result) if whole else "",
            self.downloads: self._offer(say, session, result, bool(result.numbers.measured)) if whole else "",
            self.cards: html.cards(say, result) if whole else "",
        }

    def _offer(self, say: Say, session: Session[Result], result: Result, measured: bool) -> Markup:
        """The links to a result; what only some take is made when it is asked for, the report once all is measured."""
        names = {"after": result.copy_name("denoised"), "removed": result.copy_name("removed")}
        files: dict[str, Path | OnDemand] = {
            names["after"]: result.after,
            names["removed"]: self._on_demand(lambda: work.write_removed(result)),
        }
        if measured:
            names |= {"plots": result.copy_name("plots"), "report": result.copy_name("report")}
            files[names["plots"]] = self._on_demand(lambda: _write_figures(say, self._site.worker, session, result))
            files[names["report"]] = self._on_demand(lambda: work.write_report(result))
            names["all"] = result.copy_name("zip")
        here = _link(result)
        token = self._site.downloads.offer(session.folder, Bundle(files, result.copy_name("zip")))
        return links(say, token, names, here)

    def _on_demand(self, write: Callable[[], Path]) -> OnDemand:
        """A file whose writing the end of the program waits for."""

        def at_work() -> Path:
            with self._site.worker.at_work():
                return write()

        return OnDemand(at_work)

    def _order(self, say: Say, given: Given, session: Session[Result]) -> Order:
        path = given[self.audio]
        if not path:
            raise Unready(say("error.no-recording"))
        if not Path(path).is_file():
            raise Unready(say("error.gone"))
        offer = self._offers.ordered(given[self.checkpoint])
        settings, channels = self._settings(given), treatment(given[self.channels])
        selection, preview_at = Selection(noise_profile=given[self.stretch.noise]), self.stretch.first(given)
        return Order(session.adopt(Path(path)), offer, channels, settings, None, selection, preview_at)

    def _settings(self, given: Given) -> Settings:
        return settings_from(
            given[self.strength],
            given[self.most],
            given[self.high_band],
            given[self.lufs],
            given[self.true_peak],
            given[self.format],
            given[self.bits],
            to_target=given[self.loudness] == "target",
        )


KEPT = """() => [location.search, sessionStorage.getItem("denoise:visit") ?? "",
  localStorage.getItem("denoise:choices") ?? ""]"""
KEEP_CHOICES = """(denoiser, format, bits) => {
  const choices = Object.entries({ denoiser, format, bits }).filter(([, value]) => value);
  localStorage.setItem("denoise:choices", "?" + new URLSearchParams(choices));
}"""
FORGET_CHOICES = """() => { localStorage.removeItem("denoise:choices"); }"""
KEEP_VISIT = """(visit) => { if (visit) sessionStorage.setItem("denoise:visit", visit); }"""


def _link(result: Result) -> str:
    """The query of a link to the settings of a result."""
    return link.query(result.order.offer.key, result.order.settings, result.order.channels)


def _write_figures(say: Say, worker: Worker, session: Session[Result], result: Result) -> Path:
    """The figures of a result as a page of their own, beside it; returns where."""
    looked = work.look(worker, session, result)
    written = result.after.with_name("plots.html")
    written.write_text(figure_page(looked, say, result.order.path.name), "utf-8")
    return written
