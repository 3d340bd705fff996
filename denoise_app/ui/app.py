"""Puts the page together, and serves it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from denoise_app import resources
from denoise_app.audio.errors import UserError
from denoise_app.audio.limits import Limits
from denoise_app.inference.device import choose
from denoise_app.serve import health, logs, token
from denoise_app.serve.limits import ServiceLimits, raise_open_files
from denoise_app.serve.live import MESSAGE_BYTES
from denoise_app.ui import static
from denoise_app.ui.batch.tab import BatchTab
from denoise_app.ui.bench.tab import BenchTab
from denoise_app.ui.clean.tab import CleanTab
from denoise_app.ui.compare.tab import CompareTab
from denoise_app.ui.live.tab import LiveTab
from denoise_app.ui.models.tab import ModelsTab
from denoise_app.ui.parts import player
from denoise_app.ui.parts.downloads import Downloads
from denoise_app.ui.parts.orders import AT_ONCE
from denoise_app.ui.parts.scripts import TO_BLIND, TO_TOP
from denoise_app.ui.parts.site import Examples, Site
from denoise_app.ui.parts.votes import Votes
from denoise_app.ui.worker import zero
from denoise_app.ui.worker.clients import Line
from denoise_app.ui.worker.session import Sessions
from denoise_app.ui.worker.worker import Worker
from denoise_app.version import __version__

from . import api, header, service
from .first import First
from .lean import Lean
from .texts import LANGUAGES

EXAMPLES = resources.folder("examples")
HANDS = 40  # threads for what computes nothing, beside those of the orders


@dataclass(frozen=True)
class App:
    """The page, and what serving it takes."""

    blocks: gr.Blocks
    site: Site
    limits: ServiceLimits
    token: str
    routes: list[BaseRoute]


def build(
    worker: Worker | None = None, sessions: Sessions | None = None, examples: Sequence[Path] | None = None
) -> App:
    """The page.

    Args:
        worker: Computes; without one, that of this machine.
        sessions: Keeps work files; without it, among the temporary files of this process.
        examples: Recordings to try; without it those in the folder of examples.

    Raises:
        UserError: An environment variable holds what cannot be.
    """
    downloads, limits = Downloads(), ServiceLimits.from_environment()
    site = Site(
        worker=worker or Worker(),
        sessions=sessions or Sessions(service.own_folder().room("visits"), downloads.remove),
        downloads=downloads,
        votes=Votes.from_environment(),
        examples=examples_of(EXAMPLES, examples),
    )
    words, device, dataset = site.words, choose(), site.votes.dataset
    with api.Page(
        title=LANGUAGES["en"]["app.name"],
        analytics_enabled=False,
        delete_cache=(300, 60 * site.minutes),
        fill_width=True,
    ) as blocks:
        gr.HTML(words.made("html.header", lambda say: header.header(say, device, site.minutes, dataset)))
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab(words("tab.clean"), id="clean"):
                clean = CleanTab(site, blocks)
            with gr.Tab(words("tab.compare"), id="compare") as tab:
                compare = CompareTab(site, blocks, tab)
            with gr.Tab(words("tab.bench"), id="bench"):
                bench = BenchTab(site, blocks)
            with gr.Tab(words("tab.live"), id="live"):
                live = LiveTab(site, limits)
            with gr.Tab(words("tab.batch"), id="batch"):
                BatchTab(site, blocks, limits)
            with gr.Tab(words("tab.models"), id="models"):
                ModelsTab(site, blocks)
        _hand_on(tabs, clean, compare, bench)
        gr.HTML(words.made("html.version", lambda say: header.version(say, __version__)))
        api.build(site.worker, site.sessions)
    key = token.from_environment()
    blocks._queue = Line(blocks, limits, site.worker.quota, key)
    return App(blocks, site, limits, key, [*downloads.routes, *player.ROUTES, *live.routes])


def _hand_on(tabs: gr.Tabs, clean: CleanTab, compare: CompareTab, bench: BenchTab) -> None:
    """Lets the recording of a result go on to other tabs; each is opened first, for Gradio puts it on the page then."""
    for button, key, audio, session in (
        (clean.to_compare, "compare", compare.audio, compare.session),
        (clean.to_blind, "compare", compare.audio, compare.session),
        (clean.to_bench, "bench", bench.clean, bench.session),
    ):
        opened = button.click(partial(gr.Tabs, selected=key), None, tabs, **AT_ONCE)
        handed = opened.then(clean.on_hand, [clean.session, session], [audio, session], js=TO_TOP, **AT_ONCE)
        if key == "compare":
            choice = [compare.preset, compare.columns]
            chosen = handed.then(compare.on_hand, [clean.checkpoint, compare.columns], choice, **AT_ONCE)
        if button is clean.to_blind:
            chosen.then(None, js=TO_BLIND, **AT_ONCE)


def examples_of(folder: Path, recordings: Sequence[Path] | None = None) -> Examples:
    """The sounds to try that come with the program; with other recordings where some are given."""
    speech, noises = (sorted((folder / "bench").glob(f"{kind}-*.flac")) for kind in ("speech", "noise"))
    return Examples(sorted(folder.glob("*.flac")) if recordings is None else recordings, speech, noises)


def launch(app: App, **options: Any) -> tuple[Any, str, Any]:
    """Serves the page; `options` go to Gradio's launch. Returns what that returns."""
    worker = app.site.worker

    def state() -> str:
        return worker.state

    usual: dict[str, Any] = {
        "theme": theme(),
        "css": static.text("page.css"),
        "head": head(),
        "i18n": app.site.words.translations,
        "app_kwargs": {
            "routes": [*app.routes, *health.routes(state, worker.metrics, app.token)],
            "lifespan": service.lifespan(app.site, app.limits),
            "middleware": [Middleware(Lean), Middleware(First, static.text("leave.js"))],
            "exception_handlers": dict.fromkeys((TypeError, KeyError), api.misnamed),
        },
        "favicon_path": static.path("icon.svg"),
        "max_file_size": min(Limits.from_environment().max_bytes, app.limits.max_upload),
        "max_threads": app.limits.max_waiting + HANDS,
        "footer_links": ["api"],
        "run_history": False,
        "show_error": False,
        "pwa": True,
        "ssr_mode": False,  # the routes of the downloads are Python's own
        "_frontend": False,  # else a first page that takes 3 s, as on a busy machine, ends the server before it began
    }
    told = app.blocks.launch(**usual | options | {"prevent_thread_lock": True})
    # which Gradio lets nobody set; each connection reads it when it is made, and no live session has begun yet
    app.blocks.server.config.ws_max_size, app.blocks.server.config.ws_per_message_deflate = MESSAGE_BYTES, False
    if not options.get("prevent_thread_lock"):
        app.blocks.block_thread()
    return told


