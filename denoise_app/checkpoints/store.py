"""Checkpoints in folders: <model>/<loss>/ with model.safetensors, config.json and README.md, the card."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from denoise_app.audio.names import FileState, state_of
from denoise_app.denoiser import Denoiser
from denoise_app.models.registry import MODELS, build, configure, count_parameters, macs_per_second

from .card import card
from .manifest import MAX_MANIFEST_BYTES, MAX_PARAMETERS, MAX_WEIGHTS_BYTES, CheckpointError, Manifest, parse

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"


@dataclass(frozen=True)
class Stored:
    """A checkpoint in a folder whose config.json was found in order; its weights have not been read yet."""

    folder: Path
    manifest: Manifest


def skeleton(manifest: Manifest) -> nn.Module:
    """The manifest's model without memory for its weights, on torch's "meta" device.

    Raises:
        CheckpointError: an unknown model, a config that its Config refuses, more parameters than allowed, or a model
            that is not what the manifest says of it.
    """
    _check_config(manifest)
    try:
        with torch.device("meta"):
            module = build(manifest.model, manifest.config)
    except (ValueError, TypeError, ArithmeticError, RuntimeError) as error:  # torch overflows with a RuntimeError
        raise _invalid(manifest, f"config: {error}") from error
    facts = _facts(module)
    if facts["parameters"] > MAX_PARAMETERS:
        raise _invalid(manifest, f"config: {facts['parameters']:,} parameters, more than {MAX_PARAMETERS:,}")
    for key, value in facts.items():
        if (said := getattr(manifest, key)) != value:
            raise _invalid(manifest, f"{key}: it says {said}, its model has {value}")
    return module


def _check_config(manifest: Manifest) -> None:
    """That there is such a model, in such sizes; it is not built for it."""
    if manifest.model not in MODELS:
        raise CheckpointError.of("no-such-model", model=manifest.model, known=", ".join(MODELS))
    try:
        configure(manifest.model, manifest.config)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise _invalid(manifest, f"config: {error}") from error


def _facts(module: nn.Module) -> dict[str, Any]:
    assert isinstance(module, Denoiser)
    return {
        "sample_rate": module.sample_rate,
        "causal": module.causal,
        "latency": module.latency,
        "parameters": count_parameters(module),
    }


def _invalid(manifest: Manifest, problem: str) -> CheckpointError:
    return CheckpointError.of("manifest-invalid", name=manifest.name, problem=problem)


def save(folder: Path, module: nn.Module, manifest: Manifest, half: bool = False) -> Manifest:
    """Write a checkpoint that `load` will take: all three files beside their places first, then renamed.

    Args:
        folder: Made when it is not there; a checkpoint in it is replaced.
        module: Built by the registry from `manifest.model` and `manifest.config`.
        manifest: What is known from training; what can be read from the module and its file is filled in here.
        half: Write 16 bits for each number, as bundled weights have them; `load` makes 32 of them again.

    Returns:
        The manifest as written.

    Raises:
        CheckpointError: the module is not what the manifest says, holds values that are not finite, or cannot be
            written; what was in the folder before is kept.
    """
    tensors = {key: _written(value, half) for key, value in module.state_dict().items()}
    data = safetensors.torch.save(tensors, metadata={"format": "pt"})
    manifest = replace(
        manifest,
        **_facts(module),
        macs_per_second=_macs(manifest.model, tuple(manifest.config.items())),
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )
    _check_fit(tensors, manifest)
    _write(folder, manifest.name, {WEIGHTS: data, **_texts(manifest)})
    return read_manifest(folder)


def _written(value: Tensor, half: bool) -> Tensor:
    value = value.detach().cpu().contiguous().clone()
    return value.half() if half and value.dtype == torch.float32 else value


@cache
def _macs(model: str, config: tuple[tuple[str, Any], ...]) -> int:
    """Counted once per size: it takes seconds, and a training saves its best state again and again."""
    return macs_per_second(model, dict(config))


def annotate(folder: Path, **changes: Any) -> Manifest:
    """Update the manifest of a checkpoint (scores, credits, ...), in config.json and card; the weights stay.

    Args:
        changes: Fields of `Manifest` that are not read from the module or the file.

    Raises:
        CheckpointError: there is no checkpoint, a value is refused, or it cannot be written.
    """
    manifest = replace(read_manifest(folder), **changes)
    skeleton(manifest)
    _write(folder, manifest.name, _texts(manifest))
    return read_manifest(folder)


def _texts(manifest: Manifest) -> dict[str, bytes]:
    return {CONFIG: manifest.to_json().encode(), CARD: card(manifest).encode()}


def _write(folder: Path, name: str, files: Mapping[str, bytes]) -> None:
    partial = {folder / f"{file}.tmp": folder / file for file in files}
    try:
        _check_place(folder, partial.values())
        folder.mkdir(parents=True, exist_ok=True)
        for path, data in zip(partial, files.values(), strict=True):
            path.write_bytes(data)
            with path.open("rb") as file:
                os.fsync(file.fileno())  # on the disk before it takes the place of the last one
        for path, place in partial.items():
            path.replace(place)
    except (OSError, ValueError) as error:  # a ValueError for a name that no file can have
        for path in partial:
            with suppress(OSError, ValueError):  # that the folder is a file is what failed
                path.unlink()
        problem = getattr(error, "strerror", None) or str(error)
        raise CheckpointError.of("checkpoint-not-saved", name=name, problem=problem) from error


def _check_place(folder: Path, places: Iterable[Path]) -> None:
    """Raises an OSError where files there are others' than a checkpoint's: what is replaced is one, or nothing."""
    if any(place.is_dir() for place in places):
        raise IsADirectoryError(errno.EISDIR, "one of its files would replace a folder")
    if (folder / CARD).exists() and not (folder / CONFIG).exists():
        raise FileExistsError(errno.EEXIST, f"the {CARD} there is no checkpoint's")


def copy(source: Path, target: Path) -> None:
    """Write a checkpoint into another folder, with a card of its manifest.

    Raises:
        CheckpointError: it cannot be read or written; what was in the target before is kept.
    """
    manifest = read_manifest(source)
    data = _read(source / WEIGHTS, manifest.name, MAX_WEIGHTS_BYTES, "no-weights", "weights-too-large")
    _write(target, manifest.name, {WEIGHTS: data, **_texts(manifest)})


def read_manifest(folder: Path) -> Manifest:
    """The manifest in a folder, checked by schema.

    Raises:
        CheckpointError: there is none, or it is refused.
    """
    name = _name(folder)
    return parse(_read(folder / CONFIG, name, MAX_MANIFEST_BYTES, "no-manifest", "manifest-too-large"), name)


def load(folder: Path) -> tuple[nn.Module, Manifest]:
    """A checkpoint's model in evaluation mode on the CPU, and its manifest.

    Nothing of the file is trusted: the architecture comes from the registry, the weights are the very bytes whose
    sha256 the manifest names, and each tensor has the name, type and shape that the model expects. Nothing is
    unpickled.

    Raises:
        CheckpointError: anything missing, unknown, changed, cut off or out of bounds.
    """
    manifest = read_manifest(folder)
    name = _name(folder)
    skeleton(manifest)
    data = _read(folder / WEIGHTS, name, MAX_WEIGHTS_BYTES, "no-weights", "weights-too-large")
    if len(data) != manifest.size:
        raise CheckpointError.of("weights-cut-off", name=name, size=len(data), expected=manifest.size)
    if hashlib.sha256(data).hexdigest() != manifest.sha256:
        raise CheckpointError.of("weights-changed", name=name)
    try:
        tensors = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise CheckpointError.of("weights-do-not-fit", name=name, problem=str(error)) from error
    _check_fit(tensors, manifest)
    with torch.random.fork_rng(devices=[]):  # building draws random weights: the caller's draws stay the same
        module = build(manifest.model, manifest.config)
    module.load_state_dict(tensors)
    return module.eval(), manifest


def _name(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


def _read(path: Path, name: str, limit: int, missing: str, too_large: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError.of(missing, name=name) from error
    except OSError as error:
        problem = error.strerror or str(error)
        raise CheckpointError.of("checkpoint-unreadable", name=name, problem=problem) from error
    if len(data) > limit:
        raise CheckpointError.of(too_large, name=name, size=path.stat().st_size, limit=limit)
    return data


def _check_fit(tensors: Mapping[str, Tensor], manifest: Manifest) -> None:
    """That tensors are those of the manifest's model: names, types, shapes, finite values."""
    problem = next(_misfits(tensors, skeleton(manifest).state_dict()), None)
    if problem:
        raise CheckpointError.of("weights-do-not-fit", name=manifest.name, problem=problem)


