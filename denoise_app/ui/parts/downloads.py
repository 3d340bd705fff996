"""Results as downloads: read straight from a visit's folder when asked for, so that nothing is copied or packed ahead.

An address holds 128 random bits and works until the visit ends. Gradio's own way would copy every result into its
cache, each time a slider is moved. What few people take is written only once somebody asks for it: see `OnDemand`.
"""

from __future__ import annotations

import csv
import io
import secrets
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from denoise_app.audio.errors import UserError
from denoise_app.ui.texts import Say

from .markup import tag

PLACE = "results"
CHUNK = 1 << 18  # bytes read at once
GONE = "This result is no longer here. Run the denoiser again."
LINKS = ("after", "removed", "plots", "report", "all", "compared", "bench", "batch", "table", "csv", "json")
"""What can be offered, in the order of its links."""


class OnDemand:
    """A file that is written when somebody first asks for it.

    Args:
        write: Writes it and returns where; raises a UserError where it cannot.
    """

    def __init__(self, write: Callable[[], Path]) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._path: Path | None = None

    def path(self) -> Path:
        """Where it lies, from now on."""
        with self._lock:
            if self._path is None or not self._path.is_file():
                self._path = self._write()
            return self._path


@dataclass(frozen=True)
class Bundle:
    """Files that are offered together.

    Attributes:
        files: What the user's copy is called -> where it lies, or what writes it.
        archive: What all of them in one zip are called.
    """

    files: Mapping[str, Path | OnDemand]
    archive: str

    def grew_from(self, former: Bundle) -> bool:
        """Whether all that was offered still is, by its name: the same file where one lay there."""
        lying = {(name, file) for name, file in former.files.items() if isinstance(file, Path)}
        is_kept = former.archive == self.archive and former.files.keys() <= self.files.keys()
        return is_kept and bool(lying) and lying <= self.files.items()

    def path(self, name: str) -> Path | None:
        """Where a file lies, which is written now if it has to be; None for what is not offered, or gone."""
        file = self.files.get(name)
        path = file.path() if isinstance(file, OnDemand) else file
        return path if path is not None and path.is_file() else None


class Downloads:
    """What can be downloaded now, by addresses that nobody can guess."""

    def __init__(self) -> None:
        self._offered: dict[str, tuple[Path, Bundle]] = {}
        self._lock = threading.Lock()

    @property
    def routes(self) -> list[Route]:
        """What the web server has to know."""
        return [Route(f"/{PLACE}/{{token}}/{{name}}", self._answer, methods=["GET", "HEAD"])]

    def offer(self, folder: Path, bundle: Bundle) -> str:
        """Offers files of a visit, in place of what was offered of its folder; returns their token.

        An offer that only grows keeps its token: the links stand on the page until the answer gets there, and somebody
        may be clicking one.
        """
        token = secrets.token_urlsafe(16)
        with self._lock:
            for key, (owner, former) in list(self._offered.items()):
                if owner == folder:
                    del self._offered[key]
                    token = key if bundle.grew_from(former) else token
            self._offered[token] = folder, bundle
        return token

    def remove(self, folder: Path) -> None:
        """Offers nothing of a visit's folder any more."""
        with self._lock:
            self._offered = {token: offer for token, offer in self._offered.items() if offer[0] != folder}

    def _answer(self, request: Request) -> Response:
        token, name = request.path_params["token"], request.path_params["name"]
        with self._lock:
            _, bundle = self._offered.get(token, (None, None))
        try:
            return _sent(bundle, name) if bundle is not None else _gone()
        except UserError as error:
            return _gone(str(error))
        except OSError:
            return _gone()


def _sent(bundle: Bundle, name: str) -> Response:
    if name != bundle.archive:
        path = bundle.path(name)
        return FileResponse(path, filename=name, headers={"Cache-Control": "no-store"}) if path else _gone()
    paths = {name: bundle.path(name) for name in bundle.files}
    found = {name: path for name, path in paths.items() if path is not None}
    if len(found) < len(paths):
        return _gone()
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}", "Cache-Control": "no-store"}
    return StreamingResponse(zipped(found), media_type="application/zip", headers=headers)


def _gone(why: str = GONE) -> Response:
    return PlainTextResponse(why, status_code=404)


def address(token: str, name: str) -> str:
    """Where a file of a bundle is found, relative to the page."""
    return f"{PLACE}/{token}/{quote(name)}"


def links(say: Say, token: str, names: Mapping[str, str], link: str = "", label: str = "") -> Markup:
    """Links to what can be downloaded.

    Args:
        token: Of the bundle.
        names: Some of LINKS -> what the user's copy is called; with "after", but without "report" while numbers are
            still being measured.
        link: The query of an address that restores the denoiser and its settings.
        label: What the links are called as a whole, where there is more to say than that they are downloads.
    """
    shown = []
    for key in LINKS:
        if key in names:
            style = "download primary" if key == "after" else "download"
            href = address(token, names[key])
            text = say(f"download.{key}")
            shown.append(tag("a", ICON, text, class_=style, href=href, download=names[key]))
        elif key == "report" and "after" in names:
            shown.append(tag("span", say("download.report-later"), class_="download later"))
    if link:
        shown.append(tag("a", say("download.link"), class_="download", href=link, target="_blank"))
    return tag("nav", *shown, class_="downloads", aria_label=label or say("download.name"))


ICON = Markup(
    '<svg viewBox="0 0 20 20" width="16" height="16" fill="none" stroke="currentColor" stroke-width="1.8" '
    'stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">'
    '<path d="M10 3v10m0 0 4-4m-4 4-4-4M4 17h12"/></svg>'
)


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
