"""What is done to every file of a batch, in whatever process."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from denoise_app.audio.errors import AudioError
from denoise_app.denoiser import Denoiser
from denoise_app.inference import batch, catalog, engine
from denoise_app.inference.errors import EngineError
from denoise_app.inference.progress import Question, Report
from denoise_app.inference.selection import EVERYTHING, Selection

from . import places
from .items import Item
from .manifest import Manifest, Row, local_state


@dataclass(frozen=True)
class Work:
    """All that the results of a batch depend on, beside its files.

    Attributes:
        model, loss, revision: As `catalog.load` takes them.
        weights: Digest of the checkpoint's weights and config, `network_sha256`; None for a classical denoiser.
        settings, channels, track, selection, strict: As `batch.attempt` takes them.
        device: As `catalog.load` takes it; does not count.
    """

    model: str
    loss: str | None
    weights: str | None
    settings: engine.Settings
    channels: engine.Channels = "each"
    track: int | None = None
    selection: Selection = EVERYTHING
    strict: bool = False
    revision: str | None = None
    device: str | None = None

    @property
    def digest(self) -> str:
        """16 digits that are others where results may be others."""
        settings = asdict(self)
        del settings["device"]
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]

    def load(self) -> Denoiser:
        """Raises CheckpointError, AudioError: see `catalog.load`."""
        return catalog.load(self.model, self.loss, self.device, self.revision)

    def row(self, item: Item, outcome: batch.Outcome) -> Row:
        """What a manifest tells of a file."""
        error = outcome.error
        problem = None
        if error is not None:
            facts = error.facts if isinstance(error, AudioError) else {}
            problem = {"reason": reason_of(error), "message": str(error), "facts": dict(facts)}
        return Row(
            path=item.path,
            state=item.state,
            target=item.target,
            settings=self.digest,
            model=self.model,
            loss=self.loss,
            weights=self.weights,
            output=None if outcome.output is None else absolute(outcome.output),
            output_state="" if outcome.output is None else state_of(outcome.output),
            seconds=round(outcome.seconds, 3),
            computing=round(outcome.computing, 3),
            notes=tuple(note.as_dict() for note in outcome.notes),
            error=problem,
        )

    def standing(self, item: Item, manifest: Manifest) -> Row | None:
        """The row of a file that need not be done again: done from the same input in the same way, and still there."""
        row = manifest.row(item.target)
        if row is None or row.outcome != "done" or row.output is None:
            return None
        same = (row.path, row.state, row.settings) == (item.path, item.state, self.digest)
        return row if same and item.state and state_of(row.output) == row.output_state else None


def reason_of(error: AudioError | OSError) -> str:
    """The key of an error; an OSError carries none."""
    return getattr(error, "reason", "not-readable")


def absolute(name: str | Path) -> str:
    return name if isinstance(name, str) and places.is_remote(name) else os.path.abspath(name)


def state_of(name: str | Path) -> str:
    """What a file is like here or elsewhere; "" where there is none, or nobody can tell."""
    if not places.is_remote(name):
        return local_state(name)
    try:
        return places.state(str(name))
    except AudioError:
        return ""


@dataclass(frozen=True)
class Bench:
    """Where files are denoised: what a process sets up once.

    Attributes:
        work: What is done.
        denoiser: By which.
        inputs: `items.endangered` of all files.
        scratch: How the names of folders begin in which results lie until they are complete.
    """

    work: Work
    denoiser: Denoiser
    inputs: Collection[batch.Place] = ()
    scratch: str = batch.SCRATCH

    def attempt(self, item: Item, progress: Report | None = None, cancelled: Question | None = None) -> batch.Outcome:
        """Denoises one file, from wherever it is to wherever its result goes; what goes wrong is an outcome.

        Raises:
            Cancelled: see `batch.attempt`.
        """
        if not (item.is_remote or item.out):
            return self._attempt(item.job, progress, cancelled)
        with tempfile.TemporaryDirectory(prefix=self.scratch) as folder:
            try:
                return self._elsewhere(item, Path(folder), progress, cancelled)
            except (AudioError, OSError) as problem:
                return batch.Outcome(item.job, None, problem, 0.0, 0.0)

    def _attempt(self, job: batch.Job, progress: Report | None, cancelled: Question | None) -> batch.Outcome:
        work = self.work
        return batch.attempt(
            job,
            self.denoiser,
            work.settings,
            channels=work.channels,
            track=work.track,
            selection=work.selection,
            strict=work.strict,
            inputs=self.inputs,
            scratch=self.scratch,
            progress=progress,
            cancelled=cancelled,
        )

    def _elsewhere(
        self, item: Item, folder: Path, progress: Report | None, cancelled: Question | None
    ) -> batch.Outcome:
        job, source, target = item.job, item.job.source, item.job.target
        if item.is_remote:
            source = places.fetch(str(source), folder / "in")
        if item.out:
            target = folder / "out" / target.name
        outcome = self._attempt(replace(job, source=source, target=target), progress, cancelled)
        if outcome.output is not None and item.out:
            address = places.joined(item.out, (job.target.parent / Path(outcome.output).name).as_posix())
            if places.place(address) in self.inputs:
                raise EngineError.of("onto-input", target=address)
            places.deliver(Path(outcome.output), address)
            outcome = replace(outcome, output=address)
        return replace(outcome, job=job)


def scratch_of(manifest: Path | None) -> str:
    """How the scratch folders of a run are called, so that the next run by the same manifest knows them."""
    if manifest is None:
        return f"{batch.SCRATCH}{secrets.token_hex(4)}-"
    return f"{batch.SCRATCH}{hashlib.sha256(os.fsencode(os.path.realpath(manifest))).hexdigest()[:8]}-"


def swept(folder: Path, scratch: str) -> int:
    """Deletes what processes that were killed left in a folder of results; returns how many folders that were."""
    found = list(folder.glob(f"{scratch}*")) if folder.is_dir() else []
    for left in found:
        shutil.rmtree(left, ignore_errors=True)
    return len(found)
