"""Which code a denoiser without weights is: the counterpart of a checkpoint's digest."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

HOUSE = __name__.partition(".")[0] + "."


def code_sha256(module: str) -> str:
    """Sha256 over the files of a module of the house and of those in the house that it imports, and so on.

    Args:
        module: Its dotted name; it has been imported.
    """
    names = {module}
    waiting = [module]
    while waiting:
        new = set(_imports(sys.modules[waiting.pop()])) - names
        names |= new
        waiting += new
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(f"{name}\0".encode() + Path(str(sys.modules[name].__file__)).read_bytes())
    return digest.hexdigest()


def _imports(module: ModuleType) -> Iterator[str]:
    """Names of the house's modules whose functions, classes or selves stand in a module."""
    for value in vars(module).values():
        name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        if isinstance(name, str) and name.startswith(HOUSE) and name in sys.modules:
            yield name
