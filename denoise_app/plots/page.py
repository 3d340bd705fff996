"""A figure as a self-contained HTML page."""

from __future__ import annotations

from html import escape

import plotly.graph_objects as go

from .theme import Theme

BACKGROUNDS: dict[Theme, str] = {"light": "#ffffff", "dark": "#0b0f19"}  # Gradio's own


def page(figure: go.Figure, title: str, language: str, theme: Theme = "light") -> str:
    """HTML that holds the figure and all that draws it, some 5 MB.

    Args:
        title: Of the page; plain text.
        language: Of its words, "en" or "zh".
        theme: Of the figure.
    """
    drawn = figure.to_html(full_html=False, include_plotlyjs=True, config={"displaylogo": False, "responsive": True})
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f'<title>{escape(title)}</title></head><body style="margin:16px;background:{BACKGROUNDS[theme]}">{drawn}</body>'
        "</html>"
    )
