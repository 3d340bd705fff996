"""The manifest of a checkpoint: the schema of config.json, validated as untrusted input."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NoReturn

from denoise_app.audio.errors import UserError

FORMAT_VERSION = 1
MAX_MANIFEST_BYTES = 256 * 1024  # a curve of a few hundred validations fits
MAX_WEIGHTS_BYTES = 512 * 1024**2
MAX_PARAMETERS = 64_000_000  # ten times the largest published size of any model here
MAX_TEXT = 2_000  # characters

SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
"""What a model and a loss may be called: it is a folder's name too, so no dot, no slash, nothing hidden."""
DIGEST = re.compile(r"[0-9a-f]{64}")
OPTIONAL = {"real_time_factor"}  # fields that came later
LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,39}")
LANGUAGE = re.compile(r"[a-z]{2,3}")
KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")

SENTENCES: dict[str, str] = {
    # the folder and its files
    "no-such-model": "No model is called {model!r}. There are: {known}.",
    "no-such-loss": "There is no checkpoint of {model} trained with {loss!r}. There are: {known}.",
    "no-loss-taken": "{model} is not trained, so it has no loss {loss!r}. Leave the loss out.",
    "no-manifest": "{name} holds no config.json, so it is not a checkpoint.",
    "no-weights": "{name} holds no model.safetensors. Pickled weights (.bin, .pt, .ckpt) can run code, and are never "
    "read.",
    "checkpoint-unreadable": "{name} cannot be read: {problem}.",
    "checkpoint-not-saved": "{name} could not be saved: {problem}. What was there before is kept.",
    # config.json
    "manifest-too-large": "The config.json of {name} has {size:,} bytes; at most {limit:,} are read.",
    "manifest-invalid": "The config.json of {name} is not valid: {problem}.",
    "manifest-newer": "{name} was made by a newer version (format {version}, this one reads {known}). Update the app.",
    "manifest-elsewhere": "{name} says that it is {model}/{loss}, which does not fit the folder that it lies in.",
    # model.safetensors
    "weights-too-large": "The weights of {name} have {size:,} bytes; at most {limit:,} are read.",
    "weights-cut-off": "The weights of {name} have {size:,} bytes where {expected:,} were announced. Fetch them again.",
    "weights-changed": "The weights of {name} are not those that its config.json names (sha256 differs). "
    "Fetch them again.",
    "weights-do-not-fit": "The weights of {name} do not fit its model: {problem}.",
    # ONNX files
    "graph-refused": "The ONNX file {name} is refused: {problem}.",
    "no-graph": "{name} has no ONNX graph that a browser could run, and none can be made of it here.",
    # the Hub
    "hub-offline": "Offline mode is on (HF_HUB_OFFLINE), and {name} is not in the cache. Bundled models still work.",
    "hub-unreachable": "The Hub could not be reached for {name}. Bundled and cached models still work; check the "
    "connection and try again.",
    "hub-failed": "The Hub answered with an error ({status}) when asked for {name}. Try again later.",
    "hub-busy": "The Hub asks to wait before {name} is fetched (too many requests). Try again in a few minutes.",
    "hub-refused": "The Hub does not give out {name} without permission: it is private or gated.",
    "hub-not-permitted": "The Hub does not let you write to {name}. Log in with a token that may write (HF_TOKEN, or "
    "hf auth login), and check the author's name.",
    "hub-not-found": "The Hub has no {name}, or it is private. Check the name.",
    "hub-no-checkpoints": "There is no checkpoint in {name}. It has to be laid out like weights: "
    "model/loss/config.json.",
    "hub-not-a-hub": "What answered when the Hub was asked for {name} is not a Hub, perhaps a sign-in page of the "
    "network. Check the connection, or HF_ENDPOINT.",
    "hub-cut-off": "The download of {name} broke off. Try again.",
    "hub-too-slow": "The Hub took more than {seconds:g} seconds for {name}, and was given up. Try again later.",
    "hub-bad-name": "{name!r} is not {kind}: expected {expected}.",
    "hub-not-allowed": "{name} is by nobody on this app's list. Its operator can add the author to "
    "DENOISE_HUB_AUTHORS, or name the repository in DENOISE_HUB_REPO.",
}
"""Reason -> the English sentence of every error of this room, with the names of its facts in braces."""


