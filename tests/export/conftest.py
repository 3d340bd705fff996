"""Exports that several tests look at, each made once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from denoise_app.audio.clip import Clip
from denoise_app.export import write
from denoise_app.export.onnx import Frames
from denoise_app.inference import catalog

Export = Callable[..., write.Exported]


@pytest.fixture(scope="session")
def short(speech: Clip) -> Clip:
    """Two seconds in the middle of the speech."""
    return speech.with_samples(speech.samples[:, 20_000:52_000])


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, short: Clip) -> Export:
    """A bundled checkpoint of a model as an ONNX file: exported("dpcrn", "one")."""
    folder = tmp_path_factory.mktemp("onnx")

    @cache
    def export(model: str, frames: Frames, int8: bool = False) -> write.Exported:
        entry = catalog.find(model)
        assert entry.folder is not None
        return write.export(entry.folder, folder / f"{model}-{frames}-{int8}.onnx", short, frames, int8)

    return export


@pytest.fixture(scope="session")
def weights() -> Callable[[str], Path]:
    """The folder of a model's best bundled checkpoint."""

    def folder(model: str) -> Path:
        found = catalog.find(model).folder
        assert found is not None
        return found

    return folder
