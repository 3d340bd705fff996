"""Results are found at their addresses, by nobody else, and as long as they are there."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from denoise_app.ui.parts.downloads import Parcel, Shelf, address, zipped


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def client(shelf: Shelf) -> TestClient:
    return TestClient(Starlette(routes=shelf.routes))


def offered(shelf: Shelf, folder: Path, names: tuple[str, ...] = ("talk.denoised.wav", "talk.removed.wav")) -> str:
    folder.mkdir(exist_ok=True)
    files = {}
    for k, name in enumerate(names):
        files[name] = folder / f"file{k}"
        files[name].write_bytes(name.encode() * 1000)
    return shelf.put(Parcel(files, "talk.zip"))


def test_a_file_is_sent_under_the_users_name_with_its_bytes(shelf: Shelf, client: TestClient, tmp_path: Path) -> None:
    name = "会议 1 & 2 #?.wav"
    answer = client.get("/" + address(offered(shelf, tmp_path / "a", (name,)), name))
    assert answer.status_code == 200 and answer.content == name.encode() * 1000
    assert "attachment" in answer.headers["content-disposition"]
    assert "%E4%BC%9A" in answer.headers["content-disposition"] and answer.headers["cache-control"] == "no-store"


def test_all_in_one_zip(shelf: Shelf, client: TestClient, tmp_path: Path) -> None:
    token = offered(shelf, tmp_path / "a")
    answer = client.get("/" + address(token, "talk.zip"))
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["talk.denoised.wav", "talk.removed.wav"]
        assert archive.read("talk.removed.wav") == b"talk.removed.wav" * 1000


def test_a_zip_is_made_piece_by_piece(tmp_path: Path) -> None:
    (tmp_path / "long.wav").write_bytes(b"x" * 3_000_000)
    pieces = list(zipped({"long.wav": tmp_path / "long.wav"}))
    assert max(map(len, pieces)) < 600_000 and len(pieces) > 5


@pytest.mark.parametrize("name", ["other.wav", "..%2Ffile0", "file0", "%2Fetc%2Fpasswd", ""])
def test_only_what_was_offered_is_sent(shelf: Shelf, client: TestClient, tmp_path: Path, name: str) -> None:
    token = offered(shelf, tmp_path / "a")
    answer = client.get(f"/results/{token}/{name}")
    assert answer.status_code == 404 and str(tmp_path) not in answer.text


def test_a_wrong_token_finds_nothing(shelf: Shelf, client: TestClient, tmp_path: Path) -> None:
    token = offered(shelf, tmp_path / "a")
    assert client.get(f"/results/{token[:-1]}/talk.denoised.wav").status_code == 404
    assert client.get("/results//talk.denoised.wav").status_code == 404


def test_what_is_gone_is_said_to_be_gone(shelf: Shelf, client: TestClient, tmp_path: Path) -> None:
    token = offered(shelf, tmp_path / "a")
    (tmp_path / "a" / "file0").unlink()
    assert client.get("/" + address(token, "talk.denoised.wav")).status_code == 404
    assert client.get("/" + address(token, "talk.zip")).status_code == 404
    assert client.get("/" + address(token, "talk.removed.wav")).status_code == 200


def test_removing_a_folder_removes_its_parcels_alone(shelf: Shelf, client: TestClient, tmp_path: Path) -> None:
    mine, other = offered(shelf, tmp_path / "a"), offered(shelf, tmp_path / "ab")
    shelf.remove(tmp_path / "a")
    assert client.get("/" + address(mine, "talk.removed.wav")).status_code == 404
    assert client.get("/" + address(other, "talk.removed.wav")).status_code == 200
