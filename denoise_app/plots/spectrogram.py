"""Spectrograms on one scale: dB relative to full scale, -90 to 0, in the same colours, with linked zoom.

A full-scale sine reads 0 dB in its row. A sound of any length is taken block by block into at most 1000 columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from scipy.fft import next_fast_len

from denoise_app.audio.clip import Samples

from .theme import (
    COLOUR_BAR_HEIGHT,
    COLOUR_MAP,
    ENGLISH,
    PANEL_HEIGHT,
    RANGE_DB,
    STRIP_HEIGHT,
    Theme,
    Words,
    label,
    name,
    stack,
)
from .waveform import add_attenuation

Decibels = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float32]

WINDOW_SECONDS = 0.032  # resolves the harmonics of most voices, and the syllables
MOST_COLUMNS = 1000
MOST_ROWS = 256
LOWEST_HERTZ = 60.0  # where the logarithmic axis begins
BATCH = 64  # frames transformed at once: they stay in the cache
OCTAVES = (62.5, 125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0, 16000.0, 32000.0, 64000.0, 128000.0)


@dataclass(frozen=True)
class SpectrogramData:
    """Levels over frequency and time, as fine as they were analysed; figures draw at most 256 rows of it.

    A column is the mean power of its frames of 32 ms, of which a long sound has many. What separates speech
    from noise is lost in such means, so it is kept of every frame: some 2 kB for a second.

    Attributes:
        db: (bins, columns) int8, dB relative to full scale, -90 to 0.
        times: (columns,) s, the middle of each column, evenly spaced.
        frequencies: (bins,) Hz, from 0 to half the sample rate.
        bands: (speech bands, frames) int8, mean level of a bin in each band of 160 Hz, in the same dB.
        voicing: (frames,) int8, how periodic each frame is, 0 to 100.
        columns: (frames,) which column each frame belongs to.
    """

    db: Decibels
    times: Floats
    frequencies: Floats
    bands: Decibels
    voicing: npt.NDArray[np.int8]
    columns: npt.NDArray[np.int32]

    @property
    def power(self) -> Floats:
        """(bins, columns), 1 for a full-scale sine."""
        return _power(self.db)


class SpectrogramBuilder:
    """Takes a sound block by block; of its length it remembers only what `SpectrogramData` says.

    Args:
        sample_rate: Hz.
        frames_total: Samples that are expected. Where fewer come, the columns end there; what comes beyond them is
            counted in the last column.
        max_columns: At most this many columns.
    """

    def __init__(self, sample_rate: int, frames_total: int, max_columns: int = MOST_COLUMNS) -> None:
        self._rate = sample_rate
        self._length = next_fast_len(max(4, round(WINDOW_SECONDS * sample_rate)), real=True)
        self._length += self._length % 2
        self._hop = max(self._length // 4, min(self._length // 2, -(-frames_total // max_columns)))
        self._expected = max(1, -(-frames_total // self._hop))  # frames, centred on every hop
        self._window = np.hanning(self._length + 1)[:-1].astype(np.float32)
        self._hertz = np.linspace(0, sample_rate / 2, self._length // 2 + 1)
        self._power = np.zeros((min(self._expected, max_columns), self._hertz.size), np.float32)
        self._counts = np.zeros(len(self._power), np.int64)  # frames in each column
        self._features = SpeechFeatures(self._hertz)
        self._speech: list[tuple[Decibels, npt.NDArray[np.int8]]] = []
        self._pending: Samples = np.zeros(self._length // 2, np.float32)  # the first frame is centred on sample 0
        self._frames = 0
        self._pushed = 0

    def push(self, block: Samples) -> None:
        """Push (time,) float32 of any length."""
        self._pushed += block.size
        self._pending = np.concatenate([self._pending, block])
        ready = max(0, (self._pending.size - self._length) // self._hop + 1)
        self._take(self._pending, ready)
        self._pending = self._pending[ready * self._hop :]

    def data(self) -> SpectrogramData:
        """The spectrogram of all that was pushed; nothing may be pushed after it."""
        rest = -(-self._pushed // self._hop) - self._frames  # frames whose middle lies inside the sound
        self._take(np.concatenate([self._pending, np.zeros(self._length, np.float32)]), max(rest, 0))
        columns = max(1, int(np.count_nonzero(self._counts)))
        mean = self._power[:columns] / np.maximum(self._counts[:columns, None], 1)
        middles = (np.arange(columns) + 0.5) * (self._expected / len(self._power)) - 0.5  # in frames
        return SpectrogramData(
            _decibels(mean.T),
            (middles * (self._hop / self._rate)).astype(np.float32),
            self._hertz.astype(np.float32),
            np.concatenate([bands for bands, _ in self._speech]).T if self._speech else self._features.nothing,
            np.concatenate([voicing for _, voicing in self._speech] or [np.zeros(0, np.int8)]),
            self._columns(np.arange(self._frames)),
        )

    def _columns(self, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """The column of each frame number."""
        return np.minimum(frames * len(self._power) // self._expected, len(self._power) - 1).astype(np.int32)

    def _take(self, signal: Samples, count: int) -> None:
        """Adds `count` frames from the beginning of a signal."""
        if count <= 0:
            return
        frames = np.lib.stride_tricks.sliding_window_view(signal, self._length)[:: self._hop]
        for start in range(0, count, BATCH):
            self._add(frames[start : min(start + BATCH, count)])

    def _add(self, frames: Samples) -> None:
        spectra = np.fft.rfft(frames * self._window, axis=1)  # (n, W) -> (n, F)
        power = np.square(spectra.real) + np.square(spectra.imag)
        power *= np.float32(4 / self._window.sum() ** 2)
        power[:, [0, -1]] /= 4  # these two have no mirror image
        columns = self._columns(self._frames + np.arange(len(frames)))
        first = np.flatnonzero(np.diff(columns, prepend=-1))
        self._power[columns[first]] += np.add.reduceat(power, first, axis=0)
        self._counts += np.bincount(columns, minlength=len(self._counts))
        self._speech.append(self._features(power))
        self._frames += len(frames)


class SpeechFeatures:
    """Features that separate speech from noise in a frame.

    Args:
        hertz: (bins,) of the power spectra.
    """

    BANDS = np.arange(100.0, 4200.0, 160.0)  # Hz; two or three harmonics of a low voice in each
    VOICE = (70.0, 1500.0)  # Hz; above, the harmonics of a gliding voice run into each other
    LAGS = np.arange(1 / 400, 1 / 80, 1 / 16_000)  # s; periods of voices from 400 down to 80 Hz

    def __init__(self, hertz: npt.NDArray[np.float64]) -> None:
        self._edges = np.searchsorted(hertz, [edge for edge in self.BANDS if edge < hertz[-1]])
        self._voice = (hertz > self.VOICE[0]) & (hertz < self.VOICE[1])
        cosines = np.cos(2 * np.pi * hertz[self._voice, None] * self.LAGS)  # power spectrum -> autocorrelation
        overlap = 1 - self.LAGS / WINDOW_SECONDS  # of the window with itself, a period later
        turn = 2 * np.pi * self.LAGS / WINDOW_SECONDS
        hann = overlap * (2 / 3 + np.cos(turn) / 3) + np.sin(turn) / (2 * np.pi)  # Boersma 1993, eq. 8
        self._lags = (cosines / hann).astype(np.float32)  # ibid., eq. 9
        self.nothing = np.zeros((max(self._edges.size - 1, 0), 0), np.int8)

    def __call__(self, power: Floats) -> tuple[Decibels, npt.NDArray[np.int8]]:
        """(frames, bins) -> levels (frames, bands) in dB, and voicing (frames,) from 0 to 100."""
        totals = np.add.reduceat(power, self._edges, axis=1)[:, :-1]
        widths = np.maximum(np.diff(self._edges), 1)
        voice = power[:, self._voice]
        strongest = (voice @ self._lags).max(axis=1)
        periodicity = strongest / np.maximum(voice.sum(axis=1), 1e-20)
        return _decibels(totals / widths), (100 * periodicity).clip(0, 100).astype(np.int8)


def spectrogram_db(samples: Samples, sample_rate: int, max_columns: int = MOST_COLUMNS) -> SpectrogramData:
    """The spectrogram of a short sound, (time,) float32 at a rate in Hz."""
    builder = SpectrogramBuilder(sample_rate, samples.size, max_columns)
    builder.push(samples)
    return builder.data()


@dataclass(frozen=True)
class Octave:
    """A band and how its level changed in dB, negative where it fell; low and high in Hz."""

    low: float
    high: float
    change_db: float


@dataclass(frozen=True)
class Change:
    """What two spectrograms show, in numbers for those who do not see them.

    Attributes:
        overall_db: Change of the mean power, negative where it fell.
        octaves: The same by octave, from the lowest.
        speech_median_db, speech_worst_db: Of `speech_attenuation` the median and what one in twenty columns with
            speech exceeds; None without such a column.
    """

    overall_db: float
    octaves: tuple[Octave, ...]
    speech_median_db: float | None
    speech_worst_db: float | None


def describe(before: SpectrogramData, after: SpectrogramData) -> Change:
    """How the sound changed.

    Raises:
        ValueError: the two are of different lengths or rates.
    """
    attenuation = speech_attenuation(before, after)
    known = attenuation[np.isfinite(attenuation)]
    was, now = (data.power.mean(axis=1, dtype=np.float64) for data in (before, after))
    hertz = before.frequencies
    top = float(hertz[-1])
    octaves = []
    for low, high in pairwise(OCTAVES):
        band = (hertz >= low) & ((hertz < high) | (high >= top))
        if low < top and band.any():
            octaves.append(Octave(low, min(high, top), _ratio_db(now[band].sum(), was[band].sum())))
    return Change(
        _ratio_db(now.sum(), was.sum()),
        tuple(octaves),
        float(np.median(known)) if known.size else None,
        float(np.quantile(known, 0.95)) if known.size else None,
    )


# --------------------------------------------------------------------------------------- where speech was attenuated

FLOOR_QUANTILE = 0.2  # of a band's frames: in pauses only noise is heard
ABOVE_FLOOR = 12.0  # dB over it, some 10 over the mean of noise: there speech outweighs it tenfold
AUDIBLE = -75.0  # dB of full scale
VOICED = 80  # of 100: nearly all of the power has the pitch
LEAST_BANDS = 2  # that must stand out at once


def speech_attenuation(before: SpectrogramData, after: SpectrogramData) -> Floats:
    """How much speech itself was attenuated along time: (columns,) in dB, NaN in columns without clear speech.

    It is measured in cells of 160 Hz (100 to 4100 Hz) and one frame of 32 ms. A cell counts as speech where the frame
    is voiced, and the level before stands 12 dB above the floor of its band: there at most a tenth of the power is
    steady noise, so that removing all of it lowers the level by less than half a dB, and what is lost beyond that was
    speech. A column's value is the mean over its cells of the level before minus the level after, each in dB, so that
    a weak harmonic counts as much as a strong one; it is negative where speech was raised. Frames with fewer than two
    such cells are left out.

    Both must be at the same gain, without any loudness correction. Voiceless sounds are too much like noise and are
    left out. Other voices and barking dogs count as speech: removing them shows as attenuation, and so does removing
    noise that bursts out under a vowel. Had a perfect denoiser removed recorded noise of many kinds, 9 to 16 % of the
    columns with speech would still show more than 3 dB at 5 to 20 dB SNR, and a fifth at 0 and -5 dB (360 mixtures;
    on the 120 by which the thresholds were chosen it was 3 to 11 %, and 29 to 32 % at 0 and -5 dB).

    Raises:
        ValueError: the two are of different lengths or rates.
    """
    _same_shape(before, after)
    value = np.full(before.db.shape[1], np.nan, np.float32)
    if not before.bands.size:
        return value
    level, left = _over_three(before.bands), _over_three(after.bands)  # (bands, frames)
    floor = np.quantile(before.bands, FLOOR_QUANTILE, axis=1, keepdims=True)
    voiced = np.convolve(np.pad(before.voicing, 1, mode="edge"), np.full(3, 1 / 3), "valid") >= VOICED
    speech = (level > np.maximum(floor + ABOVE_FLOOR, AUDIBLE)) & voiced
    cells = speech.sum(axis=0)
    speech &= cells >= LEAST_BANDS
    lost = np.where(speech, level - left, 0).sum(axis=0)
    columns = before.columns
    count = np.bincount(columns, np.where(cells >= LEAST_BANDS, cells, 0), value.size)
    total = np.bincount(columns, lost, value.size)
    return np.divide(total, count, out=value, where=count > 0, casting="same_kind")


def _over_three(levels: Decibels) -> Floats:
    """dB (bands, frames) -> dB of the mean power over three frames; at the ends over those that are there."""
    power = np.pad(_power(levels), ((0, 0), (1, 1)), mode="edge")
    return 10 * np.log10((power[:, :-2] + power[:, 1:-1] + power[:, 2:]) / np.float32(3))


# ------------------------------------------------------------------------------------------------------------- figures


def linked_figure(
    panels: Sequence[SpectrogramData],
    attenuation: Floats | None = None,
    *,
    log: bool = False,
    theme: Theme = "light",
    words: Words = ENGLISH,
) -> go.Figure:
    """Spectrograms above each other on one scale and in the same colours; zooming in one zooms all.

    Args:
        panels: One to three: before, after, and of the sound that was removed; a single one goes without a name.
        attenuation: (columns,) dB, from `speech_attenuation`: a strip below, on the same time axis.
        log: A logarithmic frequency axis from 60 Hz instead of a linear one.
        theme: Of the page.
        words: In the reader's language.
    """
    strip = [] if attenuation is None else [STRIP_HEIGHT]
    figure = stack([PANEL_HEIGHT] * len(panels) + strip, theme, words, head=COLOUR_BAR_HEIGHT)
    for k, (data, title) in enumerate(zip(panels, (words.before, words.after, words.removed), strict=False)):
        figure.add_trace(heatmap(data, k, log, words))
        figure.update_layout({name("yaxis", k): _frequency_axis(data, k, log, words)})
        if len(panels) > 1:
            label(figure, k, title)
    if attenuation is not None:
        add_attenuation(figure, attenuation, panels[0].times, len(panels), theme, words)
    times = panels[0].times
    half = spacing(times) / 2
    figure.update_xaxes(range=[float(times[0]) - half, float(times[-1]) + half])
    figure.update_layout(coloraxis=colours(words))
    return figure


def rows(data: SpectrogramData, log: bool, max_rows: int = MOST_ROWS) -> tuple[Decibels, Floats]:
    """The spectrogram on at most `max_rows` rows evenly spaced in frequency, or in its logarithm.

    A row that covers several bins has the largest of them, so that a sine keeps its level; one that lies between two
    bins is interpolated.

    Returns:
        (rows, columns) int8 dB, and the rows' frequencies (rows,) in Hz.
    """
    hertz = data.frequencies
    if log:
        scale = np.log(np.maximum(hertz, 1e-3))
        centres = np.linspace(np.log(min(LOWEST_HERTZ, hertz[-1] / 4)), scale[-1], max_rows)
    else:
        scale = hertz
        centres = np.linspace(0, hertz[-1], min(max_rows, hertz.size))
    edges = (centres[1:] + centres[:-1]) / 2
    place = np.interp(centres, scale, np.arange(hertz.size))  # in bins
    lower = np.minimum(place.astype(int), hertz.size - 2)
    share = (place - lower)[:, None]
    levels = np.rint((1 - share) * data.db[lower] + share * data.db[lower + 1]).astype(np.int8)
    inside = np.flatnonzero(scale >= centres[0] - spacing(centres) / 2)
    row = np.searchsorted(edges, scale[inside], side="right")
    first = np.flatnonzero(np.diff(row, prepend=-1))
    levels[row[first]] = np.maximum.reduceat(data.db[inside], first, axis=0)
    return levels, (np.exp(centres) if log else centres).astype(np.float32)


def heatmap(data: SpectrogramData, number: int, log: bool, words: Words, max_rows: int = MOST_ROWS) -> go.Heatmap:
    """A spectrogram as the panel of this number, in the colours of the figure's `coloraxis`."""
    levels, hertz = rows(data, log, max_rows)
    vertical = {"y": [f"{row:.1f} Hz" for row in hertz]} if log else {"y0": 0.0, "dy": spacing(hertz)}
    frequency = "%{y}" if log else "%{y:.0f} Hz"
    return go.Heatmap(
        z=levels,
        x0=float(data.times[0]),
        dx=spacing(data.times),
        **vertical,
        yaxis=name("y", number),
        coloraxis="coloraxis",
        hovertemplate=f"%{{x:.2f}} s · {frequency} · %{{z}} {words.level}<extra></extra>",
    )