def serve() -> None:
    """Serves the page until it is stopped."""
    zero.prepare()
    raise_open_files()
    try:
        quiet = logs.from_environment()
        Limits.from_environment()
        worker = Worker()
        app = build(worker)
    except UserError as error:  # a variable such as DENOISE_DEVICE or DENOISE_JOBS holds what cannot be
        raise SystemExit(f"error: {error}") from error
    try:
        with service.ended_by_sigterm(worker, app.limits.drain_seconds):
            worker.warm_up()
            service.settle()
            launch(app, quiet=quiet)
    finally:
        worker.close()  # first, for its work writes into the folder
        service.own_folder().remove()


def head() -> str:
    """What goes into the page's head."""
    chinese = LANGUAGES["zh"]
    words = {"TITLE_ZH": chinese["app.name"], "RECORDING_ZH": chinese["source.heading"]}
    words |= {"COPIED_ZH": chinese["download.copied"], "COPIED_EN": LANGUAGES["en"]["download.copied"]}
    script = "".join(map(static.text, ("upload.js", "recorder.js", "drop.js", "page.js")))
    return f"<script>{re.sub('|'.join(words), lambda name: json.dumps(words[name[0]]), script)}</script>"


def theme() -> gr.themes.Base:
    """One accent, quiet greys, fonts that every machine has: nothing is fetched from elsewhere."""
    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC"]
    return gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_lg,
        font=[*fonts, "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        color_accent="*primary_700",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_400",
        button_primary_background_fill_hover_dark="*primary_300",
        button_primary_text_color="white",
        button_primary_text_color_dark="*neutral_950",
        slider_color="*primary_700",
        slider_color_dark="*primary_400",
        block_border_width="0px",
        block_shadow="none",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        block_label_text_color="*neutral_700",
        block_title_text_color="*neutral_800",
        block_title_text_color_dark="*neutral_200",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
    )
