"""The Batch tab: many files or a zip in, all of them without their noise out; one bad file never stops the others."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from denoise_app.inference.settings import Settings, number
from denoise_app.scale import archive
from denoise_app.serve.limits import ServiceLimits
from denoise_app.ui import static
from denoise_app.ui.parts import excerpts
from denoise_app.ui.parts.denoiser import name
from denoise_app.ui.parts.downloads import links
from denoise_app.ui.parts.language import say_for
from denoise_app.ui.parts.loudness import equal_loudness
from denoise_app.ui.parts.markup import alert, empty, heading, hint, titled
from denoise_app.ui.parts.orders import AT_ONCE, WORK, Given, Orders, Updates, under_way
from denoise_app.ui.parts.player import Version, build_player, player_value
from denoise_app.ui.parts.problems import Unready, explained
from denoise_app.ui.parts.site import Site
from denoise_app.ui.texts import LANGUAGES, Say
from denoise_app.ui.worker.session import Job, Session

from . import html, work
from .work import Batch

TABLE_SECONDS = 1.0  # between two tables: of 500 rows one has 200 kB
KEY = "denoise-batch"  # under which the browser keeps the token of a visit, until its tab is closed


class Visits:
    """Visits that can be come back to, by a token that nobody can guess; each ends when its last page has gone.

    Args:
        sessions: Opens and closes them.
    """

    def __init__(self, sessions: Any) -> None:
        self._sessions = sessions
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Session[Batch], int]] = {}  # token -> visit, and pages that show it

    def token(self, session: Session[Batch]) -> str:
        """The token of a visit, which is new where it has none yet."""
        with self._lock:
            for token, (known, _) in self._known.items():
                if known is session:
                    return token
            token = secrets.token_urlsafe(16)
            self._known[token] = session, 1
            return token

    def back(self, token: str) -> Session[Batch] | None:
        """The visit of a token, for one more page; None where it has ended."""
        with self._lock:
            if token not in self._known:
                return None
            session, pages = self._known[token]
            self._known[token] = session, pages + 1
            return session

    def leave(self, session: Session[Batch] | None) -> None:
        """A page of a visit has gone."""
        with self._lock:
            for token, (known, pages) in list(self._known.items()):
                if known is session:
                    if pages > 1:
                        self._known[token] = known, pages - 1
                        return
                    del self._known[token]
        self._sessions.close(session)


class BatchTab:
    """The tab's widgets, and what happens when they are used.

    Args:
        site: What it works with.
        page: The page that the tab lies in.
        limits: How many files, and how large.
    """

    def __init__(self, site: Site, page: gr.Blocks, limits: ServiceLimits | None = None) -> None:
        self._site = site
        self._offers = site.worker.offers
        self._limits = limits or ServiceLimits()
        self._visits = Visits(site.sessions)
        self.session = gr.State(None, time_to_live=60 * site.minutes, delete_callback=self._visits.leave)
        self.token = gr.Textbox("", visible="hidden")
        with gr.Row(elem_id="batch", equal_height=False):
            with gr.Column(elem_id="batch-controls", min_width=300):
                self._build_files()
                self._build_denoiser()
            with gr.Column(elem_id="batch-outcome", elem_classes=["outcome"], min_width=300):
                self._build_outcome()
        texts = "batch.cancelled", "batch.refused"
        self.orders = Orders(site.sessions, self.session, self.said, [self.start], self.cancel, *texts)
        self._wire(page)

    # ------------------------------------------------------------------------------------------------- widgets

    def _build_files(self) -> None:
        words, limits = self._site.words, self._limits
        size = archive.megabytes(limits.max_batch_bytes)
        with gr.Column(elem_classes=["sheet"]):
            gr.HTML(words.made("html.batch-files", lambda say: heading(say("batch.files"))))
            self.files = gr.File(
                file_count="multiple",
                type="filepath",
                label=words("batch.upload"),
                height=200,
                elem_id="batch-files",
            )
            self.folder = gr.UploadButton(
                str(words("batch.folder")), file_count="directory", type="filepath", size="sm", elem_id="batch-folder"
            )
            gr.HTML(
                words.made("html.batch-help", lambda say: hint(say("batch.help", files=limits.max_batch, size=size)))
            )
            self.chosen = gr.HTML(elem_id="batch-chosen")

    def _build_denoiser(self) -> None:
        words = self._site.words
        with gr.Column(elem_classes=["sheet"]):
            gr.HTML(words.made("html.batch-denoiser", lambda say: heading(say("model.heading"))))
            self.offer = gr.Dropdown([], label=words("model.model"), filterable=True, elem_id="batch-denoiser")
            self.strength = gr.Slider(
                0, 100, 100, step=1, label=words("advanced.strength"), info=words("advanced.strength-help")
            )
            same = (words("advanced.format.same"), "")
            self.format = gr.Dropdown(
                [same, *((kind, kind) for kind in ("wav", "flac", "ogg", "mp3", "m4a"))],
                value="",
                label=words("advanced.format"),
                filterable=False,
                elem_id="batch-format",
            )
            self.start = gr.Button(
                words("batch.start"),
                variant="primary",
                size="lg",
                interactive=False,  # until a denoiser is chosen
                elem_id="batch-start",
            )

    def _build_outcome(self) -> None:
        words = self._site.words
        self.said, self.cancel = under_way(words, "batch-said", "batch-cancel")
        self.empty = gr.HTML(
            words.made("html.batch-empty", lambda say: empty(say("batch.empty"), say("batch.empty-more"))),
            elem_id="batch-empty",
        )
        # Hidden by page.css until it has a heading: what Gradio has not put on the page loses what generators send it.
        with gr.Column(elem_id="batch-result", elem_classes=["result"]):
            self.heading = gr.HTML(elem_id="batch-heading")
            self.downloads = gr.HTML(elem_id="batch-downloads")
            self.playing = gr.HTML(elem_id="batch-playing")
            self.player = build_player(LANGUAGES, elem_id="batch-player")
            self.table = gr.HTML(js_on_load=static.text("batch.js"), elem_id="batch-table")

    # -------------------------------------------------------------------------------------------------- wiring

    def _wire(self, page: gr.Blocks) -> None:
        self.orders.open_after(page.load(self.on_load, None, self.offer, **AT_ONCE))
        shown = [self.empty, self.heading, self.table, self.downloads]
        page.load(
            self.on_return,
            self.token,
            [self.session, self.said, *shown],
            js=f"() => sessionStorage.getItem('{KEY}') || ''",
            **AT_ONCE,
        )
        self.files.change(self.on_files, self.files, self.chosen, **AT_ONCE)
        self.folder.upload(lambda found: found, self.folder, self.files, **AT_ONCE)
        asked = {self.session, self.files, self.offer, self.strength, self.format}
        outputs = [*shown, self.token, self.player, self.playing]
        self.orders.wire(self.start, self.on_run, asked, outputs, "#batch-outcome", **WORK)
        self.token.change(
            None,
            self.token,
            None,
            js=f"(token) => {{ if (token) sessionStorage.setItem('{KEY}', token); }}",
            api_visibility="private",
        )
        self.cancel.click(self.on_cancel, {self.session}, [*self.orders.told, *shown], **AT_ONCE)
        self.table.click(self.on_play, self.session, [self.playing, self.player], **AT_ONCE)

    # ------------------------------------------------------------------------------------------------------ choices

    def on_load(self, request: gr.Request) -> Any:
        """The list of denoisers, the recommended one chosen."""
        say = say_for(request)
        choices = [(name(say, offer), offer.key) for offer in self._offers.all()]
        return gr.Dropdown(choices=choices, value=self._offers.recommended().key)

    def on_files(self, files: list[str] | None, request: gr.Request) -> str:
        """How many files were uploaded, and how large they are."""
        found = [Path(file) for file in files or ()]
        if not found:
            return ""
        sizes = [file.stat().st_size for file in found if file.is_file()]
        return html.chosen(say_for(request), len(found), sum(sizes))

    def on_return(self, token: str, request: gr.Request) -> Updates:
        """The batch that this browser tab had before it was loaded again."""
        session = self._visits.back(token) if isinstance(token, str) and token else None
        if session is None or session.result is None:
            if session is not None:
                self._visits.leave(session)
            return {self.session: gr.skip()}
        say, made = say_for(request), session.result
        left = html.unfinished(made)
        said = hint(say("batch.interrupted", left=left)) if left and not session.busy else ""
        return {self.session: session, self.said: said, **self._shown(say, session, made)}

    # --------------------------------------------------------------------------------------------------------- work

    def on_run(self, given: Given, request: gr.Request) -> Iterator[Updates]:
        """Denoises what was uploaded; what is done already stays."""
        say = say_for(request)
        session: Session[Batch] = given[self.session]

        def carry_out(job: Job) -> Iterator[Updates]:
            offer = self._offers.ordered(given[self.offer])
            made = self._batch(say, session, given)
            yield {self.token: self._visits.token(session), self.player: None, self.playing: ""}
            told = 0.0
            try:
                for step in work.carry_out(self._site.worker, made, offer, self._settings(given), job):
                    updates: Updates = {self.said: html.progress(say, step)}
                    if step.changed and time.monotonic() - told >= TABLE_SECONDS:
                        told = time.monotonic()
                        updates |= self._listed(say, made)
                    yield updates
            finally:
                made.current = None
            yield self._shown(say, session, made)

        try:
            yield from self.orders.carry_out(say, session, carry_out)
        finally:
            if session.result is not None:
                session.result.current = None
        if session.result is not None:  # after a full disk, too: what is done is offered
            yield {self.session: session, **self._shown(say, session, session.result)}

    def on_cancel(self, given: Given, request: gr.Request) -> Updates:
        """Stops what is under way; what is done stays and can be downloaded."""
        session: Session[Batch] | None = given[self.session]
        updates: Updates = dict(zip(self.orders.told, self.orders.on_cancel(session, request), strict=True))
        if session is None or session.result is None:
            return updates
        session.result.current = None
        return updates | self._shown(say_for(request), session, session.result)

    def on_play(self, session: Session[Batch] | None, event: gr.EventData, request: gr.Request) -> tuple[Any, Any]:
        """The recording and the result of a row."""
        say = say_for(request)
        made = session.result if session else None
        number = event._data.get("row") if isinstance(event._data, Mapping) else None
        if made is None or not isinstance(number, int) or not 0 <= number < len(made.items):
            return gr.skip(), gr.skip()
        item = made.items[number]
        done = made.done.get(item.target)
        if done is None or done.outcome.output is None:
            return gr.skip(), gr.skip()
        paths = {"before": Path(item.job.source), "after": Path(done.outcome.output)}
        try:
            gains = equal_loudness({key: excerpts.loudness(path) for key, path in paths.items()}, "before")
            versions = [Version(key, say(f"player.version.{key}"), path, gains[key]) for key, path in paths.items()]
            return titled(say("batch.playing"), made.name(item)), player_value(versions, selected="after")
        except Exception as error:
            return alert(explained(say, error)), gr.skip()

    def _batch(self, say: Say, session: Session[Batch], given: Given) -> Batch:
        """The batch of the files that are chosen: the one of before where they are the same, or none are."""
        files = tuple(given[self.files] or ())
        if session.result is not None and files in ((), session.result.uploaded):
            return session.result
        if not files:
            raise Unready(say("batch.no-files"))
        if not all(Path(file).is_file() for file in files):
            raise Unready(say("error.gone"))
        made = work.gather(session, files, self._limits)
        if not made.items:
            raise Unready(say("batch.no-sound"))
        return made

    def _settings(self, given: Given) -> Settings:
        return Settings(strength=number("bad-strength", given[self.strength]), container=given[self.format] or None)

    def _listed(self, say: Say, made: Batch) -> Updates:
        return {self.empty: "", self.heading: html.heading(say, made), self.table: html.rows(say, made)}

    def _shown(self, say: Say, session: Session[Batch], made: Batch) -> Updates:
        """Everything that is known of a batch, and what can be downloaded of it."""
        bundle = work.pack(made)
        if bundle is None:
            self._site.downloads.remove(session.folder)
            return {**self._listed(say, made), self.downloads: ""}
        token = self._site.downloads.offer(session.folder, bundle)
        names = {"table": work.CSV} | ({"batch": bundle.archive} if len(bundle.files) > 1 else {})
        return {**self._listed(say, made), self.downloads: links(say, token, names)}
