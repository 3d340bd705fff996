"""Where the data lies that comes with the program: weights, scores, examples."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Literal


def folder(name: Literal["weights", "results", "examples"]) -> Path:
    """A folder of data: inside the package where it was installed from a wheel, beside it in a checkout.

    A wheel holds a part of the checkout's weights (pyproject.toml says which); it may lack a folder altogether.
    """
    package = Path(str(resources.files("denoise_app")))  # wheels are installed unpacked, so that this is a path
    inside = package / "bundled" / name
    return inside if inside.is_dir() else package.parent / name
