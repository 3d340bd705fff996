"""The page on what each loss does to the sound: measured, and shown on one mixture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from denoise_app.audio.clip import Clip, Samples
from denoise_app.audio.mix import mix_at_snr, noise
from denoise_app.checkpoints.card import SCORE_TITLES
from denoise_app.inference import catalog, engine
from denoise_app.losses import LOSSES
from denoise_app.metrics.attenuation import Attenuation, shadow_attenuation
from denoise_app.metrics.report import METRICS
from denoise_app.plots.picture import spectrograms_png
from denoise_app.plots.spectrogram import spectrogram_db

from .leaderboard import NOISY, Board, Row, heading, markdown

LAB = ("gru", "light-crn")  # the models that are taught by every loss from the same start on the same data
BEYOND = "perceptual"  # the loss that is not: it begins where `frcrn` ended
NOISE, SNR_DB, SEED = "pink", 5.0, 0
COLUMNS = 250  # of a picture
ORDINALS = ("first", "second", "third", *(f"{number}th" for number in range(4, 20)))

HEAD = """\
# What each loss does to the sound

A checkpoint is a model and the loss that it was taught by. Within one model of the lab every loss had the same start,
the same examples in the same order, and the same time; `perceptual` alone, which is for models that have learnt to
denoise, began where `frcrn` had ended, and is no part of the ranks below. This page is written by
`python -m denoise_app evaluate --losses-page docs/losses.md`, from `results/leaderboard.json` and the checkpoints.

