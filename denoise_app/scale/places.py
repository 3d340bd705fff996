"""Files that lie elsewhere: object stores and other machines, by what fsspec knows of them.

An object store fails now and then, so every call is tried again, with a growing pause.
"""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import unquote

from denoise_app.audio.errors import AudioError
from denoise_app.audio.files import SUFFIXES
from denoise_app.audio.names import printable

from .errors import ScaleError

T = TypeVar("T")

TRIES = 6  # an outage of half a minute is survived
FIRST_PAUSE = 0.5  # s; each pause is twice as long as the one before
LASTING = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)  # no other try changes them
MAGIC = "*?["  # of a pattern
STORES = {"s3": "s3fs", "gs": "gcsfs"}  # protocol -> the package that fsspec needs for it
WHOLE = {
    "s3",
    "s3a",
    "gs",
    "gcs",
    "az",
    "abfs",
    "abfss",
    "hf",
    "oss",
}  # a file appears there when complete
STATES = ("ETag", "etag", "md5Hash", "blob_id", "sha", "mtime", "LastModified", "last_modified", "updated", "created")
ADDRESS = re.compile(r"(?i)[a-z][a-z0-9+.-]+://")
SCHEME = re.compile(r"(?i)(?!https?:|file:|local:)[a-z][a-z0-9+.-]+://")  # sound is never fetched from web pages
HERE = re.compile(r"(?i)(?:file|local)://(?:localhost)?(?=/)")


@dataclass(frozen=True)
class Sound:
    """A sound file elsewhere.

    Attributes:
        address: Such as "s3://bucket/folder/talk.wav".
        state: Its size, and what changes with it.
        relative: Its path below the folder that was named; of a file its name.
    """

    address: str
    state: str
    relative: Path


@dataclass(frozen=True)
class Found:
    """What an address leads to: a folder's own name, sound files, and what is not taken as `folders.Found` has it."""

    name: str
    sounds: tuple[Sound, ...]
    passed_over: Mapping[str, int]


def is_remote(name: str | Path) -> bool:
    """Whether a name is an address of another place.

    >>> is_remote("s3://bucket/a.wav"), is_remote("a.wav"), is_remote("https://example.org/a.wav")
    (True, False, False)
    """
    return isinstance(name, str) and SCHEME.match(name) is not None


def is_address(name: str | Path) -> bool:
    """Whether a name is an address of any kind, of a web page too."""
    return isinstance(name, str) and ADDRESS.match(name) is not None


def here(name: str) -> str:
    """The path that an address of this machine stands for; everything else as it is.

    >>> here("file:///a%20b.wav"), here("a%20b.wav")
    ('/a b.wav', 'a%20b.wav')
    """
    found = HERE.match(name)
    return unquote(name[found.end() :]) if found else name


def place(address: str) -> tuple[str, str]:
    """A folder and a name in it, the same however the address is spelled."""
    store, path = _opened(address)
    folder, _, name = str(store.unstrip_protocol(path)).rpartition("/")
    return folder, name


def joined(address: str, relative: str) -> str:
    return f"{address.rstrip('/')}/{relative}"


def find(address: str, out: str = "") -> Found:
    """The sound files below a folder, or that match a pattern; a file that is named is taken whatever its name.

    Args:
        address: Of a file or a folder, or a pattern.
        out: An address; what lies in it is passed over, where it lies below what is named.

    Raises:
        ScaleError: "no-remote", "remote-fails".
    """
    store, path = _opened(address)
    results = f"{_opened(out)[1].rstrip('/')}/" if out.split(":")[0] == address.split(":")[0] else ""

    def within(each: str, top: str) -> bool:
        return bool(results) and each.startswith(results) and not f"{top.rstrip('/')}/".startswith(results)

    if any(sign in path for sign in MAGIC):
        listed = _tried(address, lambda: store.glob(path, detail=True))
        top = "/".join(takewhile(lambda part: not any(sign in part for sign in MAGIC), path.split("/")))
        files = {each: info for each, info in listed.items() if info["type"] == "file" and not within(each, top)}
        return Found("", _sounds(store, files, None) or (_named(address, path),), {})
    try:
        info = _tried(address, lambda: store.info(path))
    except ScaleError as error:
        if error.reason != "remote-missing":
            raise
        return Found("", (_named(address, path),), {})
    if info["type"] == "file":
        return Found("", (_named(address, path, _state(info)),), {})
    listed = _tried(address, lambda: store.find(path, detail=True))
    kinds = {each: _kind(each[len(path.rstrip("/")) + 1 :]) for each in listed if not within(each, path)}
    sounds = {each: listed[each] for each, kind in kinds.items() if kind == "sound"}
    others = Counter(kind for kind in kinds.values() if kind != "sound")
    return Found(PurePosixPath(path).name, _sounds(store, sounds, path), others)


