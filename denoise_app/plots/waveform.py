"""Curves along time: the waveform's envelope, where speech was attenuated, energy and zero crossings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from denoise_app.audio.clip import Samples

from .theme import ENGLISH, PALETTES, Theme, Words, label, name, stack

Floats = npt.NDArray[np.float32]

MOST_COLUMNS = 1000
ACTIVITY_HEIGHT = 76  # px: two curves of each of four sounds fill a phone's screen
HISS = 0.5  # zero-crossing rate of white noise
HEADROOM = 1.6  # of the axis over the highest zero-crossing rate, for the panel's name
MOST_ATTENUATION = 20.0  # dB, the strip's lower end at least: what lost more is lost


@dataclass(frozen=True)
class Envelope:
    """The lowest and the highest sample of each of up to 1000 stretches of a sound.

    Attributes:
        low, high: (columns,) float32, full scale is [-1, 1].
        seconds: Length of the sound.
    """

    low: Floats
    high: Floats
    seconds: float


class EnvelopeBuilder:
    """Takes a sound block by block.

    Args:
        sample_rate: Hz.
        frames_total: Samples that are expected. Where fewer come, the envelope ends there; what comes beyond them is
            counted in the last column.
        max_columns: At most this many columns.
    """

    def __init__(self, sample_rate: int, frames_total: int, max_columns: int = MOST_COLUMNS) -> None:
        self._rate = sample_rate
        self._expected = max(1, frames_total)
        columns = min(max_columns, self._expected)
        self._low = np.full(columns, np.inf, np.float32)
        self._high = np.full(columns, -np.inf, np.float32)
        self._pushed = 0

    def push(self, block: Samples) -> None:
        """Push (time,) float32 of any length."""
        if not block.size:
            return
        places = (self._pushed + np.arange(block.size)) * len(self._low) // self._expected
        places = np.minimum(places, len(self._low) - 1)
        first = np.flatnonzero(np.diff(places, prepend=-1))
        columns = places[first]
        self._low[columns] = np.minimum(self._low[columns], np.minimum.reduceat(block, first))
        self._high[columns] = np.maximum(self._high[columns], np.maximum.reduceat(block, first))
        self._pushed += block.size

    def data(self) -> Envelope:
        """The envelope of what was pushed so far."""
        known = np.isfinite(self._low)
        if not known.any():
            return Envelope(np.zeros(1, np.float32), np.zeros(1, np.float32), 0.0)
        return Envelope(self._low[known], self._high[known], self._pushed / self._rate)


def envelope(samples: Samples, sample_rate: int, max_columns: int = MOST_COLUMNS) -> Envelope:
    """The envelope of a short sound, (time,) float32 at a rate in Hz.

    >>> envelope(np.array([0, 1, -1, 0.5, 0.25, 0], np.float32), 2, max_columns=2)
    Envelope(low=array([-1.,  0.], dtype=float32), high=array([1. , 0.5], dtype=float32), seconds=3.0)
    """
    builder = EnvelopeBuilder(sample_rate, samples.size, max_columns)
    builder.push(samples)
    return builder.data()


def outline(shape: Envelope, title: str, colour: str, axis: str = "y") -> go.Scatter:
    """A waveform as a curve that goes up and down within each column."""
    curve = np.stack([shape.low, shape.high], axis=1).ravel()
    return _line(np.repeat(_middles(shape.low.size, shape.seconds), 2), curve, title, colour, axis)


def highest(envelopes: Sequence[Envelope]) -> float:
    """Where the axis of waveforms ends: their largest magnitude, and for silence -60 dBFS."""
    return max(1e-3, *(float(np.abs([shape.low, shape.high]).max()) for shape in envelopes))


def add_attenuation(
    figure: go.Figure, attenuation: Floats, times: Floats, number: int, theme: Theme, words: Words
) -> None:
    """Draws the strip into a panel of a figure.

    A line at 0 dB stands where speech is; what hangs down from it is what was lost of it.

    Args:
        figure: Made by `theme.stack`.
        attenuation: (columns,) dB, NaN where no speech is.
        times: (columns,) s, evenly spaced.
        number: The panel, counted from 0.
        theme, words: As in the figure.
    """
    palette = PALETTES[theme]
    half = (times[-1] - times[0]) / max(times.size - 1, 1) / 2
    edges = np.stack([times - half, times + half], axis=1).ravel()  # each column is as wide as its cells
    lost = np.repeat(np.nan_to_num(np.maximum(attenuation, 0)), 2)
    present = np.repeat(np.where(np.isfinite(attenuation), 0, np.nan), 2)
    depth = _line(edges, lost, words.attenuation, palette.marks[1], name("y", number))
    depth.update(
        fill="tozeroy",
        fillcolor=palette.marks[1],
        line_width=0,
        hovertemplate="%{x:.2f} s · %{y:.1f} dB<extra></extra>",
    )
    speech = _line(edges, present, words.attenuation, palette.marks[0], name("y", number))
    speech.update(line_width=4, hoverinfo="skip", hovertemplate=None)
    figure.add_traces([depth, speech])
    deepest = max(MOST_ATTENUATION, float(lost.max(initial=0)))
    figure.update_layout({name("yaxis", number): {"title": {"text": "dB"}, "range": [deepest, 0], "nticks": 3}})
    label(figure, number, words.attenuation, "bottom")


def activity_figure(
    times: Floats, sounds: Sequence[tuple[str, Floats, Floats]], *, theme: Theme = "light", words: Words = ENGLISH
) -> go.Figure:
    """Short-time energy of each sound above each other, and below them likewise their zero-crossing rates.

    Args:
        times: (frames,) s, those of all sounds.
        sounds: Name, energy in dBFS and zero-crossing rate from 0 to 1, (frames,) each.
        theme: Of the page.
        words: In the reader's language.
    """
    curves = [(f"{title} · {words.energy}", energy) for title, energy, _ in sounds]
    curves += [(f"{title} · {words.crossings}", crossings) for title, _, crossings in sounds]
    figure = stack([ACTIVITY_HEIGHT] * len(curves), theme, words)
    most = max((float(crossings.max(initial=0)) for _, _, crossings in sounds), default=0.0)
    for k, (title, values) in enumerate(curves):
        figure.add_trace(_line(times, values, title, PALETTES[theme].marks[1], name("y", k)))
        is_energy = k < len(sounds)
        span = [-90, 0] if is_energy else [0, HEADROOM * max(HISS, most)]
        figure.update_layout({name("yaxis", k): {"range": span, "nticks": 3}})
        label(figure, k, title, "bottom" if is_energy else "top")  # where speech leaves room
    return figure


def _line(times: Floats, values: Floats, title: str, colour: str, axis: str = "y") -> go.Scatter:
    return go.Scatter(
        x=times.astype(np.float32),
        y=values.astype(np.float32),
        mode="lines",
        line={"width": 1, "color": colour},
        name=title,
        yaxis=axis,
        hovertemplate=f"%{{x:.2f}} s · %{{y:.3f}}<extra>{title}</extra>",
    )


def _middles(columns: int, seconds: float) -> Floats:
    return ((np.arange(columns) + 0.5) * (seconds / columns)).astype(np.float32)
