"""The digest of a classical denoiser's code, as a checkpoint's is of its weights."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

HOUSE = __name__.partition(".")[0] + "."


def code_sha256(module: str) -> str:
    """Sha256 over the files of a module of this package and of those in it that it imports, and so on.

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
    """Names of this package's modules that a module imports, or whose functions or classes it imports."""
    for value in vars(module).values():
        name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        if isinstance(name, str) and name.startswith(HOUSE) and name in sys.modules:
            yield name