*s* is the clean sound, *x* the noisy one, *ŝ* what the model makes of it; capitals are their short-time spectra. A loss
*aims at* the metric that its equation is, or is nearest to."""


@dataclass(frozen=True)
class Mixture:
    """Clean and noisy speech, (time,) each, at a rate in Hz."""

    clean: Samples
    noisy: Samples
    sample_rate: int


def write(path: Path, board: Board, speech: Clip) -> list[Path]:
    """Write the page, and its pictures into the folder beside it that is called as the page is.

    Args:
        path: The page, a Markdown file.
        board: The scores.
        speech: Clean; its first channel is mixed with noise by rule.

    Returns:
        The files, the page first.

    Raises:
        CheckpointError, OSError: a checkpoint cannot be read, a file not written.
    """
    mixture = mix(speech)
    pictures = {"noisy": spectrograms(mixture, mixture.noisy)}
    parts = [HEAD, definitions(), measured(board), _introduced(path.stem)]
    entries = [entry for entry in catalog.entries() if entry.source == "bundled"]
    for model in LAB:
        attenuations: dict[str, Attenuation] = {}
        for loss in (loss for loss in LOSSES if any((e.model, e.loss) == (model, loss) for e in entries)):
            processed = _denoised(mixture, model, loss)
            attenuations[loss] = shadow_attenuation(mixture.noisy, processed, mixture.clean)
            pictures[f"{model}-{loss}"] = spectrograms(mixture, processed)
        parts += [_shown(path.stem, model, attenuations)] if attenuations else []
    parts.append(weights_shown())
    folder = path.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    files = [path, *(folder / f"{name}.png" for name in pictures)]
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    for file, data in zip(files[1:], pictures.values(), strict=True):
        file.write_bytes(data)
    return files


def weights_shown() -> str:
    """Which weights the pictures are of, as a comment: by it a page is known that is older than they are."""
    lab = (entry for entry in catalog.entries() if entry.source == "bundled" and entry.model in LAB)
    names = (f"{entry.model}/{entry.loss} {entry.manifest.sha256[:12]}" for entry in lab if entry.manifest)
    return "\n".join(["<!-- the weights that are shown:", *sorted(names), "-->"])


def mix(speech: Clip) -> Mixture:
    """The mixture of the page."""
    clean = np.array(speech.samples[0])
    drawn = noise(NOISE, clean.size, speech.sample_rate, np.random.default_rng(SEED))
    return Mixture(clean, mix_at_snr(clean, drawn, SNR_DB, speech.sample_rate)[0], speech.sample_rate)


def spectrograms(mixture: Mixture, processed: Samples) -> bytes:
    """What is left and what was removed, side by side; of the mixture itself it and the clean sound."""
    other = mixture.clean if processed is mixture.noisy else mixture.noisy - processed
    return spectrograms_png([spectrogram_db(x, mixture.sample_rate, COLUMNS) for x in (processed, other)])


def definitions() -> str:
    """Every loss: its equation, what it aims at, what it favours."""
    lines = [
        [f"`{name}`", loss.equation.replace("|", "\\|"), _title(loss.aims_at), loss.favours["en"]]
        for name, loss in LOSSES.items()
    ]
    return markdown(["loss", "what is made small", "aims at", "favours"], lines, names=4)


def measured(board: Board) -> str:
    """All metrics of every loss of the models of the lab, and how each loss stands in what it aims at."""
    parts = [f"## Measured\n\nMeans over {board['data']['about']}; the best of each column is bold."]
    noisy = [row for row in board["rows"] if row["model"] == NOISY]
    for model in LAB:
        by_loss = {row["loss"]: row for row in board["rows"] if row["model"] == model}
        rows = [by_loss[loss] for loss in LOSSES if loss in by_loss]
        if rows:
            parts += [f"### `{model}`", _matrix(noisy, rows), _aims(rows)]
    return "\n\n".join(part for part in parts if part)


def _matrix(noisy: list[Row], rows: list[Row]) -> str:
    keys = [key for key in SCORE_TITLES if key in rows[0]["scores"]]
    winners = {key: _ranked(rows, key)[0]["loss"] for key in keys}

    def cell(row: Row, key: str) -> str:
        if key not in row["scores"]:
            return ""
        text = f"{row['scores'][key]['mean']:.{SCORE_TITLES[key][1]}f}"
        return f"**{text}**" if row["loss"] == winners[key] else text

    lines = [
        [f"`{row['loss']}`" if row["loss"] else "noisy", *(cell(row, key) for key in keys)] for row in noisy + rows
    ]
    return markdown(["loss", *(heading(_title(key), key) for key in keys)], lines)


def _aims(rows: list[Row]) -> str:
    """How each loss that aims at a metric stands in it among the losses of one model that had the same start."""
    rows = [row for row in rows if row["loss"] != BEYOND]
    told = []
    for row in rows:
        aim = LOSSES[row["loss"]].aims_at
        if aim and aim in row["scores"] and len(rows) > 1:
            place = ORDINALS[_ranked(rows, aim).index(row)]
            told.append(f"`{row['loss']}` is {place} of {len(rows)} in {_title(aim)}")
    return f"In the metric that it aims at, {', '.join(told)}." if told else ""


def _ranked(rows: list[Row], key: str) -> list[Row]:
    """Rows that have a metric, the best first."""
    sign = -1 if METRICS[key].better == "higher" else 1
    return sorted((row for row in rows if key in row["scores"]), key=lambda row: sign * row["scores"][key]["mean"])


def _title(key: str | None) -> str:
    return SCORE_TITLES[key][0] if key else ""


def _introduced(folder: str) -> str:
    return f"""\
## On one mixture

Synthesised speech in {NOISE} noise at {SNR_DB:g} dB. Each picture shows on the left what a checkpoint leaves and on
the right what it removes, up to 8 kHz, on one scale of 90 dB. What is taken from speech and from noise is told apart by
shadow filtering: the gain that the checkpoint gives each cell of time and frequency is laid over the clean speech and
over the noise alone.

The mixture, and the clean speech:

![The mixture and the clean speech]({folder}/noisy.png)"""


def _shown(folder: str, model: str, attenuations: dict[str, Attenuation]) -> str:
    lines = [[f"`{loss}`", _decibels(it.speech_db), _decibels(it.noise_db)] for loss, it in attenuations.items()]
    parts = [f"### `{model}` on it", markdown(["loss", "speech taken away, dB ↓", "noise taken away, dB ↑"], lines)]
    for loss in attenuations:
        picture = f"![What {model} taught by {loss} leaves, and what it removes]({folder}/{model}-{loss}.png)"
        parts.append(f"`{loss}`: {LOSSES[loss].favours['en']}\n\n{picture}")
    return "\n\n".join(parts)


def _decibels(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _denoised(mixture: Mixture, model: str, loss: str) -> Samples:
    clip = Clip(mixture.noisy[None], mixture.sample_rate)
    return engine.denoise(clip, catalog.load(model, loss, "cpu")).samples[0]
