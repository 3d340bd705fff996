"""Results are found at their addresses, by nobody else, and as long as they are there."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from denoise_app.audio.errors import AudioError
from denoise_app.ui.parts.downloads import Bundle, Downloads, OnDemand, address, links, zipped
from denoise_app.ui.texts import Say


@pytest.fixture
def downloads() -> Downloads:
    return Downloads()


@pytest.fixture
def client(downloads: Downloads) -> TestClient:
    return TestClient(Starlette(routes=downloads.routes))


NAMES = ("talk.denoised.wav", "talk.removed.wav")


def offered(downloads: Downloads, folder: Path, names: tuple[str, ...] = NAMES) -> str:
    folder.mkdir(exist_ok=True)
    files = {}
    for k, name in enumerate(names):
        files[name] = folder / f"file{k}"
        files[name].write_bytes(name.encode() * 1000)
    return downloads.offer(folder, Bundle(files, "talk.zip"))


def test_a_file_is_sent_under_the_users_name_with_its_bytes(
    downloads: Downloads, client: TestClient, tmp_path: Path
) -> None:
    name = "会议 1 & 2 #?.wav"
    answer = client.get("/" + address(offered(downloads, tmp_path / "a", (name,)), name))
    assert answer.status_code == 200 and answer.content == name.encode() * 1000
    assert "attachment" in answer.headers["content-disposition"]
    assert "%E4%BC%9A" in answer.headers["content-disposition"] and answer.headers["cache-control"] == "no-store"


def test_all_in_one_zip(downloads: Downloads, client: TestClient, tmp_path: Path) -> None:
    token = offered(downloads, tmp_path / "a")
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
def test_only_what_was_offered_is_sent(downloads: Downloads, client: TestClient, tmp_path: Path, name: str) -> None:
    token = offered(downloads, tmp_path / "a")
    answer = client.get(f"/results/{token}/{name}")
    assert answer.status_code == 404 and str(tmp_path) not in answer.text


def test_a_wrong_token_finds_nothing(downloads: Downloads, client: TestClient, tmp_path: Path) -> None:
    token = offered(downloads, tmp_path / "a")
    assert client.get(f"/results/{token[:-1]}/talk.denoised.wav").status_code == 404
    assert client.get("/results//talk.denoised.wav").status_code == 404


def test_what_is_gone_is_said_to_be_gone(downloads: Downloads, client: TestClient, tmp_path: Path) -> None:
    token = offered(downloads, tmp_path / "a")
    (tmp_path / "a" / "file0").unlink()
    assert client.get("/" + address(token, "talk.denoised.wav")).status_code == 404
    assert client.get("/" + address(token, "talk.zip")).status_code == 404
    assert client.get("/" + address(token, "talk.removed.wav")).status_code == 200


def test_removing_a_folder_removes_its_bundles_alone(downloads: Downloads, client: TestClient, tmp_path: Path) -> None:
    mine, other = offered(downloads, tmp_path / "a"), offered(downloads, tmp_path / "ab")
    downloads.remove(tmp_path / "a")
    assert client.get("/" + address(mine, "talk.removed.wav")).status_code == 404
    assert client.get("/" + address(other, "talk.removed.wav")).status_code == 200


class Written:
    """Writes a file, and counts how often."""

    def __init__(self, path: Path) -> None:
        self.path, self.times = path, 0

    def __call__(self) -> Path:
        self.times += 1
        self.path.write_bytes(b"made now")
        return self.path


def test_what_is_made_on_demand_is_written_once_and_not_before(
    downloads: Downloads, client: TestClient, tmp_path: Path
) -> None:
    written = Written(tmp_path / "removed")
    token = downloads.offer(tmp_path, Bundle({"talk.removed.wav": OnDemand(written)}, "talk.zip"))
    assert not written.path.exists()
    assert client.get("/" + address(token, "talk.removed.wav")).content == b"made now" and written.times == 1
    with zipfile.ZipFile(io.BytesIO(client.get("/" + address(token, "talk.zip")).content)) as archive:
        assert archive.read("talk.removed.wav") == b"made now" and written.times == 1


@pytest.mark.parametrize("error", [AudioError.of("missing", name="talk.wav"), OSError(28, "full", "/secret/place")])
def test_what_cannot_be_made_is_told_without_a_path(
    downloads: Downloads, client: TestClient, tmp_path: Path, error: Exception
) -> None:
    def fail() -> Path:
        raise error

    token = downloads.offer(tmp_path, Bundle({"a.wav": OnDemand(fail)}, "a.zip"))
    for name in ("a.wav", "a.zip"):
        answer = client.get("/" + address(token, name))
        assert answer.status_code == 404 and answer.text and "secret" not in answer.text


def test_a_visits_new_offer_takes_the_place_of_its_former(
    downloads: Downloads, client: TestClient, tmp_path: Path
) -> None:
    first, other = offered(downloads, tmp_path / "a"), tmp_path / "other.wav"
    other.write_bytes(b"other")
    second = downloads.offer(tmp_path / "a", Bundle({NAMES[0]: other}, "a.zip"))
    assert client.get("/" + address(first, NAMES[0])).status_code == 404
    assert client.get("/" + address(second, NAMES[0])).content == b"other"


def test_an_offer_that_grows_keeps_its_links(downloads: Downloads, client: TestClient, tmp_path: Path) -> None:
    """Whoever clicks one as the answer with the new links is under way gets what was clicked."""
    sound, written = tmp_path / "after.wav", Written(tmp_path / "report.json")
    sound.write_bytes(b"sound")
    first = downloads.offer(tmp_path, Bundle({"a.wav": sound}, "a.zip"))
    second = downloads.offer(tmp_path, Bundle({"a.wav": sound, "a.json": OnDemand(written)}, "a.zip"))
    assert client.get("/" + address(first, "a.wav")).content == b"sound"
    assert client.get("/" + address(second, "a.json")).content == b"made now"
    assert first == second


@pytest.mark.parametrize(
    "later",
    [
        lambda sound, table: Bundle({"a.wav": sound}, "b.zip"),
        lambda sound, table: Bundle({"a.wav": sound}, "a.zip"),
        lambda sound, table: Bundle({"b.csv": table}, "a.zip"),
    ],
)
def test_an_offer_that_lacks_a_former_link_has_links_of_its_own(
    downloads: Downloads, tmp_path: Path, later: Callable[..., Bundle]
) -> None:
    sound, table = tmp_path / "after.wav", OnDemand(Written(tmp_path / "table.csv"))
    sound.write_bytes(b"sound")
    first = downloads.offer(tmp_path, Bundle({"a.wav": sound, "a.csv": table}, "a.zip"))
    assert downloads.offer(tmp_path, later(sound, table)) != first


def test_a_table_alone_has_links_of_its_own(downloads: Downloads, tmp_path: Path) -> None:
    """As of batches of which every file has failed: the next one's is another."""
    tables = [OnDemand(Written(tmp_path / name)) for name in "ab"]
    first, second = (downloads.offer(tmp_path, Bundle({"a.csv": table}, "a.zip")) for table in tables)
    assert first != second


def test_the_report_can_be_had_when_there_is_one() -> None:
    early = links(Say("en"), "t", {"after": "a b.wav", "removed": "r.wav"})
    assert 'href="results/t/a%20b.wav"' in early and "Report in a moment" in early and "zip" not in early
    late = links(Say("en"), "t", {"after": "a.wav", "removed": "r.wav", "report": "a.json", "all": "a.zip"})
    assert late.count("<a ") == 4 and "Report in a moment" not in late
