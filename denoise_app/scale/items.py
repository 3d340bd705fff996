"""The files of a batch, here or elsewhere, and where their results go."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from denoise_app.audio.folders import most_first
from denoise_app.inference import batch

from . import places
from .errors import ScaleError
from .manifest import local_state


@dataclass(frozen=True)
class Item:
    """A file of a batch.

    Attributes:
        job: What to denoise; its source may be an address, its target is relative where results go elsewhere.
        state: What the input was like when the batch was planned: by it a change is seen. "" where it cannot be read.
        out: The address below which results go; "" for this machine.
    """

    job: batch.Job
    state: str
    out: str = ""

    @property
    def path(self) -> str:
        """The input's name, the same from every working folder."""
        return str(self.job.source) if self.is_remote else os.path.abspath(self.job.source)

    @property
    def target(self) -> str:
        """The target's name, the same from every working folder."""
        name = self.job.target
        return places.joined(self.out, name.as_posix()) if self.out else os.path.abspath(name)

    @property
    def is_remote(self) -> bool:
        return places.is_remote(self.job.source)

    @property
    def size(self) -> int:
        """Bytes of the input, 0 where they are not known."""
        return int(self.state.partition(":")[0] or 0)


@dataclass(frozen=True)
class Batch:
    """What is to be done.

    Attributes:
        items: One for each file, with targets that are kept apart.
        passed_over: What lies in the folders and is not taken -> how often; see `folders.Found`.
    """

    items: tuple[Item, ...]
    passed_over: Mapping[str, int]


def plan(inputs: Sequence[str | Path], out: str | Path) -> Batch:
    """Every sound file that is named, or lies below a folder that is named, as `batch.plan` has it, also elsewhere.

    Args:
        inputs: Files, folders, patterns; addresses such as s3://bucket/folder or hf://datasets/author/name/*.flac.
        out: A folder, or an address of one.

    Raises:
        ScaleError: "no-place" where no result can be put; "no-remote" where a package for such addresses is missing;
            "remote-fails".
    """
    if places.is_address(out) and not places.is_remote(out):
        raise ScaleError.of("no-place", name=str(out))
    address = str(out) if places.is_remote(out) else ""
    root = Path() if address else Path(out)
    here = [name for name in inputs if not places.is_remote(name)]
    there = [str(name) for name in inputs if places.is_remote(name)]
    planned = batch.plan(here, root, alone=False if there else None)
    jobs, states, passed_over = list(planned.jobs), dict[str | Path, str](), Counter(planned.passed_over)
    for name in there:
        found = places.find(name, address)
        states |= {each.address: each.state for each in found.sounds}
        top = root if len(inputs) == 1 else root / found.name
        jobs += [batch.Job(each.address, top / each.relative) for each in found.sounds]
        passed_over.update(found.passed_over)
    if there:
        jobs = batch.kept_apart(list(dict.fromkeys(jobs)))
    items = tuple(
        Item(job, states[job.source] if job.source in states else local_state(job.source), address) for job in jobs
    )
    return Batch(items, most_first(passed_over))


def endangered(items: Sequence[Item]) -> frozenset[batch.Place]:
    """The inputs that lie where results go, here or elsewhere, so that a result could take the place of one."""
    here = batch.endangered([item.job for item in items])
    return here | {places.place(item.path) for item in items if item.is_remote and item.out}
