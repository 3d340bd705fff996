"""The page on what each training loss does to the sound: scores, and spectrograms of one mixture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from denoise_app.audio.clip import Clip, Samples
from denoise_app.audio.mix import mix_at_snr, noise
from denoise_app.inference import catalog, engine
from denoise_app.losses import LOSSES
from denoise_app.metrics.attenuation import Attenuation, shadow_attenuation
from denoise_app.metrics.table import METRICS, Metric, shown
from denoise_app.plots.picture import spectrograms_png
from denoise_app.plots.spectrogram import spectrogram_db

from .leaderboard import NOISY, Board, Row, markdown
from .pairs import Pair

LAB = ("gru", "light-crn")  # the models that were trained with every loss from the same start on the same data
BEYOND = "perceptual"  # the loss for fine-tuning, trained for longer than the others
NOISE, SNR_DB, SEED = "pink", 5.0, 0
COLUMNS = 250  # of a picture
ORDINALS = ("first", "second", "third", *(f"{number}th" for number in range(4, 20)))

HEAD = """\
# What each loss does to the sound

A checkpoint is a model trained with one loss. Within each model of the lab every loss was trained from the same initial
weights, on the same examples in the same order, for the same time. `perceptual` alone is left out of the ranks below,
since it was trained for longer: in `gru` it started from the end of `frcrn`, in `light-crn` all others started from its
end. This page is written by `python -m denoise_app evaluate --losses-page docs/losses.md`, from
`results/leaderboard.json` and the checkpoints.

*s* is the clean sound, *x* the noisy one, *ŝ* what the model makes of it; capitals are their short-time spectra. A loss
*aims at* the metric that its equation is, or is nearest to."""


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
    """A comment with the weights behind the pictures, by which an outdated page is recognised."""
    lab = (entry for entry in catalog.entries() if entry.source == "bundled" and entry.model in LAB)
    names = (f"{entry.model}/{entry.loss} {entry.manifest.sha256[:12]}" for entry in lab if entry.manifest)
    return "\n".join(["<!-- the weights that are shown:", *sorted(names), "-->"])


def mix(speech: Clip) -> Pair:
    """The mixture of the page."""
    clean = np.array(speech.samples[0])
    drawn = noise(NOISE, clean.size, speech.sample_rate, np.random.default_rng(SEED))
    return Pair(mix_at_snr(clean, drawn, SNR_DB, speech.sample_rate)[0], clean, speech.sample_rate)


def spectrograms(mixture: Pair, processed: Samples) -> bytes:
    """What is left and what was removed, side by side; of the mixture itself it and the clean sound."""
    other = mixture.clean if processed is mixture.noisy else mixture.noisy - processed
    return spectrograms_png([spectrogram_db(x, mixture.sample_rate, COLUMNS) for x in (processed, other)])


def definitions() -> str:
    """Every loss: its equation, what it aims at, what it favours."""
    lines = [
        [f"`{name}`", loss.equation.replace("|", "\\|"), _title(loss.aims_at), loss.favours["en"]]
        for name, loss in LOSSES.items()
    ]
    return markdown(["loss", "equation", "aims at", "favours"], lines, names=4)


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
    metrics = [metric for metric in shown("evaluate") if metric.key in rows[0]["scores"]]
    winners = {metric: _ranked(rows, metric.key)[0]["loss"] for metric in metrics}

    def cell(row: Row, metric: Metric) -> str:
        if metric.key not in row["scores"]:
            return ""
        text = metric.text(row["scores"][metric.key]["mean"])
        return f"**{text}**" if row["loss"] == winners[metric] else text

    lines = [
        [f"`{row['loss']}`" if row["loss"] else "noisy", *(cell(row, metric) for metric in metrics)]
        for row in noisy + rows
    ]
    return markdown(["loss", *(metric.heading for metric in metrics)], lines)


def _aims(rows: list[Row]) -> str:
    """The rank of each loss in the metric that it aims at, among the losses of one model with the same start."""
    rows = [row for row in rows if row["loss"] != BEYOND]
    ranks = []
    for row in rows:
        aim = LOSSES[row["loss"]].aims_at
        if aim and aim in row["scores"] and len(rows) > 1:
            place = ORDINALS[_ranked(rows, aim).index(row)]
            ranks.append(f"`{row['loss']}` is {place} of {len(rows)} in {_title(aim)}")
    return f"In the metric that it aims at, {', '.join(ranks)}." if ranks else ""


def _ranked(rows: list[Row], key: str) -> list[Row]:
    """Rows that have a metric, the best first."""
    known = (row for row in rows if key in row["scores"])
    return sorted(known, key=lambda row: row["scores"][key]["mean"], reverse=METRICS[key].better == "higher")


def _title(key: str | None) -> str:
    return METRICS[key].title if key else ""


def _introduced(folder: str) -> str:
    return f"""\
## On one mixture

Synthesised speech in {NOISE} noise at {SNR_DB:g} dB. Each picture shows on the left what a checkpoint leaves and on
the right what it removes, up to 8 kHz, on one scale of 90 dB. Shadow filtering separates the attenuation of speech
from that of noise: the gain that the checkpoint gives each cell of time and frequency is applied to the clean speech
and to the noise alone.

The mixture, and the clean speech:

![The mixture and the clean speech]({folder}/noisy.png)"""


def _shown(folder: str, model: str, attenuations: dict[str, Attenuation]) -> str:
    lines = [[f"`{loss}`", _decibels(it.speech_db), _decibels(it.noise_db)] for loss, it in attenuations.items()]
    parts = [f"### `{model}` on it", markdown(["loss", "speech attenuation, dB ↓", "noise attenuation, dB ↑"], lines)]
    for loss in attenuations:
        picture = f"![What {model} trained with {loss} leaves, and what it removes]({folder}/{model}-{loss}.png)"
        parts.append(f"`{loss}`: {LOSSES[loss].favours['en']}\n\n{picture}")
    return "\n\n".join(parts)


def _decibels(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _denoised(mixture: Pair, model: str, loss: str) -> Samples:
    clip = Clip(mixture.noisy[None], mixture.sample_rate)
    return engine.denoise(clip, catalog.load(model, loss, "cpu")).samples[0]
