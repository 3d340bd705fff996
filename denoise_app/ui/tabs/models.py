"""The Models tab: what there is, and how good it is."""

from __future__ import annotations

import gradio as gr

from denoise_app.ui import panels
from denoise_app.ui.bridge import Worker
from denoise_app.ui.language import Words, say_for


def build(page: gr.Blocks, worker: Worker, words: Words) -> None:
    """Puts the tab's content in place; to be called inside the tab."""
    gr.HTML(words.made("html.models-heading", lambda say: panels.heading(say("models.heading"))))
    table = gr.HTML(elem_id="models")

    def show(request: gr.Request) -> str:
        return panels.models(say_for(request), worker.offers(), worker.recommended(), worker.broken())

    page.load(show, outputs=table, api_visibility="private", show_progress="hidden")
