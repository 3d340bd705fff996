"""Files that lie elsewhere: found, fetched, delivered, through failures that pass."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
import soundfile
from fsspec.implementations.memory import MemoryFileSystem
from odd_work import PLAIN, sound

from denoise_app.cli import main
from denoise_app.scale import items, places, run
from denoise_app.scale.errors import ScaleError
from denoise_app.scale.manifest import Manifest


class Failing(MemoryFileSystem):  # type: ignore[misc]
    """A store whose every tenth call fails, once it is to."""

    protocol = "faulty"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    calls = 0
    every = 0

    @classmethod
    def _strip_protocol(cls, path: str) -> Any:
        return super()._strip_protocol(path.replace("faulty://", "memory://"))

    @classmethod
    def _called(cls) -> None:
        cls.calls += 1
        if cls.every and cls.calls % cls.every == 0:
            raise OSError("503 Slow Down")

    def info(self, path: str, **options: Any) -> Any:
        self._called()
        return super().info(path, **options)

    def get_file(self, *paths: Any, **options: Any) -> Any:
        self._called()
        return super().get_file(*paths, **options)

    def put_file(self, *paths: Any, **options: Any) -> Any:
        self._called()
        return super().put_file(*paths, **options)

    def mv(self, *paths: Any, **options: Any) -> Any:
        self._called()
        return super().mv(*paths, **options)


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Failing]]:
    fsspec.register_implementation("faulty", Failing, clobber=True)
    monkeypatch.setattr(places, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(Failing, "calls", 0)
    yield Failing
    Failing.store.clear()
    Failing.pseudo_dirs[:] = [""]


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    store = fsspec.filesystem("memory")
    yield store
    store.store.clear()
    store.pseudo_dirs[:] = [""]


def fill(store: Any, folder: Path, names: list[str], top: str = "/in") -> None:
    for number, name in enumerate(names):
        local = sound(folder / f"{number}.wav")
        store.makedirs(f"{top}/{name}".rpartition("/")[0], exist_ok=True)
        store.put_file(str(local), f"{top}/{name}")


def test_a_folder_is_mirrored_and_only_its_sound_is_taken(memory: Any, tmp_path: Path) -> None:
    fill(memory, tmp_path / "made", ["a.wav", "deep/er/b.wav", "notes.txt", ".git/c.wav"])
    planned = items.plan(["memory://in"], tmp_path / "out")
    assert [(item.path, item.job.target) for item in planned.items] == [
        ("memory:///in/a.wav", tmp_path / "out/a.wav"),
        ("memory:///in/deep/er/b.wav", tmp_path / "out/deep/er/b.wav"),
    ]
    assert planned.passed_over == {".txt": 1, "hidden": 1}
    assert all(item.size > 3200 and item.state.partition(":")[2] for item in planned.items)


def test_patterns_files_and_folders_here_go_together(memory: Any, tmp_path: Path) -> None:
    fill(memory, tmp_path / "made", ["a.wav", "b.wav", "c.flac"])
    sound(tmp_path / "here" / "a.wav")
    planned = items.plan(["memory://in/*.wav", tmp_path / "here", "memory://in/c.flac"], tmp_path / "out")
    targets = [item.job.target.relative_to(tmp_path / "out").as_posix() for item in planned.items]
    assert targets == ["here/a.wav", "a.wav", "b.wav", "c.flac"]


def test_names_from_elsewhere_stay_below_the_results(memory: Any, tmp_path: Path) -> None:
    fill(memory, tmp_path / "made", ["x/../../../evil.wav"])
    for item in items.plan(["memory://in"], tmp_path / "out").items:
        assert item.job.target.resolve().is_relative_to(tmp_path / "out")


def test_results_go_elsewhere_by_a_temporary_name(memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound(tmp_path / "in" / "deep" / "a.wav")
    seen: list[tuple[str, str]] = []
    real = MemoryFileSystem.mv

    def mv(self: Any, before: str, after: str, **options: Any) -> None:
        seen.append((before, after))
        real(self, before, after, **options)

    monkeypatch.setattr(MemoryFileSystem, "mv", mv)
    planned = items.plan([tmp_path / "in"], "memory://out/x")
    ((_, outcome),) = run.run(planned.items, PLAIN, run.here)
    assert outcome.error is None and outcome.output == "memory://out/x/deep/a.wav"
    assert seen == [("/out/x/deep/.a.wav.tmp", "/out/x/deep/a.wav")]
    with memory.open("/out/x/deep/a.wav") as file:
        assert soundfile.info(file).frames == 1600
    assert memory.find("/out") == ["/out/x/deep/a.wav"]


def test_every_tenth_call_may_fail(faulty: type[Failing], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = fsspec.filesystem("faulty")
    fill(store, tmp_path / "made", [f"{number:02}.wav" for number in range(30)])
    monkeypatch.setattr(faulty, "every", 10)
    planned = items.plan(["faulty://in"], "faulty://out")
    with Manifest(tmp_path / "m") as manifest:
        found = list(run.run(planned.items, PLAIN, run.here, manifest))
        assert [outcome.error for _, outcome in found] == [None] * 30
        assert faulty.calls > 150  # so fifteen have failed
        monkeypatch.setattr(faulty, "every", 0)
        assert len([path for path in store.find("/out") if path.endswith(".wav")]) == 30
        assert run.divided(planned.items, PLAIN, manifest, resume=True).todo == ()
        store.pipe_file("/in/07.wav", (tmp_path / "made" / "1.wav").read_bytes())  # changed elsewhere
        store.rm("/out/03.wav")
        todo = run.divided(items.plan(["faulty://in"], "faulty://out").items, PLAIN, manifest, resume=True).todo
        assert [item.job.target.name for item in todo] == ["03.wav", "07.wav"]


def test_a_store_that_stays_away_is_a_row_for_each_file(
    faulty: type[Failing], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(fsspec.filesystem("faulty"), tmp_path / "made", ["a.wav", "b.wav"])
    planned = items.plan(["faulty://in"], tmp_path / "out")
    monkeypatch.setattr(faulty, "every", 1)
    errors = [outcome.error for _, outcome in run.run(planned.items, PLAIN, run.here)]
    assert [getattr(error, "reason", None) for error in errors] == ["remote-fails"] * 2
    assert "503 Slow Down" in str(errors[0]) and str(places.TRIES) in str(errors[0])


def test_pauses_grow_and_what_lasts_is_not_tried_again() -> None:
    pauses: list[float] = []
    calls: list[int] = []

    def fails(error: Exception) -> None:
        calls.append(1)
        raise error

    with pytest.raises(ScaleError) as caught:
        places._tried("s3://x", lambda: fails(OSError("reset")), pauses.append)
    assert caught.value.reason == "remote-fails" and len(calls) == places.TRIES and len(pauses) == places.TRIES - 1
    assert all(0.5 <= pause / (places.FIRST_PAUSE * 2**n) <= 1.5 for n, pause in enumerate(pauses))
    for error, reason in ((FileNotFoundError("x"), "remote-missing"), (PermissionError("403"), "remote-fails")):
        calls.clear()
        with pytest.raises(ScaleError) as caught:
            places._tried("s3://x", lambda error=error: fails(error), pauses.append)  # type: ignore[misc]
        assert caught.value.reason == reason and len(calls) == 1


def test_what_is_not_there_is_a_row(memory: Any, tmp_path: Path) -> None:
    planned = items.plan(["memory://nowhere/a.wav"], tmp_path / "out")
    ((_, outcome),) = run.run(planned.items, PLAIN, run.here)
    assert getattr(outcome.error, "reason", None) == "remote-missing"


def test_a_pattern_that_matches_nothing_is_a_row(memory: Any, tmp_path: Path) -> None:
    planned = items.plan(["memory://nowhere/*.wav"], tmp_path / "out")
    ((_, outcome),) = run.run(planned.items, PLAIN, run.here)
    assert getattr(outcome.error, "reason", None) == "remote-missing"


@pytest.mark.parametrize("named", ["memory://in", "memory:///in/", "memory://in/*.wav", "memory://in/**/*.wav"])
def test_results_that_lie_among_the_inputs_are_passed_over(named: str, memory: Any, tmp_path: Path) -> None:
    fill(memory, tmp_path / "made", ["a.wav", "deep/b.wav"])
    first = items.plan([named], "memory://in/clean")
    assert len(first.items) == (1 if named.endswith("in/*.wav") else 2)
    list(run.run(first.items, PLAIN, run.here))
    assert memory.exists("/in/clean/a.wav")
    assert items.plan([named], "memory:///in/clean/").items[0].path == first.items[0].path
    assert len(items.plan([named], "memory://in/clean").items) == len(first.items)
    assert len(items.plan(["memory://in/clean"], "memory://in").items) > 0


@pytest.mark.usefixtures("warm")
@pytest.mark.slow
@pytest.mark.parametrize("out", ["memory://in", "memory:///in/"])
def test_no_input_is_written_onto_elsewhere(out: str, memory: Any, tmp_path: Path) -> None:
    fill(memory, tmp_path / "made", ["a.wav", "deep/a.wav"])
    before = {path: memory.cat(path) for path in memory.find("/in")}
    for engine in (run.here, run.in_processes(1)):
        found = list(run.run(items.plan(["memory://in"], out).items, PLAIN, engine))
        assert {getattr(outcome.error, "reason", None) for _, outcome in found} <= {"onto-input", "remote-missing"}
    (_, outcome), _ = run.run(items.plan(["memory://in/deep/a.wav", "memory://in/a.wav"], out).items, PLAIN, run.here)
    assert getattr(outcome.error, "reason", None) == "onto-input"
    assert {path: memory.cat(path) for path in before} == before


@pytest.mark.parametrize("out", ["https://example.org/x", "HTTP://x", "file://elsewhere/x"])
def test_results_have_a_place(out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ScaleError) as caught:
        items.plan([sound(tmp_path / "a.wav")], out)
    assert caught.value.reason == "no-place" and [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_addresses_of_this_machine_are_paths(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sound(tmp_path / "in" / "a b.wav")
    for scheme, out in (("file", "one"), ("FILE", "two"), ("local", "three")):
        named = [f"{scheme}://{tmp_path}/in/a%20b.wav", "-o", f"{scheme}://{tmp_path}/{out}", "--resume"]
        assert main(["denoise", *named, "--model", "mmse-lsa"]) == 0
        assert {path.name for path in (tmp_path / out).iterdir()} > {"a b.wav", "denoise-manifest.jsonl"}
    capsys.readouterr()
    assert main(["denoise", f"file://{tmp_path}/in", "-o", f"file://{tmp_path}/in", "--model", "mmse-lsa"]) == 1
    assert "is an input itself" in capsys.readouterr().err


@pytest.mark.parametrize(("address", "package"), [("s3://bucket/a.wav", "s3fs"), ("nonesuch://a.wav", "fsspec")])
def test_a_missing_package_is_named(address: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec.core

    def missing(url: str) -> None:
        raise ImportError("Install s3fs to access S3") if url.startswith("s3") else ValueError("Protocol not known")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(ScaleError) as caught:
        places.find(address)
    assert caught.value.reason == "no-remote" and package in str(caught.value) and "[remote]" in str(caught.value)


@pytest.mark.parametrize(
    "name", ["https://example.org/a.wav", "http://x/a.wav", "file:///a.wav", "C:\\a.wav", "a:b.wav"]
)
def test_what_is_no_store_is_left_to_the_reader(name: str) -> None:
    assert not places.is_remote(name)