def _frequency_axis(data: SpectrogramData, number: int, log: bool, words: Words) -> dict[str, object]:
    """Plotly scales a heatmap as one image where its rows are evenly spaced on an axis that is not logarithmic, and
    paints cell by cell otherwise, four times as long. So the rows of the logarithmic one are categories, named by
    their frequency, and the ticks stand between them where their frequencies are."""
    axis: dict[str, object] = {"title": {"text": words.frequency, "standoff": 4}, "ticks": "outside", "ticklen": 3}
    if number:
        axis["matches"] = "y"
    if not log:
        return axis | {"range": [0, float(data.frequencies[-1])], "tickformat": "~s", "nticks": 5}
    _, hertz = rows(data, log)
    ticks = [tick for tick in OCTAVES if hertz[0] <= tick <= hertz[-1]]
    return axis | {
        "type": "category",
        "range": [-0.5, hertz.size - 0.5],
        "tickmode": "array",
        "tickvals": np.interp(np.log(ticks), np.log(hertz), np.arange(hertz.size)).tolist(),
        "ticktext": [f"{tick / 1000:g}k" if tick >= 1000 else f"{tick:g}" for tick in ticks],
    }


def colours(words: Words) -> dict[str, object]:
    """The `coloraxis` of levels, its bar above the panels."""
    return {
        "colorscale": COLOUR_MAP,
        "cmin": RANGE_DB[0],
        "cmax": RANGE_DB[1],
        "colorbar": {  # lying above the panels: upright it would take a fifth of a phone's width
            "orientation": "h",
            "y": 1,
            "yanchor": "bottom",
            "ypad": 6,
            "thickness": 6,
            "outlinewidth": 0,
            "ticklabelposition": "outside top",
            "tickvals": [-90, -75, -60, -45, -30, -15, 0],
            "ticktext": ["-90", "-75", "-60", f"-45 {words.level}", "-30", "-15", "0"],
        },
    }


def spacing(places: npt.NDArray[np.floating]) -> float:
    """The distance of evenly spaced places; 1 where there is but one."""
    return float(places[-1] - places[0]) / (places.size - 1) if places.size > 1 else 1.0


def _decibels(power: npt.NDArray[np.floating]) -> Decibels:
    """Power relative to a full-scale sine -> whole dB within the range."""
    lowest, highest = RANGE_DB
    return np.rint(10 * np.log10(np.maximum(power, 10 ** (lowest / 10)))).clip(lowest, highest).astype(np.int8)


def _power(levels: Decibels) -> Floats:
    """The inverse of `_decibels`."""
    return np.power(10, levels / np.float32(10), dtype=np.float32)


def _ratio_db(now: float, was: float) -> float:
    return float(10 * np.log10(now / was))


def _same_shape(before: SpectrogramData, after: SpectrogramData) -> None:
    if before.db.shape != after.db.shape or before.frequencies[-1] != after.frequencies[-1]:
        raise ValueError(
            f"spectrograms of equal length and rate are compared, not {before.db.shape} up to {before.frequencies[-1]} "
            f"Hz with {after.db.shape} up to {after.frequencies[-1]} Hz"
        )
