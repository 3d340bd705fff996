"""A checkpoint's card: the README.md that people and the Hub read, written from the manifest."""

from __future__ import annotations

from denoise_app.metrics.table import shown

from .manifest import Manifest

TAG = "denoise-app"

OPEN_DATA_CREDITS = (
    "LibriSpeech: V. Panayotov, G. Chen, D. Povey, S. Khudanpur; CC BY 4.0",
    "MS-SNSD: Microsoft; with the Edinburgh 56-speaker set (C. Valentini-Botinhao, CC BY 4.0), "
    "PTDB-TUG (Graz University of Technology, ODbL 1.0), Freesound (CC0) and DEMAND (J. Thiemann, N. Ito, E. Vincent, "
    "CC BY-SA 3.0)",
    "Picovoice speech-to-intent and wake-word benchmarks: Apache 2.0",
    "rhasspy voice Kerstin: CC0",
    "audio-cmn: Chen Wang, Yue Tan; CC BY-SA",
    "ESC-10: K. J. Piczak; CC BY 3.0",
    "kitchen20: M. Moreaux; Apache 2.0, clips from Freesound",
    "moodist ambiences: Pixabay Content License or CC0",
    "blanket: CC0, public domain, CC BY, CC BY-SA, Sampling+",
    "Speech Commands background noise: P. Warden; CC BY 4.0",
    "mechvibes: MIT",
    "Berlin Noise: T. Rosen; CC BY 4.0",
    "web-audio-samples impulse responses: Apache 2.0",
    "Surrey Room A responses: MIT",
    "AISHELL-3 (for choosing among states and for the scores, not for training): Apache 2.0",
)
"""The credits that the training data of the bundled weights require, for `Manifest.credits`."""

NOTES = {  # a word in a credit -> the note that it requires
    "CC BY-SA": "Recordings under CC BY-SA are named above as such. None of them is passed on here, changed or "
    "unchanged, and we hold that weights are no adaptation of the recordings that they were trained on. No court has "
    "settled that: whoever must be sure can train without these sources.",
    "ODbL": "Contains information from PTDB-TUG, which is made available under the Open Database License (ODbL) 1.0: "
    "these weights are a work produced from it among others, and the database itself is not passed on.",
}


def card(manifest: Manifest) -> str:
    """The card in Markdown, with the Hub's front matter."""
    parts = [_front_matter(manifest), _title(manifest), _facts(manifest), _scores(manifest), _use(manifest)]
    parts += [_training(manifest), _licence(manifest)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(manifest: Manifest) -> str:
    lines = ["---", f"license: {manifest.licence}", "pipeline_tag: audio-to-audio"]
    if manifest.languages:
        lines += ["language:", *(f"  - {language!r}" for language in manifest.languages)]  # quoted: "no" is no boolean
    lines += ["tags:", *(f"  - {tag}" for tag in (TAG, "speech-enhancement", "noise-suppression")), "---"]
    return "\n".join(lines)


def _title(manifest: Manifest) -> str:
    favours = [sentence for _, sentence in sorted(manifest.favours.items())]
    lines = [f"# {manifest.model}, trained with {manifest.loss}"]
    lines += ["Noisy speech in, clean speech out: weights for the model of this name in Denoise App.", *favours]
    return "\n\n".join(lines)


def _facts(manifest: Manifest) -> str:
    delay = 1000 * manifest.latency / manifest.sample_rate
    kind = "causal: it can run live" if manifest.causal else "not causal: it needs the sound that follows"
    speed = manifest.real_time_factor
    taken = [f"- a second of sound took {1000 * speed:.0f} ms of one core where it was scored"] if speed else []
    return "\n".join(
        [
            f"- {manifest.parameters:,} parameters, {manifest.macs_per_second / 1e6:,.1f} million multiply-accumulates "
            "per second of sound",
            f"- {manifest.sample_rate} Hz, mono; delay {manifest.latency} samples ({delay:g} ms); {kind}",
            *taken,
            f"- `model.safetensors`: {manifest.size:,} bytes, sha256 `{manifest.sha256}`",
        ]
    )


def _scores(manifest: Manifest) -> str:
    known = [metric for metric in shown("evaluate") if metric.key in manifest.scores]
    if not known:
        return ""
    rows = ["| metric | noisy | denoised |", "| --- | ---: | ---: |"]
    for metric in known:
        before = manifest.noisy_scores.get(metric.key)
        noisy = "" if before is None else metric.text(before)
        rows.append(f"| {metric.heading} | {noisy} | {metric.text(manifest.scores[metric.key])} |")
    about = f"Means over {manifest.scored_on}.\n\n" if manifest.scored_on else ""
    return "## Scores\n\n" + about + "\n".join(rows)


def _use(manifest: Manifest) -> str:
    call = f'denoise("noisy.wav", model="{manifest.model}", loss="{manifest.loss}")'
    return f"## Use\n\n```python\nfrom denoise_app import denoise\n\nclip = {call}\n```"


def _training(manifest: Manifest) -> str:
    """Numbers and words of the training; the curve stays in config.json."""
    facts = [
        f"- {key.replace('_', ' ')}: {'an earlier state of it' if value == manifest.name else value}"
        for key, value in manifest.training.items()
        if isinstance(value, str | int | float) and value != ""
    ]
    return "\n".join(["## Training", "", *facts]) if facts else ""


def _licence(manifest: Manifest) -> str:
    lines = ["## Licence and credits", "", f"These weights are released under {manifest.licence}."]
    if manifest.credits:
        lines += ["They hold no recording. They were trained on recordings by others, with thanks:", ""]
        lines += [f"- {credit}" for credit in manifest.credits]
    notes = [note for word, note in NOTES.items() if any(word in credit for credit in manifest.credits)]
    return "\n".join(lines) + "".join(f"\n\n{note}" for note in notes)
