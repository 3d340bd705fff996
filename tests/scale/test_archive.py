"""Zips as people make them, and as nobody should."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from denoise_app.scale import archive
from denoise_app.scale.archive import Unpacked, unpack
from denoise_app.scale.errors import ScaleError


def zipped(path: Path, files: dict[str, bytes], packed: bool = False) -> Path:
    kind = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as made:
        for name, data in files.items():
            made.writestr(zipfile.ZipInfo(name), data, compress_type=kind)
    return path


def opened(path: Path, most_files: int = 100, most_bytes: int = 1 << 30) -> Unpacked:
    folder = path.with_suffix("")
    folder.mkdir(exist_ok=True)
    return unpack(path, folder, most_files, most_bytes)


def refusal(path: Path, **limits: int) -> str:
    with pytest.raises(ScaleError) as caught:
        opened(path, **limits)
    assert path.name in str(caught.value) or caught.value.reason in ("too-many-files", "batch-too-large")
    assert list(path.with_suffix("").iterdir()) == []
    return caught.value.reason


def problems(found: Unpacked) -> dict[str, str | None]:
    return {member.relative.as_posix(): member.problem and member.problem.reason for member in found.members}


def test_sound_is_unpacked_with_its_folders_and_the_rest_is_counted(tmp_path: Path, tiny: bytes) -> None:
    files = {"a.wav": tiny, "deep/er/b.WAV": tiny, "notes.txt": b"x", ".hidden.wav": tiny, "__MACOSX/._a.wav": b"x"}
    found = opened(zipped(tmp_path / "x.zip", files, packed=True))
    assert problems(found) == {"a.wav": None, "deep/er/b.WAV": None}
    assert all(member.path.read_bytes() == tiny for member in found.members)
    assert found.passed_over == {".txt": 1, "hidden": 2}


@pytest.mark.parametrize("name", ["../evil.wav", "/evil.wav", "a/../../evil.wav", "c:/evil.wav", "..\\evil.wav"])
def test_nothing_is_written_outside(name: str, tmp_path: Path, tiny: bytes) -> None:
    found = opened(zipped(tmp_path / "x.zip", {name: tiny, "good.wav": tiny}))
    assert sorted(map(str, problems(found).values())) == ["None", "zip-outside"]
    assert [path.name for path in tmp_path.rglob("*.wav")] == ["good.wav"]


def test_equal_names_do_not_meet(tmp_path: Path, tiny: bytes) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(tmp_path / "x.zip", "w") as made:
        made.writestr("a.wav", tiny)
        made.writestr("a.wav", tiny + b"more")
        made.writestr("A.wav", tiny)
    found = opened(tmp_path / "x.zip")
    assert [len(member.path.read_bytes()) - len(tiny) for member in found.members] == [0, 4, 0]
    assert len({member.path.parent for member in found.members}) == 3


def test_archives_within_are_not_opened(tmp_path: Path, tiny: bytes) -> None:
    inner = zipped(tmp_path / "inner.zip", {"b.wav": tiny}).read_bytes()
    found = opened(zipped(tmp_path / "x.zip", {"inner.zip": inner, "more.tar": b"x", "a.wav": tiny}))
    assert problems(found) == {"a.wav": None, "inner.zip": "zip-nested", "more.tar": "zip-nested"}


def test_what_is_encrypted_is_told(tmp_path: Path, tiny: bytes) -> None:
    path = zipped(tmp_path / "x.zip", {"a.wav": tiny, "b.wav": tiny})
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\1\2")
    data[entry + 8] |= 1  # the flag of the first in the list
    data[6] |= 1
    path.write_bytes(data)
    found = opened(path)
    assert problems(found) == {"a.wav": "zip-encrypted", "b.wav": None}
    assert "password" in str(found.members[-1].problem)


def test_a_damaged_file_costs_no_other(tmp_path: Path, tiny: bytes) -> None:
    path = zipped(tmp_path / "x.zip", {"a.wav": tiny, "b.wav": tiny})
    data = bytearray(path.read_bytes())
    data[100] ^= 0xFF  # in the first file's sound
    path.write_bytes(data)
    assert problems(opened(path)) == {"a.wav": "zip-damaged", "b.wav": None}


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"no zip at all", b"PK\5\6" + b"\xff" * 18])
def test_what_is_no_zip_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(content)
    assert refusal(tmp_path / "x.zip") in ("zip-damaged", "zip-too-many")


def test_a_cut_off_zip_is_told(tmp_path: Path, tiny: bytes) -> None:
    path = zipped(tmp_path / "x.zip", {"a.wav": tiny})
    path.write_bytes(path.read_bytes()[:-30])
    assert refusal(path) == "zip-damaged"


def test_too_much_of_anything_is_refused(tmp_path: Path, tiny: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "x.zip", {f"{number}.wav": tiny for number in range(4)})
    assert refusal(path, most_files=3) == "too-many-files"
    assert refusal(path, most_bytes=4 * len(tiny) - 1) == "batch-too-large"
    monkeypatch.setattr(archive, "MOST_ENTRIES", 3)
    assert refusal(path) == "zip-too-many"


def test_ten_thousand_entries_are_read_and_one_more_is_not(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {f"{number}.txt": b"" for number in range(archive.MOST_ENTRIES)})
    assert opened(path).passed_over == {".txt": archive.MOST_ENTRIES}
    with zipfile.ZipFile(path, "a") as more:
        more.writestr("more.txt", b"")
    assert refusal(path) == "zip-too-many"


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made, made.open("a.wav", "w") as file:
        for _ in range(120):
            file.write(bytes(1 << 20))
    assert refusal(path, most_bytes=4 << 30) == "zip-bomb"


def test_an_entry_that_lies_about_its_size_gives_no_more(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"a.wav": bytes(1 << 20)}, packed=True)
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\1\2")
    data[entry + 24 : entry + 28] = struct.pack("<I", 1000)
    path.write_bytes(data)
    assert problems(opened(path)) == {"a.wav": "zip-damaged"}  # its checksum is of more
    assert not [file for file in (tmp_path / "x").rglob("*.wav")]


@pytest.mark.slow
def test_a_huge_list_of_entries_is_not_read(tmp_path: Path) -> None:
    """A list of 40 MB would take a gigabyte of memory once it is read."""
    one = struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    count = (40 << 20) // len(one)
    size = count * len(one)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count & 0xFFFF, count & 0xFFFF, size, 0, 0)
    (tmp_path / "x.zip").write_bytes(one * count + end)
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom denoise_app.scale import archive\n"
        "from denoise_app.scale.errors import ScaleError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    archive.unpack(Path(sys.argv[1]), Path(sys.argv[1]).parent, 9, 9)\n"
        "except ScaleError as error:\n"
        "    print(error.reason, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", code, str(tmp_path / "x.zip")]
    said = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    reason, grown = said.stdout.split()
    assert reason == "zip-too-many" and int(grown) < 20_000  # kB


def test_a_full_disk_is_told_before(tmp_path: Path, tiny: bytes) -> None:
    path = zipped(tmp_path / "x.zip", {"a.wav": tiny})
    (tmp_path / "x").mkdir()
    with pytest.raises(Exception) as caught:
        unpack(path, tmp_path / "x", 9, 1 << 30, min_free=1 << 60)
    assert getattr(caught.value, "reason", None) == "disk-full"


def test_long_and_odd_names_are_kept_apart(tmp_path: Path, tiny: bytes) -> None:
    found = opened(zipped(tmp_path / "x.zip", {"a" * 300 + ".wav": tiny, "语\x1b.wav": tiny}))
    assert sorted(map(str, problems(found).values())) == ["None", "cannot-write"]
    assert io.BytesIO(tiny).getvalue() in [member.path.read_bytes() for member in found.members if not member.problem]
