"""Everything that decides what a training run does, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Recipe:
    """How examples are mixed. Chances are per example, in [0, 1].

    Attributes:
        seconds: Length of an example.
        batch: Examples per step.
        snr_db: Range of the ratio of active speech to noise.
        level_dbfs: Range of the mixture's RMS level.
        two_noises, babble, coloured: Chance of a second noise; of noise made of 4 to 8 voices; of noise by rule.
        band_limit: Chance that speech and noise together end at 3.4 to 7 kHz, as narrow-band recordings do.
        equalise: Chance of a random smooth equaliser, drawn for speech and noise apart.
        room: Chance of reverberant speech; the target keeps its first 50 ms.
        clip: Chance that the mixture is clipped; the target is not.
        clean_only, noise_only: Chance that there is no noise; that there is no speech.
        weights: (path prefix, weight) pairs: how often speech from below that folder is drawn; 1 where none fits.
    """

    seconds: float = 3.0
    batch: int = 16
    snr_db: tuple[float, float] = (-5.0, 20.0)
    level_dbfs: tuple[float, float] = (-40.0, -8.0)
    two_noises: float = 0.25
    babble: float = 0.06
    coloured: float = 0.08
    band_limit: float = 0.25
    equalise: float = 0.3
    room: float = 0.3
    clip: float = 0.05
    clean_only: float = 0.05
    noise_only: float = 0.04
    weights: tuple[tuple[str, float], ...] = (("cmn", 0.5),)


@dataclass(frozen=True)
class TrainConfig:
    """One training run: a model, a loss, the sound, and a budget.

    Attributes:
        model, loss: Names in `models.registry.MODELS` and `losses.LOSSES`.
        clean, noise, rir: Folders of audio; impulse responses are optional, rooms are simulated beside them.
        out: Folder of the run: its state, its log and its best checkpoint.
        cache: Folder for decoded sound.
        model_config: Settings of the model that differ from its defaults.
        minutes: Wall-clock budget; the learning rate has fallen to its end when it is spent.
        steps: Budget in steps instead, where minutes is None.
        valid_clean, valid_noisy: Folders of pairs with equal names, for choosing the best state.
        init: A folder with a checkpoint to start from (fine-tuning), None for a fresh start.
        resume: Go on from the state in `out`.
        device: "cpu", "cuda", ...; None chooses.
        validate_minutes: Minutes of training between validations; each also saves the state.
    """

    model: str
    loss: str
    clean: Path
    noise: Path
    out: Path
    rir: Path | None = None
    cache: Path = Path(".cache/audio")
    model_config: dict[str, float] = field(default_factory=dict)
    recipe: Recipe = Recipe()
    minutes: float | None = None
    steps: int = 10_000
    learning_rate: float = 1.5e-3
    last_learning_rate: float = 0.015  # as a share of the first
    warm_up: float = 0.05  # share of the budget
    weight_decay: float = 0.01
    clip_norm: float = 4.0
    ema: float = 0.999
    seed: int = 0
    valid_clean: Path | None = None
    valid_noisy: Path | None = None
    valid_pairs: int = 40
    validate_minutes: float = 8.0
    init: Path | None = None
    resume: bool = False
    device: str | None = None