def _named(address: str, path: str, state: str = "") -> Sound:
    """A file by the name that was given; of one that is not there to fetch it tells so."""
    return Sound(address, state, Path(PurePosixPath(path).name or "unnamed"))


def _sounds(store: Any, files: Mapping[str, Mapping[str, Any]], top: str | None) -> tuple[Sound, ...]:
    def relative(path: str) -> Path:
        parts = PurePosixPath(path).relative_to(top) if top is not None else PurePosixPath(PurePosixPath(path).name)
        return Path(*(part for part in parts.parts if part not in ("..", "/")))

    return tuple(
        Sound(store.unstrip_protocol(path), _state(info), relative(path)) for path, info in sorted(files.items())
    )


def _kind(relative: str) -> str:
    """Either "sound" or what a file in a folder is passed over as."""
    path = PurePosixPath(relative)
    if any(part.startswith(".") for part in path.parts):
        return "hidden"
    suffix = path.suffix.lower()
    return "sound" if suffix in SUFFIXES else printable(suffix) or "no suffix"


def state(address: str) -> str:
    """What a file is like; raises ScaleError where it is not there."""
    store, path = _opened(address)
    return _state(_tried(address, lambda: store.info(path)))


def _state(info: Mapping[str, Any]) -> str:
    return f"{info.get('size') or 0}:{next((info[key] for key in STATES if info.get(key)), '')}"


def fetch(address: str, folder: Path) -> Path:
    """A copy of a file, in a folder, under its own name.

    Raises:
        ScaleError: "remote-missing", "remote-fails".
    """
    store, path = _opened(address)
    folder.mkdir(parents=True, exist_ok=True)
    local = folder / (PurePosixPath(path).name or "unnamed")
    _tried(address, lambda: store.get_file(path, str(local)))
    return local


def deliver(local: Path, address: str) -> None:
    """Puts a file elsewhere: by a temporary name where it would be seen before it is complete.

    Raises:
        ScaleError: "remote-fails".
    """
    store, path = _opened(address)
    folder, _, name = path.rpartition("/")
    draft = path if address.split(":")[0] in WHOLE else f"{folder}/.{name}.tmp"

    def put() -> None:
        store.makedirs(folder, exist_ok=True)
        store.put_file(str(local), draft)
        if draft != path:
            store.mv(draft, path)

    _tried(address, put)


def _opened(address: str) -> tuple[Any, str]:
    """The store that an address leads to, and the path in it."""
    protocol = address.split(":")[0]
    try:
        from fsspec.core import url_to_fs

        store, path = url_to_fs(address)
    except (ImportError, ValueError) as error:  # ValueError: a protocol that fsspec does not know
        package = STORES.get(protocol, f"fsspec, with what it needs for {protocol}://")
        raise ScaleError.of("no-remote", name=address, package=package) from error
    store.use_listings_cache = False
    return store, path


def _tried(address: str, call: Callable[[], T], pause: Callable[[float], None] = time.sleep) -> T:
    """What a call returns, tried again where it fails for a reason that may pass.

    Packages for stores raise errors of their own kinds, so every kind that is not known to last is tried again.
    """
    for number in range(TRIES):
        try:
            return call()
        except FileNotFoundError as error:
            raise ScaleError.of("remote-missing", name=address) from error
        except AudioError:
            raise
        except Exception as error:
            if isinstance(error, LASTING) or number == TRIES - 1:
                problem = str(error).strip() or type(error).__name__
                raise ScaleError.of("remote-fails", name=address, problem=problem, tries=number + 1) from error
            pause(FIRST_PAUSE * 2**number * random.uniform(0.5, 1.5))  # at different times, where many failed together
    raise AssertionError("unreachable")
