"""Results as downloads: read straight from a visit's folder when asked for, so that nothing is copied or packed ahead.

An address holds 128 random bits and works until the visit ends. Gradio's own way would copy every result into its
cache, each time a slider is moved.
"""

from __future__ import annotations

import csv
import io
import secrets
import threading
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

PLACE = "results"
CHUNK = 1 << 18  # bytes read at once


@dataclass(frozen=True)
class Parcel:
    """Files that are offered together.

    Attributes:
        files: What the user's copy is called -> where it lies.
        archive: What all of them in one zip are called.
    """

    files: Mapping[str, Path]
    archive: str


class Shelf:
    """What can be downloaded now, by addresses that nobody can guess."""

    def __init__(self) -> None:
        self._parcels: dict[str, Parcel] = {}
        self._lock = threading.Lock()

    @property
    def routes(self) -> list[Route]:
        """What the web server has to know."""
        return [Route(f"/{PLACE}/{{token}}/{{name}}", self._answer, methods=["GET", "HEAD"])]

    def put(self, parcel: Parcel, token: str | None = None) -> str:
        """Offers a parcel, in place of an earlier one where its token is given; returns its token."""
        token = token or secrets.token_urlsafe(16)
        with self._lock:
            self._parcels[token] = parcel
        return token

    def remove(self, folder: Path) -> None:
        """Offers nothing any more that lies in a folder."""
        with self._lock:
            gone = [token for token, parcel in self._parcels.items() if _touches(parcel, folder)]
            for token in gone:
                del self._parcels[token]

    def _answer(self, request: Request) -> Response:
        token, name = request.path_params["token"], request.path_params["name"]
        with self._lock:
            parcel = self._parcels.get(token)
        if parcel is not None and name == parcel.archive and all(path.is_file() for path in parcel.files.values()):
            headers = {
                "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}",
                "Cache-Control": "no-store",
            }
            return StreamingResponse(zipped(parcel.files), media_type="application/zip", headers=headers)
        path = parcel.files.get(name) if parcel else None
        if path is None or not path.is_file():
            return PlainTextResponse("This result is no longer here. Run the denoiser again.", status_code=404)
        return FileResponse(path, filename=name, headers={"Cache-Control": "no-store"})


def address(token: str, name: str) -> str:
    """Where a file of a parcel is found, relative to the page."""
    return f"{PLACE}/{token}/{quote(name)}"


def _touches(parcel: Parcel, folder: Path) -> bool:
    return any(path.is_relative_to(folder) for path in parcel.files.values())


class _Pipe(io.RawIOBase):
    """Takes what a zip writer writes, until it is sent."""

    def __init__(self) -> None:
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        view = memoryview(data)  # type: ignore[arg-type]
        self._written += view
        return view.nbytes

    def take(self) -> bytes:
        data = bytes(self._written)
        self._written.clear()
        return data


def zipped(files: Mapping[str, Path]) -> Iterator[bytes]:
    """A zip of files, piece by piece; stored, since sound hardly packs, and wav files may be large."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:
        for name, path in files.items():
            entry = zipfile.ZipInfo.from_file(path, name)
            with path.open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                while data := source.read(CHUNK):
                    target.write(data)
                    yield pipe.take()
    yield pipe.take()


def csv_text(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as the text of a csv file."""
    text = io.StringIO()
    csv.writer(text).writerows([head, *rows])
    return text.getvalue()