class CheckpointError(UserError):
    """A checkpoint that cannot be found, fetched, trusted, read or saved.

    >>> str(CheckpointError.of("no-manifest", name="weights/gru/hybrid"))
    'weights/gru/hybrid holds no config.json, so it is not a checkpoint.'
    """

    sentences = SENTENCES


@dataclass(frozen=True)
class Manifest:
    """The content of config.json.

    Whoever trains gives the first part; `store.save` fills in the second from the module and the file it writes.

    Attributes:
        model: A name of `models.registry.MODELS`.
        loss: The name of its training loss; with the model's it is the folder: <model>/<loss>.
        config: Fields of the model's Config that differ from its defaults: numbers, strings, booleans.
        loss_config: Weights and settings of the loss, likewise.
        favours: One sentence for people on what this loss makes of speech, by language code.
        training: How it came about, any JSON: data, hours_seen, steps, seed, commit, minutes, curve (a list of objects
            of one validation each: step, loss, ...), ...
        languages: Codes of the languages in its training data.
        licence: SPDX name in lower case.
        credits: What the training data asks to be said: one line per source.
        scores: Metric (a key of `metrics.table.METRICS`) -> mean after denoising.
        noisy_scores: The same means before.
        scored_on: One line on which recordings.
        real_time_factor: Seconds of processor time that a second of sound takes the engine, on the machine that scored
            it; 0 where nobody has measured, as in checkpoints of earlier versions.

        sample_rate: Hz.
        causal, latency: As `Denoiser` has them; latency in samples.
        parameters: Learnt numbers.
        macs_per_second: Multiply-accumulates per second of sound.
        size, sha256: Bytes and digest of model.safetensors.
        format_version: Of this schema.
    """

    model: str
    loss: str
    config: Mapping[str, Any] = field(default_factory=dict)
    loss_config: Mapping[str, Any] = field(default_factory=dict)
    favours: Mapping[str, str] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    languages: tuple[str, ...] = ()
    licence: str = "apache-2.0"
    credits: tuple[str, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    noisy_scores: Mapping[str, float] = field(default_factory=dict)
    scored_on: str = ""
    real_time_factor: float = 0.0

    sample_rate: int = 0
    causal: bool = False
    latency: int = 0
    parameters: int = 0
    macs_per_second: int = 0
    size: int = 0
    sha256: str = ""
    format_version: int = FORMAT_VERSION

    def __hash__(self) -> int:
        """Of what tells checkpoints apart: the tables in it have no hash."""
        return hash((self.model, self.loss, self.sha256))

    @property
    def name(self) -> str:
        """<model>/<loss>, the folder below weights/."""
        return f"{self.model}/{self.loss}"

    @property
    def network_sha256(self) -> str:
        """Digest of weights and config together, for what a network computes depends on both."""
        return hashlib.sha256(json.dumps([self.sha256, self.config], sort_keys=True).encode()).hexdigest()

    def to_json(self) -> str:
        """The text of config.json; `parse` gives the manifest back.

        Raises:
            CheckpointError: a value that `parse` would refuse, so that nothing is written that cannot be read.
        """
        try:
            text = json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        except (TypeError, ValueError) as error:
            raise CheckpointError.of("manifest-invalid", name=self.name, problem=str(error)) from error
        parse(text.encode(), self.name)
        return text


def parse(data: bytes, name: str = "the checkpoint") -> Manifest:
    """A manifest from the bytes of a config.json, every field checked for type and range.

    Whether the model exists, and its config is one that may be built, is `store.skeleton`'s to say.

    Args:
        data: The file's bytes.
        name: What to call the checkpoint in an error.

    Raises:
        CheckpointError: too many bytes, not JSON, a newer format, or a field that is unknown, missing or wrong.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise CheckpointError.of("manifest-too-large", name=name, size=len(data), limit=MAX_MANIFEST_BYTES)
    try:
        content = json.loads(data.decode("utf-8"), object_pairs_hook=_no_twins, parse_constant=_no_constant)
        if not isinstance(content, dict):
            raise ValueError("it is not a JSON object")
        version = content.get("format_version")
        if isinstance(version, int) and not isinstance(version, bool) and version > FORMAT_VERSION:
            raise CheckpointError.of("manifest-newer", name=name, version=version, known=FORMAT_VERSION)
        _check_fields(content)
    except CheckpointError:
        raise
    except RecursionError as error:
        raise CheckpointError.of("manifest-invalid", name=name, problem="it is nested too deeply") from error
    except ValueError as error:
        raise CheckpointError.of("manifest-invalid", name=name, problem=str(error)) from error
    return Manifest(**content | {"languages": tuple(content["languages"]), "credits": tuple(content["credits"])})


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number that JSON has")


def _check_fields(content: dict[str, Any]) -> None:
    names = {entry.name for entry in fields(Manifest)}
    if unknown := sorted(content.keys() - names):
        raise ValueError(f"it has an unknown field {unknown[0][:40]!r}")
    if missing := sorted(names - content.keys() - OPTIONAL):
        raise ValueError(f"it has no field {missing[0]!r}")
    for key in content:
        try:
            _CHECKS[key](content[key])
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from error


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _whole(low: int, high: int) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"expected a whole number in {low:,} to {high:,}, not {_shown(value)}")

    return check


def _boolean(value: Any) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, not {_shown(value)}")


def _matching(pattern: re.Pattern[str], what: str) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError(f"expected {what}, not {_shown(value)}")

    return check


def _number(value: Any) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= 1e15:  # nan compares false
        raise ValueError(f"expected a finite number, not {_shown(value)}")


def _text(value: Any) -> None:
    """A short text without control characters, which could repaint a terminal or turn the writing direction."""
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise ValueError(f"expected a text of at most {MAX_TEXT} characters, not {_shown(value)}")
    if any(unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Co"} and letter != "\n" for letter in value):
        raise ValueError(f"{_shown(value)} holds control characters")


def _scalar(value: Any) -> None:
    if isinstance(value, str):
        _text(value)
    elif not isinstance(value, bool):
        _number(value)


def _table(check_value: Callable[[Any], None], most: int = 64) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if not isinstance(value, dict) or len(value) > most:
            raise ValueError(f"expected an object of at most {most} entries, not {_shown(value)}")
        for key, item in value.items():
            _matching(KEY, "a plain name")(key)
            check_value(item)

    return check


def _list(check_value: Callable[[Any], None], most: int = 64) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if not isinstance(value, list) or len(value) > most:
            raise ValueError(f"expected a list of at most {most} entries, not {_shown(value)}")
        for item in value:
            check_value(item)

    return check


def _anything(value: Any) -> None:
    """Any JSON; the size cap bounds it, and its numbers and texts keep the same rules."""
    if isinstance(value, dict):
        for key, item in value.items():
            _text(key)
            _anything(item)
    elif isinstance(value, list):
        for item in value:
            _anything(item)
    elif value is not None:
        _scalar(value)


def _maybe(check: Callable[[Any], None]) -> Callable[[Any], None]:
    return lambda value: None if value is None else check(value)


def _object(value: Any) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, not {_shown(value)}")


def _history(value: Any) -> None:
    """Any JSON but for what is drawn, which has its form."""
    _object(value)
    for key, check in _DRAWN.items():
        try:
            check(value.get(key))
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from error
    _anything(value)


_DRAWN: dict[str, Callable[[Any], None]] = {
    "curve": _maybe(_list(_table(_maybe(_scalar)), most=10_000)),
    "commit": _maybe(_text),
    **dict.fromkeys(("hours_seen", "steps", "minutes", "seed", "init"), _maybe(_scalar)),
}
"""Entries of `training` that the page draws or lists -> how they are checked; each may be missing."""

_CHECKS: dict[str, Callable[[Any], None]] = {
    "format_version": _whole(1, FORMAT_VERSION),
    "model": _matching(SLUG, "lower-case letters, digits and hyphens"),
    "loss": _matching(SLUG, "lower-case letters, digits and hyphens"),
    "config": _table(_scalar),
    "loss_config": _table(_scalar),
    "favours": _table(_text),
    "training": _history,
    "languages": _list(_matching(LANGUAGE, "a language code")),
    "licence": _matching(LICENCE, "an SPDX name in lower case"),
    "credits": _list(_text),
    "scores": _table(_number),
    "noisy_scores": _table(_number),
    "scored_on": _text,
    "real_time_factor": _number,
    "sample_rate": _whole(4_000, 192_000),
    "causal": _boolean,
    "latency": _whole(0, 1_920_000),
    "parameters": _whole(1, MAX_PARAMETERS),
    "macs_per_second": _whole(0, 10**13),
    "size": _whole(1, MAX_WEIGHTS_BYTES),
    "sha256": _matching(DIGEST, "64 hexadecimal digits"),
}