def _misfits(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Iterator[str]:
    yield from (f"there is no {key!r} in it" for key in tensors if key not in expected)
    yield from (f"{key!r} is missing" for key in expected if key not in tensors)
    for key, wanted in expected.items():
        found = tensors[key]
        fitting = (wanted.dtype, torch.float16) if wanted.dtype == torch.float32 else (wanted.dtype,)
        if found.dtype not in fitting or found.shape != wanted.shape:
            yield f"{key!r} is {found.dtype} {tuple(found.shape)}, not {wanted.dtype} {tuple(wanted.shape)}"
        elif not bool(torch.isfinite(found).all()):
            yield f"{key!r} holds values that are not finite"


def list_folder(root: Path) -> tuple[list[Stored], list[CheckpointError]]:
    """Every checkpoint in a tree laid out like weights/, sorted by name; and why others in it are left out.

    Only config.json files are read, and no model is built: `load` compares it with what its manifest says. A root that
    is not there holds nothing.
    """
    stored: list[Stored] = []
    broken: list[CheckpointError] = []
    for config in sorted(root.glob(f"*/*/{CONFIG}")):
        try:
            stored.append(checked(config.parent))
        except CheckpointError as error:
            error.facts.setdefault("name", _name(config.parent))  # so that it is known which one is left out
            broken.append(error)
    return stored, broken


def checked(folder: Path) -> Stored:
    """The checkpoint in a folder <model>/<loss>, its weights unread.

    Raises:
        CheckpointError: a manifest that is refused, or not of this folder; an unknown model; no weights.
    """
    manifest = _listed(folder)
    if not (folder / WEIGHTS).is_file():
        raise CheckpointError.of("no-weights", name=_name(folder))
    return Stored(folder, manifest)


def checked_manifest(folder: Path) -> Manifest:
    """The manifest in a folder <model>/<loss>, when it is of this folder and its model can be built.

    Raises:
        CheckpointError: otherwise.
    """
    manifest = _listed(folder)
    skeleton(manifest)
    return manifest


def _listed(folder: Path) -> Manifest:
    """`checked_manifest`, but for building the model."""
    try:
        state = state_of(folder / CONFIG)
    except OSError as error:
        raise CheckpointError.of("no-manifest", name=_name(folder)) from error
    return _listed_as_of(folder, state)


@lru_cache(256)
def _listed_as_of(folder: Path, state: FileState) -> Manifest:
    """Remembered until the file changes: milliseconds per checkpoint, and a page lists them all at every step."""
    manifest = read_manifest(folder)
    if (folder.parent.name, folder.name) != (manifest.model, manifest.loss):
        raise CheckpointError.of("manifest-elsewhere", name=_name(folder), model=manifest.model, loss=manifest.loss)
    _check_config(manifest)
    return manifest
