"""A checkpoint's card: the README.md that people and the Hub read, written from the manifest."""

from __future__ import annotations

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
"""What the recordings behind the bundled weights ask to be said, for `Manifest.credits`."""

NOTES = {  # a word in a credit -> what is to be said beside it
    "CC BY-SA": "Recordings under CC BY-SA are named above as such. None of them is passed on here, changed or "
    "unchanged, and we hold that weights are no adaptation of the sound that they were learnt from. No court has "
    "settled that: whoever must be sure can train without these sources.",
    "ODbL": "Contains information from PTDB-TUG, which is made available under the Open Database License (ODbL) 1.0: "
    "these weights are a work produced from it among others, and the database itself is not passed on.",
}

SCORE_TITLES = {  # metric -> title and decimals
    "pesq_wb": ("PESQ-WB", 2),
    "pesq_nb": ("PESQ-NB", 2),
    "stoi": ("STOI", 3),
    "estoi": ("ESTOI", 3),
    "si_sdr": ("SI-SDR, dB", 1),
    "snr": ("SNR, dB", 1),
    "segmental_snr": ("segmental SNR, dB", 1),
    "lsd": ("log-spectral distance, dB", 1),
    "dnsmos_sig": ("DNSMOS SIG (estimated)", 2),
    "dnsmos_bak": ("DNSMOS BAK (estimated)", 2),
    "dnsmos_ovrl": ("DNSMOS OVRL (estimated)", 2),
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
    known = [key for key in SCORE_TITLES if key in manifest.scores]
    if not known:
        return ""
    rows = ["| metric | noisy | denoised |", "| --- | ---: | ---: |"]
    for key in known:
        title, decimals = SCORE_TITLES[key]
        before = manifest.noisy_scores.get(key)
        noisy = "" if before is None else f"{before:.{decimals}f}"
        rows.append(f"| {title} | {noisy} | {manifest.scores[key]:.{decimals}f} |")
    about = f"Means over {manifest.scored_on}.\n\n" if manifest.scored_on else ""
    return "## Scores\n\n" + about + "\n".join(rows)


def _use(manifest: Manifest) -> str:
    call = f'denoise("noisy.wav", model="{manifest.model}", loss="{manifest.loss}")'
    return f"## Use\n\n```python\nfrom denoise_app import denoise\n\nclip = {call}\n```"


def _training(manifest: Manifest) -> str:
    """Numbers and words of the training; the curve stays in config.json."""
    facts = [
        f"- {key.replace('_', ' ')}: {value}"
        for key, value in manifest.training.items()
        if isinstance(value, str | int | float) and value != ""
    ]
    return "\n".join(["## Training", "", *facts]) if facts else ""


def _licence(manifest: Manifest) -> str:
    lines = ["## Licence and credits", "", f"These weights are released under {manifest.licence}."]
    if manifest.credits:
        lines += ["They hold no recording. They were learnt from recordings by others, with thanks:", ""]
        lines += [f"- {credit}" for credit in manifest.credits]
    notes = [note for word, note in NOTES.items() if any(word in credit for credit in manifest.credits)]
    return "\n".join(lines) + "".join(f"\n\n{note}" for note in notes)
