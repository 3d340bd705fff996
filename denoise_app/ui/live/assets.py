"""Lays out what a browser needs to run models by itself: ONNX Runtime as WebAssembly, from the npm registry.

    python -m denoise_app.ui.live.assets

It is fetched by npm, compared with the digests below, and put where the page serves it from; nothing else is fetched
when somebody uses it. Without it the Live tab works on the server alone.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from denoise_app.ui import static

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"  # MIT
MODULE, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
FILES = {
    MODULE: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    WASM: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
"""File of the package -> its sha256."""
FOLDER = static.path("wasm")


class AssetError(Exception):
    """What is needed cannot be had; the message says why."""


def laid_out(folder: Path = FOLDER) -> bool:
    """Whether everything is there, byte by byte."""
    return all((folder / name).is_file() and _digest(folder / name) == sha256 for name, sha256 in FILES.items())


def lay_out(folder: Path = FOLDER) -> None:
    """Fetches what is needed, unless it is there.

    Raises:
        AssetError: npm is missing or fails, or what came is not what is pinned; nothing is left then.
    """
    if laid_out(folder):
        return
    with tempfile.TemporaryDirectory() as work:
        fetched = Path(work)
        with tarfile.open(_packed(fetched)) as archive:
            for name in FILES:
                member = archive.extractfile(f"package/dist/{name}")
                (fetched / name).write_bytes(member.read() if member else b"")
        if not laid_out(fetched):
            raise AssetError(f"what npm gave as {PACKAGE} {VERSION} is not what is pinned here")
        folder.mkdir(exist_ok=True)
        for name in FILES:
            shutil.copyfile(fetched / name, folder / f"{name}.tmp")
            (folder / f"{name}.tmp").replace(folder / name)


def _packed(folder: Path) -> Path:
    """The package as the registry gives it."""
    npm = shutil.which("npm")
    if npm is None:
        raise AssetError("npm is not installed; it comes with Node.js")
    command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssetError(f"npm could not fetch {PACKAGE} {VERSION}: {done.stderr.strip()[-500:]}")
    return folder / done.stdout.split()[-1]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    """Lays everything out, or says why it cannot."""
    try:
        lay_out()
    except AssetError as error:
        sys.exit(f"error: {error}")
    print(f"{PACKAGE} {VERSION} lies in {FOLDER}")


if __name__ == "__main__":
    main()
