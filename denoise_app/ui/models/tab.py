"""The Models tab: what there is, how good it is, what it costs, and what else can be had from the Hub."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import gradio as gr

from denoise_app.checkpoints import hub
from denoise_app.evaluation.leaderboard import NOISY
from denoise_app.inference.catalog import Entry
from denoise_app.metrics.table import METRICS, Metric, shown
from denoise_app.plots.board import matrix_figure, quality_figure
from denoise_app.plots.theme import Theme
from denoise_app.ui.parts import denoiser, numbers
from denoise_app.ui.parts.language import say_for
from denoise_app.ui.parts.markup import alert, finished, heading, hint, joined
from denoise_app.ui.parts.orders import AT_ONCE
from denoise_app.ui.parts.problems import explained
from denoise_app.ui.parts.scripts import SORTABLE, THEME
from denoise_app.ui.parts.site import Site
from denoise_app.ui.texts import Say
from denoise_app.ui.worker.offers import hub_is_named

from . import html as board

MOST_DRAWN = 32  # tables and sets of figures that are remembered: every visit begins with the same ones


class ModelsTab:
    """The tab's widgets, and what happens when they are used.

    Args:
        site: What it works with.
        page: The page that the tab lies in.
        results: The leaderboard and its peers; by default those of this program.
    """

    def __init__(self, site: Site, page: gr.Blocks, results: board.Standing | None = None) -> None:
        self._site = site
        self._offers = site.worker.offers
        self._results = results or board.standing()
        self._drawn_table = lru_cache(MOST_DRAWN)(self._draw_table)
        self._drawn_figures = lru_cache(MOST_DRAWN)(self._draw_figures)
        self._build_board()
        self._build_figures()
        gr.HTML(site.words.made("html.models-heading", lambda say: heading(say("models.heading"))))
        self.cards = gr.HTML(elem_id="model-cards")
        self._build_hub()
        self._wire(page)

    # ------------------------------------------------------------------------------------------------- widgets

    def _build_board(self) -> None:
        words = self._site.words
        gr.HTML(words.made("html.board", lambda say: heading(say("board.heading"))))
        with gr.Row(elem_id="board-filters"):
            self.group = gr.Dropdown(
                [(words("board.everything"), board.EVERYTHING)],
                value=board.EVERYTHING,
                label=words("board.group"),
                filterable=False,
                min_width=160,
                elem_id="board-group",
            )
            self.kind = gr.Radio(
                [(words(f"board.kind.{kind}"), kind) for kind in board.KINDS],
                value="all",
                label=words("board.kind"),
                min_width=160,
                elem_id="board-kind",
            )
            known = board.losses(self._results.board) if self._results.board else []
            self.loss = gr.Dropdown(
                [(words("board.all-losses"), board.EVERYTHING), *((loss, loss) for loss in known)],
                value=board.EVERYTHING,
                label=words("model.checkpoint"),
                filterable=False,
                min_width=160,
                elem_id="board-loss",
            )
        self.table = gr.HTML(js_on_load=SORTABLE, elem_id="board-table")
        self.others = gr.HTML(js_on_load=SORTABLE, elem_id="board-others")

    def _score_name(self, metric: Metric) -> Any:
        made = self._site.words.made
        return made(f"html.board-{metric.key}", partial(numbers.title_and_unit, metric=metric))

    def _build_figures(self) -> None:
        words = self._site.words
        with gr.Column(elem_classes=["sheet", "to-cards"], visible=self._results.board is not None) as self.figures:
            with gr.Row(elem_classes=["figures-head"]):
                gr.HTML(words.made("html.board-figures", lambda say: heading(say("board.figures"))))
                self.metric = gr.Dropdown(
                    [(self._score_name(metric), metric.key) for metric in shown("leaderboard")],
                    value="pesq_wb",
                    label=words("board.metric"),
                    show_label=False,
                    filterable=False,
                    elem_id="board-metric",
                )
            gr.HTML(words.made("html.board-matrix", lambda say: heading(say("board.matrix"), 3)))
            self.matrix = gr.Plot(label=words("board.matrix"), show_label=False, elem_id="board-matrix")
            self.matrix_said = gr.HTML()
            self.scatters: dict[str, gr.Plot] = {}
            for cost in board.COSTS:
                gr.HTML(words.made(f"html.board-{cost}", partial(_cost_heading, cost=cost)))
                self.scatters[cost] = gr.Plot(
                    label=words(f"board.by-{cost}"), show_label=False, elem_id=f"board-by-{cost}"
                )
            gr.HTML(words.made("html.board-figures-help", lambda say: hint(say("board.figures-help"))))

    def _build_hub(self) -> None:
        words = self._site.words
        with gr.Column(elem_classes=["sheet"], visible=hub_is_named(), elem_id="models-hub"):
            gr.HTML(words.made("html.board-hub", lambda say: heading(say("board.hub"))))
            gr.HTML(words.made("html.board-hub-help", lambda say: hint(say("board.hub-help"))))
            with gr.Row():
                self.repo = gr.Textbox(label=words("board.repo"), placeholder="author/name", elem_id="hub-repo")
                self.revision = gr.Textbox(label=words("board.revision"), placeholder="main", elem_id="hub-revision")
            self.look = gr.Button(words("board.look"), elem_id="hub-look")
            self.found = gr.State([])
            self.said = gr.HTML(elem_id="hub-said")
            self.choice = gr.Dropdown(
                [], label=words("board.choice"), visible=False, filterable=False, elem_id="hub-choice"
            )
            self.preview = gr.HTML(elem_id="hub-card")
            self.pull = gr.Button(words("board.pull"), variant="primary", visible=False, elem_id="hub-pull")

    # -------------------------------------------------------------------------------------------------- wiring

    def _wire(self, page: gr.Blocks) -> None:
        theme = gr.Textbox("light", visible="hidden")
        filters = [self.group, self.kind, self.loss, self.metric, theme]
        plots = [self.matrix, self.matrix_said, *self.scatters.values()]
        page.load(self.on_load, None, [self.cards, self.group, self.others], **AT_ONCE)
        gr.on(
            [page.load, self.group.input, self.kind.input, self.loss.input],
            self.on_table,
            [self.group, self.kind, self.loss],
            self.table,
            **AT_ONCE,
        )
        gr.on(
            [page.load, *(widget.input for widget in (self.group, self.kind, self.loss, self.metric))],
            self.on_figures,
            filters,
            plots,
            js=f"(...given) => [...given.slice(0, -1), {THEME}]",
            **AT_ONCE,
        )
        hub = [self.found, self.said, self.choice, self.preview, self.pull]
        self.look.click(self.on_look, [self.repo, self.revision], hub, **AT_ONCE)
        self.choice.input(self.on_choice, [self.found, self.choice], self.preview, **AT_ONCE)
        self.pull.click(self.on_pull, [self.found, self.choice], [self.said, self.preview, self.cards], **AT_ONCE)

    # ------------------------------------------------------------------------------------------------ the leaderboard

    def on_load(self, request: gr.Request) -> tuple[str, Any, str]:
        say = say_for(request)
        choices = board.groups(say, self._results.board) if self._results.board else []
        group = gr.Dropdown(choices=choices, value=board.EVERYTHING) if choices else gr.Dropdown(visible=False)
        return self._at_hand(say), group, board.others(say, self._results.peers)

    def _at_hand(self, say: Say) -> str:
        """The cards of the denoisers, and what is left out."""
        cards = board.cards(say, self._offers.all(), self._offers.recommended())
        return cards + denoiser.broken(say, self._offers.broken())

    def on_table(self, group: str, kind: str, loss: str, request: gr.Request) -> str:
        return self._drawn_table(say_for(request).language, group, kind, loss)

    def _draw_table(self, language: str, group: str, kind: str, loss: str) -> str:
        say, ours = Say(language), self._results.board
        if ours is None:
            return hint(say("board.none"))
        return board.table(say, ours, group, kind, loss)

    def on_figures(
        self, group: str, kind: str, loss: str, metric: str, theme: Theme, request: gr.Request
    ) -> tuple[Any, str, Any, Any]:
        return self._drawn_figures(say_for(request).language, group, kind, loss, metric, theme)

    def _draw_figures(
        self, language: str, group: str, kind: str, loss: str, metric: str, theme: Theme
    ) -> tuple[Any, str, Any, Any]:
        say, ours = Say(language), self._results.board
        if ours is None:
            return None, "", None, None
        models, losses, values = board.matrix(ours, group, metric)
        scored = METRICS[metric]
        quality = numbers.title_and_unit(say, scored)
        costs = {"rtf": say("board.rtf"), "parameters": say("models.parameters")}
        known = sorted({row["model"] for row in ours["rows"]} - {NOISY})  # one symbol for each, in both figures
        scatters = [
            quality_figure(board.points(ours, group, kind, metric, cost, loss), costs[cost], quality, theme, known)
            for cost in board.COSTS
        ]
        heat = matrix_figure(models, losses, values, scored.digits or 0, scored.better == "lower", theme)
        return heat, board.said_of_matrix(say, ours, group, metric), *scatters

    # -------------------------------------------------------------------------------------------------------- the Hub

    def on_look(self, repo: str, revision: str, request: gr.Request) -> tuple[Any, ...]:
        """What a repository holds: cards, licences and sizes, before anything of it is loaded."""
        say = say_for(request)
        hidden = gr.Dropdown(visible=False), "", gr.Button(visible=False)
        if not repo.strip():
            return [], alert(say("board.no-repo")), *hidden
        try:
            listed, problems = hub.list_checkpoints(repo.strip(), revision=revision.strip() or None)
        except Exception as error:
            return [], alert(explained(say, error)), *hidden
        offers = [Entry.of_hub(checkpoint) for checkpoint in listed]
        said = denoiser.hub_listing(say, len(offers), problems)
        if not offers:
            return [], said, *hidden
        choices = [(denoiser.hub_label(offer), offer.key) for offer in offers]
        choice = gr.Dropdown(choices=choices, value=offers[0].key, visible=True)
        return offers, said, choice, board.card(say, offers[0], unfolded=True), gr.Button(visible=True)

    def on_choice(self, found: list[Entry], key: str, request: gr.Request) -> str:
        return joined(board.card(say_for(request), offer, unfolded=True) for offer in found if offer.key == key)

    def on_pull(self, found: list[Entry], key: str, request: gr.Request) -> tuple[str, str, str]:
        say = say_for(request)
        try:
            pulled = self._offers.pull(next(offer for offer in found if offer.key == key))
            said = finished(say("board.pulled", name=key.partition("@")[0]))
            return said, board.card(say, pulled, unfolded=True), self._at_hand(say)
        except Exception as error:
            return alert(explained(say, error)), self.on_choice(found, key, request), self._at_hand(say)


def _cost_heading(say: Say, cost: str) -> str:
    return heading(say(f"board.by-{cost}"), 3)
