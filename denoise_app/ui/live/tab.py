"""The Live tab: speak, and hear yourself denoised; on the server, in the browser, or by the browser's own means."""

from __future__ import annotations

import gradio as gr
from starlette.routing import BaseRoute

from denoise_app.serve.limits import ServiceLimits
from denoise_app.serve.live import Live, LiveLimits
from denoise_app.ui import static
from denoise_app.ui.parts.language import say_in
from denoise_app.ui.parts.site import Site

from . import html, work


class LiveTab:
    """The tab's widgets, and the sessions behind them.

    Args:
        site: What it works with.
        limits: How many sessions there are at once.

    Attributes:
        routes: What the web server has to know.
    """

    def __init__(self, site: Site, limits: ServiceLimits) -> None:
        worker, offers = site.worker, work.causal(site.worker.offers)
        chosen = work.recommended(site.worker.offers, offers)
        graphs = work.Graphs(worker, site.examples.recordings)
        at_once = LiveLimits(sessions=limits.live_sessions)
        live = Live(graphs.denoiser, at_once, say_in, lambda: worker.ending, worker.busy, worker.metrics)
        self.routes: list[BaseRoute] = [*live.routes, *work.Files(graphs).routes]
        gr.HTML(
            site.words.made("html.live", lambda say: html.panel(say, offers, chosen, work.ADDRESSES)),
            js_on_load=static.text("live.js"),
            elem_id="live",
        )
