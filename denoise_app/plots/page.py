"""Spectrograms as a page of their own: pictures and text, so that it is small and shown by any browser, offline too."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape

import numpy as np
from plotly.colors import sample_colorscale

from .board import curve_svg
from .picture import spectrograms_png
from .spectrogram import Floats, SpectrogramData
from .theme import COLOUR_MAP, ENGLISH, RANGE_DB, Words

TICKS = 5  # on the time axis
STYLE = """
body { max-width: 1100px; margin: 16px auto; padding: 0 16px; background: #fff; color: #404040; }
body { font: 14px system-ui, sans-serif; }
h1 { font-size: 18px; overflow-wrap: anywhere; }
figure { margin: 0 0 14px; }
figcaption { padding: 4px 0; font-weight: 600; }
.panel { display: grid; grid-template-columns: 64px minmax(0, 1fr); gap: 4px 8px; font-variant-numeric: tabular-nums; }
.panel img, .panel .curve { display: block; width: 100%; height: 170px; }
.panel .curve { height: 70px; color: #8a2981; border-bottom: 1px solid #ddd; }
.scale { display: flex; flex-direction: column; justify-content: space-between; text-align: right; font-size: 12px; }
.times { grid-column: 2; display: flex; justify-content: space-between; font-size: 12px; }
.colours { display: flex; gap: 8px; align-items: center; font-size: 12px; }
.colours i { width: 180px; height: 10px; }
"""


def page(
    panels: Sequence[tuple[str, SpectrogramData]],
    title: str,
    language: str,
    words: Words = ENGLISH,
    attenuation: Floats | None = None,
) -> str:
    """HTML that needs nothing else, some 50 kB a panel.

    Args:
        panels: What each is called, and the spectrogram, of sounds of one length; plain text.
        title: Of the page; plain text.
        language: Of its words, "en" or "zh".
        words: For the axes.
        attenuation: (columns,) dB of the first panel's columns: a curve below; NaN counts as none.
    """
    shown = [_panel(name, data) for name, data in panels]
    if attenuation is not None:
        shown.append(_curve(words.attenuation, panels[0][1].times, attenuation))
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>'
        f"<body><h1>{escape(title)}</h1>{_colours(words)}{''.join(shown)}<p>{escape(words.time)}</p></body></html>"
    )


def _panel(name: str, data: SpectrogramData) -> str:
    picture = b64encode(spectrograms_png([data])).decode()
    top = f"{float(data.frequencies[-1]) / 1000:g} kHz"
    image = f'<img alt="{escape(name)}" src="data:image/png;base64,{picture}">'
    return _framed(name, top, "0 Hz", image, data.times)


def _curve(name: str, times: Floats, values: Floats) -> str:
    known = np.nan_to_num(values, nan=0.0)
    curve = curve_svg(times.tolist(), known.tolist())
    return _framed(name, f"{known.max():.1f}", f"{known.min():.1f}", curve, times)


def _framed(name: str, top: str, bottom: str, content: str, times: Floats) -> str:
    half = float(times[1] - times[0]) / 2 if times.size > 1 else 0.0
    places = np.linspace(max(0.0, float(times[0]) - half), float(times[-1]) + half, TICKS)
    ticks = "".join(f"<span>{place:.1f}</span>" for place in places)
    return (
        f'<figure><figcaption>{escape(name)}</figcaption><div class="panel">'
        f'<div class="scale"><span>{top}</span><span>{bottom}</span></div>{content}<div class="times">{ticks}</div>'
        "</div></figure>"
    )


def _colours(words: Words) -> str:
    """What the colours mean."""
    stops = ", ".join(sample_colorscale(COLOUR_MAP, 9))
    low, high = RANGE_DB
    bar = f'<i style="background: linear-gradient(90deg, {stops})"></i>'
    return f'<p class="colours">{low} {bar} {high} {escape(words.level)}</p>'
