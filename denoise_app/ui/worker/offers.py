"""Which denoisers can be chosen: those at hand, and what the Hub was seen to have."""

from __future__ import annotations

import os
import threading
from dataclasses import replace

from denoise_app.checkpoints import hub
from denoise_app.checkpoints.manifest import CheckpointError
from denoise_app.denoiser import Denoiser
from denoise_app.inference import catalog
from denoise_app.inference.catalog import Entry

from . import zero


class Offers:
    """The denoisers of this machine, and those of the Hub that a visitor has looked at."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listed: dict[str, Entry] = {}

    def all(self) -> list[Entry]:
        """Every denoiser, each once.

        Those of `catalog.entries` come first, in its order; then what else the Hub's cache holds: other commits, and
        what a bundled checkpoint goes before; then what the Hub was seen to have.
        """
        with self._lock:
            listed = list(self._listed.values())
        found: dict[str, Entry] = {}
        for entry in (*catalog.entries(), *catalog.pulled(), *listed):
            found.setdefault(entry.key, entry)
        return list(found.values())

    def broken(self) -> list[CheckpointError]:
        """Why checkpoints in the folder of weights are left out."""
        return catalog.broken()

    def find(self, key: str) -> Entry:
        """The denoiser of a key; raises CheckpointError where there is none (any more)."""
        found = {entry.key: entry for entry in self.all()}
        if key in found:
            return found[key]
        raise CheckpointError.of("no-such-model", model=key, known=", ".join(found))

    def ordered(self, key: str | None) -> Entry:
        """The denoiser of a key; the recommended one for none, as where a page could not load its lists."""
        return self.find(key) if key else self.recommended()

    def recommended(self, model: str | None = None, loss: str | None = None) -> Entry:
        """The best of a model, or its checkpoint of this loss; the best of all where neither is named.

        Raises:
            CheckpointError: There is none of this name; see `catalog.find`.
        """
        return catalog.find(model, loss) if model else catalog.find(*catalog.recommended())

    def list_hub(self) -> tuple[int, list[CheckpointError]]:
        """Asks the Hub what there is; from then on it can be chosen. Returns how many, and what is left out.

        What was listed before stays: another visitor may have chosen it, and a commit does not go away.
        """
        found, problems = hub.list_checkpoints()
        entries = [Entry.of_hub(checkpoint) for checkpoint in found]
        with self._lock:
            self._listed |= {entry.key: entry for entry in entries}
        return len(entries), problems

    def pull(self, entry: Entry) -> Entry:
        """Fetches a checkpoint of the Hub; from then on it can be chosen, and is cached.

        Raises:
            CheckpointError: It cannot be fetched, or is refused.
        """
        assert entry.repo and entry.revision
        hub.pull(entry.repo, f"{entry.model}/{entry.loss}", entry.revision)
        pulled = replace(entry, cached=True)
        with self._lock:
            self._listed[pulled.key] = pulled
        return pulled

    def load(self, entry: Entry) -> Denoiser:
        """The denoiser itself, fetched from the Hub where it has to be."""
        if not entry.cached and entry.repo and entry.revision:
            hub.pull(entry.repo, f"{entry.model}/{entry.loss}", entry.revision)
        denoiser = catalog.load(entry.model, entry.loss, revision=entry.revision)
        if zero.lender() is None:
            return denoiser
        return zero.on_loan(denoiser, catalog.find(entry.model, entry.loss, entry.revision))


def hub_is_named() -> bool:
    """Whether whoever runs this named a repository or authors whose checkpoints may be listed."""
    return any(os.environ.get(name, "").strip() for name in ("DENOISE_HUB_REPO", "DENOISE_HUB_AUTHORS"))
