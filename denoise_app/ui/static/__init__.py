"""Styles, scripts and icons of the page, read from the installed package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def path(name: str) -> Path:
    """Where a file of this folder lies; wheels are installed unpacked, so that each has a path."""
    return Path(str(resources.files(__name__) / name))


def text(name: str) -> str:
    """What a file of this folder says."""
    return path(name).read_text("utf-8")
