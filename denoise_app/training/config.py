"""Everything that decides what a training run does, as data, and how a TOML file says it.

A file has the fields of `TrainConfig` at its top and those of `Recipe` in a table [recipe]; what it leaves out keeps
its default, and what the command line gives goes before it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from denoise_app.models.layers import check_bounds

RUNS = Path("runs")
"""Where runs are kept when nothing else is said: one as <model>/<loss> in it, as in the folder of weights."""

Table = Mapping[str, Any]
"""What tomllib makes of a table."""


class TrainingError(ValueError):
    """A run cannot start or go on; the message says why and what to do."""


CHANCES = (
    "two_talkers", "level_change", "long_pause", "two_noises", "babble", "coloured", "hum", "speed", "band_limit",
    "equalise", "room", "overdrive", "clip", "offset", "clean_only", "noise_only",
)  # fmt: skip

EXCLUSIVE = (("two_talkers", "level_change", "long_pause"), ("babble", "coloured"), ("clean_only", "noise_only"))


@dataclass(frozen=True)
class Recipe:
    """How examples are mixed. Chances are per example, in [0, 1].

    Attributes:
        seconds: Length of an example.
        batch: Examples per step, of each process where several train together.
        snr_db: Range of the ratio of active speech to noise.
        level_dbfs: Range of the mixture's RMS level.
        two_talkers: Chance that a second voice follows, or goes before, 5 to 30 dB softer, and is to be kept likewise.
        level_change: Chance that one voice goes on up to 20 dB softer or louder.
        long_pause: Chance that one voice stops for long in the middle.
        two_noises, babble, coloured: Chance of a second noise; of noise made of 4 to 8 voices; of noise by rule.
        hum: Chance of the mains beside another noise: 50 or 60 Hz and harmonics.
        speed: Chance that a voice plays up to 1.18 times, or a noise up to 1.6 times, as fast or as slow.
        band_limit: Chance that speech and noise together end at 3.4 to 7 kHz, as narrow-band recordings do.
        equalise: Chance of a random smooth equaliser, drawn for speech and noise apart.
        room: Chance of reverberant speech; the target keeps its first 50 ms.
        overdrive: Chance that the speech is clipped before the noise comes to it; the target is not.
        clip: Chance that the mixture is clipped; the target is not.
        offset: Chance that the mixture lies up to 30 per cent of full scale off zero; the target does not.
        clean_only, noise_only: Chance that there is no noise; that there is no speech.
        weights: (path prefix, weight) pairs: how often speech from below that folder is drawn; 1 where none fits.
    """

    seconds: float = 3.0
    batch: int = 16
    snr_db: tuple[float, float] = (-5.0, 30.0)
    level_dbfs: tuple[float, float] = (-40.0, -8.0)
    two_talkers: float = 0.12
    level_change: float = 0.08
    long_pause: float = 0.06
    two_noises: float = 0.25
    babble: float = 0.06
    coloured: float = 0.08
    hum: float = 0.05
    speed: float = 0.5
    band_limit: float = 0.25
    equalise: float = 0.3
    room: float = 0.3
    overdrive: float = 0.03
    clip: float = 0.05
    offset: float = 0.03
    clean_only: float = 0.05
    noise_only: float = 0.04
    weights: tuple[tuple[str, float], ...] = (("cmn", 0.5),)

    def __post_init__(self) -> None:
        check_bounds(self, seconds=(0.1, 60.0), batch=(1, 4096), **dict.fromkeys(CHANCES, (0.0, 1.0)))
        for name, lowest, highest in (("snr_db", -100.0, 100.0), ("level_dbfs", -100.0, 0.0)):
            low, high = getattr(self, name)
            if not lowest <= low <= high <= highest:
                raise ValueError(f"{name} must be a range within {lowest:g}..{highest:g}, not {low}..{high}")
        for names in EXCLUSIVE:
            if sum(getattr(self, name) for name in names) > 1:
                raise ValueError(f"{' and '.join(names)} exclude each other: together they are at most 1")
        for prefix, weight in self.weights:
            if not 0 <= weight <= 1e6:
                raise ValueError(f"weights.{prefix} must lie in 0..1e6, not {weight}")


@dataclass(frozen=True)
class TrainConfig:
    """One training run: a model, a loss, the sound, and a budget.

    Attributes:
        model, loss: Names in `models.registry.MODELS` and `losses.LOSSES`.
        clean, noise, rir: Folders of audio; impulse responses are optional, rooms are simulated beside them.
        out: Folder of the run: its state, its log and its best checkpoint; of a plan, the folder of its runs' folders.
        cache: Folder for decoded sound.
        model_config: Settings of the model that differ from its defaults.
        recipe: How examples are mixed.
        minutes: Budget of training time, to which decoding and validation come on top; the learning rate has fallen to
            its end when it is spent.
        steps: Budget in steps instead, where minutes is None.
        learning_rate, last_learning_rate: The highest, and the last as a share of it; a cosine leads down.
        warm_up: Share of the budget in which the learning rate rises.
        weight_decay: Share that the weights lose at each step, times the learning rate.
        clip_norm: Longest gradient.
        ema: Share that the averaged weights, which are the result, keep of themselves at each step.
        seed: Of the first weights, the rooms, and every batch.
        valid_clean, valid_noisy: Folders of pairs with equal names, for choosing the best state.
        valid_pairs: How many of them are used.
        init: A checkpoint to start from (fine-tuning), a folder or <model>/<loss> in the folder of weights; None for
            a fresh start. One of a narrower `light-crn` is widened.
        prune: Share of the channels of `init` to be left out; `model_config` is then that of `init`, narrowed.
        teacher: A checkpoint, given as `init` is, whose output is a second target; None for the clean speech alone.
        teacher_share: How much of the loss is against the teacher's output.
        resume: Go on from the state in `out`.
        device: "cpu", "cuda", ...; None chooses.
        validate_minutes: Minutes of training between validations; each also saves the state.
    """

    model: str
    loss: str
    clean: Path
    noise: Path
    out: Path = RUNS
    rir: Path | None = None
    cache: Path = Path(".cache/audio")
    model_config: dict[str, float] = field(default_factory=dict)
    recipe: Recipe = Recipe()
    minutes: float | None = None
    steps: int = 10_000
    learning_rate: float = 3e-3
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
    prune: float = 0.0
    teacher: Path | None = None
    teacher_share: float = 0.5
    resume: bool = False
    device: str | None = None

    def __post_init__(self) -> None:
        check_bounds(
            self,
            steps=(1, 10**9),
            learning_rate=(1e-12, 1.0),
            last_learning_rate=(0.0, 1.0),
            warm_up=(0.0, 0.99),
            weight_decay=(0.0, 10.0),
            clip_norm=(1e-6, 1e6),
            ema=(0.0, 0.999999),
            seed=(0, 2**32 - 1),
            valid_pairs=(1, 10**6),
            validate_minutes=(0.01, 1e9),
            prune=(0.0, 0.95),
            teacher_share=(0.0, 1.0),
        )
        if self.minutes is not None:
            check_bounds(self, minutes=(0.01, 1e6))
        if (self.valid_clean is None) != (self.valid_noisy is None):
            raise ValueError("valid_clean and valid_noisy belong together")


Kind = TypeVar("Kind", TrainConfig, Recipe)


def read_table(path: Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        TrainingError: no such file, or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise TrainingError(f"{path} is not TOML: {error}") from error


def merged(below: Table, above: Table) -> dict[str, Any]:
    """Both tables, the second one's values before the first's; tables within them are merged likewise.

    A budget in steps above takes the place of one in minutes below.

    >>> merged({"seed": 1, "recipe": {"batch": 8, "room": 0.5}}, {"recipe": {"batch": 16}})
    {'seed': 1, 'recipe': {'batch': 16, 'room': 0.5}}
    >>> merged({"minutes": 60}, {"steps": 500})
    {'steps': 500}
    """
    if "steps" in above and "minutes" not in above:
        below = {key: value for key, value in below.items() if key != "minutes"}
    both = {
        key: merged(below[key], value) if isinstance(value, Mapping) and isinstance(below.get(key), Mapping) else value
        for key, value in above.items()
    }
    return {**below, **both}


def parse(table: Table, kind: type[Kind] = TrainConfig, within: str = "") -> Kind:  # type: ignore[assignment]
    """A table as a `TrainConfig`, or as the `Recipe` in it.

    Args:
        table: As TOML has it: paths are text, pairs are lists, `weights` is a table. A path may be a Path too.
        kind: What it becomes.
        within: What goes before a name in an error.

    Raises:
        TrainingError: an unknown or missing name, a value of another type, or one out of range.
    """
    hints = get_type_hints(kind)
    for key in table:
        if key not in hints:
            near = get_close_matches(key, hints, 1)
            raise TrainingError(f"there is no setting {within}{key}" + (f"; is it {near[0]}?" if near else ""))
    for entry in fields(kind):
        if entry.name not in table and entry.default is MISSING and entry.default_factory is MISSING:
            raise TrainingError(f"{within}{entry.name} is missing")
    values = {key: _value(hints[key], value, f"{within}{key}") for key, value in table.items()}
    try:
        return kind(**values)
    except ValueError as error:
        raise TrainingError(f"{within}{error}") from error


def _value(hint: Any, value: Any, name: str) -> Any:
    """A value of a TOML file as a field with this type hint holds it."""
    wanted = get_args(hint)[0] if type(None) in get_args(hint) else hint
    if wanted is Recipe and isinstance(value, Mapping):
        return parse(value, Recipe, f"{name}.")
    for kind, (words, fits, read) in _READERS.items():
        if kind == wanted:
            if not fits(value):
                raise TrainingError(f"{name} is {words}, not {value!r}")
            return read(value)
    raise TrainingError(f"{name} is a table, not {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_READERS: dict[Any, tuple[str, Any, Any]] = {
    str: ("a text", lambda value: isinstance(value, str), str),
    Path: ("a path, as text", lambda value: isinstance(value, str | Path), Path),
    bool: ("true or false", lambda value: isinstance(value, bool), bool),
    int: ("a whole number", _is_whole, int),
    float: ("a number", _is_number, float),
    tuple[float, float]: (
        "a list of two numbers",
        lambda value: isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)),
        lambda value: tuple(map(float, value)),
    ),
    tuple[tuple[str, float], ...]: (
        "a table of numbers",
        lambda value: isinstance(value, Mapping) and all(map(_is_number, value.values())),
        lambda value: tuple((prefix, float(weight)) for prefix, weight in value.items()),
    ),
    dict[str, float]: ("a table", lambda value: isinstance(value, Mapping), dict),  # the model's Config checks the rest
}
"""Type of a field -> what people call it, whether a value of a file fits it, and how it becomes one."""
