"""Names of files as text that can be shown anywhere, on a terminal, in a page, in a log; and whether a file changed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path

UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What no terminal should get from a name: control characters and line breaks, marks that turn the direction of
writing (Unicode Technical Report 36, 2.10.1), and what stands for bytes that are no UTF-8 (PEP 383)."""


def printable(text: str) -> str:
    r"""The text with what cannot be shown as its escape; a byte that is no UTF-8 by its value.

    >>> print(*map(printable, ("a\x1b[31m.wav", "talk\udcff.wav", "\u202egpj.wav", "语音.wav")))
    a\x1b[31m.wav talk\xff.wav \u202egpj.wav 语音.wav
    """
    return UNSHOWN.sub(lambda found: _escaped(ord(found[0])), text)


def _escaped(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def printable_facts(facts: Mapping[str, object]) -> dict[str, object]:
    """The facts of a sentence, those that are text made `printable`."""
    return {name: printable(fact) if isinstance(fact, str) else fact for name, fact in facts.items()}


def key(path: Path) -> str:
    r"""Equal for paths that some file system takes for one: it may ignore case, or how accents are composed.

    >>> key(Path("Caf\u00e9.WAV")) == key(Path("cafe\u0301.wav"))
    True
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", str(path)).casefold())


FileState = tuple[int, int, int, int]
"""What is other once a file was changed or replaced, even by one as long and as old: inode, bytes, two times in ns."""


def state_of(path: Path) -> FileState:
    """That of a file now; raises an OSError where there is none."""
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
