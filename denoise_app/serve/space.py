"""A hosted Space, laid out in a folder that is ready to be pushed."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from denoise_app.checkpoints import hub
from denoise_app.inference.separation import disk_errors_explained

CHECKOUT = Path(__file__).resolve().parents[2]
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"  # a tenth of the size of those for CUDA
CPU_PAIR = re.compile(r"(?m)^(torch|torchaudio)==([\w.]+) *")
DEBIAN = "ffmpeg\n"  # Debian's packages that the host installs
LARGE = ("*.safetensors", "*.onnx", "*.flac", "*.png", "*.wasm")  # the Hub takes what is no text by LFS alone
SINGLE = ("README.md", "app.py", "LICENSE")
SETS = {  # folder -> what goes along of it
    "denoise_app": ("**/*",),
    "docs": ("**/*",),  # to which the front page links
    "examples": ("README.md", "*.flac", "bench/*.flac"),
    "results": ("leaderboard.json", "peers.json", "page.png"),
    "weights": ("*/*/*",),
}
CACHES = {"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}


class SpaceError(Exception):
    """A Space cannot be laid out; the message says why. No file is left of it."""


@dataclass(frozen=True)
class Pinned:
    """Checkpoints on the Hub that never change.

    Attributes:
        repo: "author/name".
        revision: A whole commit, 40 hexadecimal digits.
    """

    repo: str
    revision: str

    @classmethod
    def of(cls, text: str) -> Pinned:
        """From author/name@COMMIT. Raises SpaceError.

        >>> Pinned.of("somebody/models@" + 4 * "0123456789").repo
        'somebody/models'
        """
        repo, _, revision = text.partition("@")
        if not hub.COMMIT.fullmatch(revision):
            raise SpaceError(f"{text!r} names no commit: give author/name@COMMIT, all 40 hexadecimal digits of it")
        return cls(repo, revision)


@dataclass(frozen=True)
class Space:
    """A Space in a folder.

    Attributes:
        folder: Where it lies.
        files: How many.
        size: Bytes of all.
        checkpoints: <model>/<loss> of its weights.
    """

    folder: Path
    files: int
    size: int
    checkpoints: tuple[str, ...]

    @classmethod
    def of(cls, folder: Path) -> Space:
        files = [path for path in folder.rglob("*") if path.is_file()]
        configs = sorted((folder / "weights").glob("*/*/config.json"))
        names = tuple(config.parent.relative_to(folder / "weights").as_posix() for config in configs)
        return cls(folder, len(files), sum(path.stat().st_size for path in files), names)


def is_space(folder: Path) -> bool:
    """Whether a Space lies in a folder: its entry, and the lines by which the host knows it."""
    readme = folder / "README.md"
    return (folder / "app.py").is_file() and readme.is_file() and readme.read_bytes().startswith(b"---\n")


def lay_out(out: Path, source: Path = CHECKOUT, weights: Pinned | None = None) -> Space:
    """Makes a Space in a folder, for CPUs; it appears there when it is complete.

    Weights by others are fetched here and now, not by the Space: so they are checked before anybody is served, start
    with it, and neither the Hub's absence nor a variable that its owner forgot can keep them from it.

    Args:
        out: The folder: empty, or not there yet.
        source: A checkout of the repository.
        weights: These instead of the checkout's own.

    Raises:
        SpaceError: `source` is no checkout, or `out` holds something or lies in what is copied.
        CheckpointError: `weights` cannot be fetched, or one of them is refused.
        AudioError: It cannot be written.
    """
    out = out.absolute()
    sets = {name: patterns for name, patterns in SETS.items() if name != "weights" or weights is None}
    _check_source(source, sets)
    with disk_errors_explained(str(out)):
        _check_place(out, source)
        scratch = out.with_name(f".{out.name}.{secrets.token_hex(4)}.tmp")
        try:
            scratch.mkdir(parents=True)
            for name, path in _files(source, sets):
                (scratch / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, scratch / name)
            for name, text in _texts(source).items():
                (scratch / name).write_text(text, "utf-8")
            if weights is not None:
                hub.fetch(weights.repo, weights.revision, scratch / "weights")
            scratch.replace(out)  # an empty folder gives way
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return Space.of(out)


def cpu_requirements(text: str) -> str:
    """Requirements with the wheels of torch that know CPUs alone.

    >>> print(cpu_requirements("torch==2.11.0 # runs the models"))
    --extra-index-url https://download.pytorch.org/whl/cpu
    torch==2.11.0+cpu # runs the models
    """
    return f"--extra-index-url {CPU_WHEELS}\n" + CPU_PAIR.sub(r"\1==\2+cpu ", text)


def _texts(source: Path) -> dict[str, str]:
    """Files that are the Space's own."""
    return {
        "requirements.txt": cpu_requirements((source / "requirements.txt").read_text("utf-8")),
        "packages.txt": DEBIAN,
        ".gitattributes": "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in LARGE),
    }


def _files(source: Path, sets: dict[str, tuple[str, ...]]) -> Iterator[tuple[str, Path]]:
    """What is copied: names in the Space, and files."""
    yield from ((name, source / name) for name in SINGLE)
    for folder, patterns in sets.items():
        for pattern in patterns:
            for path in sorted((source / folder).glob(pattern)):
                within = path.relative_to(source)
                if path.is_file() and not CACHES & set(within.parts) and path.suffix not in (".pyc", ".tmp"):
                    yield within.as_posix(), path


def _check_source(source: Path, sets: dict[str, tuple[str, ...]]) -> None:
    missing = [name for name in (*SINGLE, "requirements.txt", *sets) if not (source / name).exists()]
    if missing:
        raise SpaceError(
            f"a Space is made of a checkout of the repository, and {source} is none: it lacks {', '.join(missing)}. "
            "Clone the repository, and run python -m denoise_app space there"
        )


def _check_place(out: Path, source: Path) -> None:
    inside = next((name for name in SETS if out.resolve().is_relative_to((source / name).resolve())), None)
    if inside:
        raise SpaceError(f"{out} lies in {inside}, which is copied: name a folder elsewhere")
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise SpaceError(f"{out} is no folder: name one that is empty or not there yet")
    if out.is_dir() and any(out.iterdir()):
        raise SpaceError(f"{out} is not empty, and nothing in it is replaced: name another folder, or empty it")
