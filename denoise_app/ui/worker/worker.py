"""Between the page and the rooms below: which denoisers there are, and what is done with a file.

`Worker` is what a tab is given to work with. It knows files and settings, no widgets; a test hands the tab another one.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from pathlib import Path
from typing import Literal

import numpy as np

from denoise_app.audio import files
from denoise_app.audio.clip import Clip, FileInfo, Samples
from denoise_app.audio.convert import mid
from denoise_app.audio.encodings import Encoding, suffix
from denoise_app.checkpoints import hub
from denoise_app.checkpoints.manifest import CheckpointError, Manifest
from denoise_app.denoiser import Denoiser
from denoise_app.evaluation import pairs
from denoise_app.evaluation import sweep as bench
from denoise_app.inference import catalog, engine
from denoise_app.inference.device import Device, choose
from denoise_app.inference.settings import number
from denoise_app.inference.sources import LevelMeter, window
from denoise_app.metrics import blind
from denoise_app.metrics.errors import MetricUnavailable
from denoise_app.metrics.excerpts import spread
from denoise_app.metrics.report import Measured, measure, score
from denoise_app.ui.parts.figures import Survey, survey

NO_LIMIT_DB = 60  # the end of the slider for the most attenuation: nobody hears a difference to no limit
WHOLE_SECONDS = 60.0  # longer recordings are listened to in excerpts, so that memory does not grow with them
EXCERPT_SECONDS = 15.0
EXCERPTS = 4
PATIENCE = 20.0  # s that the end of the program waits for the work that it has stopped


@dataclass(frozen=True)
class Offer:
    """A denoiser that can be chosen.

    Attributes:
        model, loss, source, sample_rate, causal, latency, manifest, repo, revision: As `catalog.Entry` has them.
        cached: False where its weights have yet to be fetched from the Hub.
    """

    model: str
    loss: str | None
    source: Literal["built-in", "bundled", "hub", "onnx"]
    sample_rate: int
    causal: bool
    latency: int
    manifest: Manifest | None = None
    repo: str | None = None
    revision: str | None = None
    cached: bool = True

    @property
    def key(self) -> str:
        """Its name in the page's widgets."""
        name = f"{self.model}/{self.loss}" if self.loss else self.model
        return f"{name}@{self.revision}" if self.revision else name

    @classmethod
    def of_entry(cls, entry: catalog.Entry) -> Offer:
        facts = (entry.model, entry.loss, entry.source, entry.sample_rate, entry.causal, entry.latency)
        return cls(*facts, entry.manifest, entry.repo, entry.revision)

    @classmethod
    def of_hub(cls, found: hub.HubCheckpoint) -> Offer:
        manifest = found.manifest
        facts = (manifest.model, manifest.loss, "hub", manifest.sample_rate, manifest.causal, manifest.latency)
        return cls(*facts, manifest, found.repo, found.revision, found.cached)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Excerpts:
    """What of two files of the same length and rate is listened to.

    Attributes:
        before, after: (time,) float32, the mean of the channels; of a long recording several stretches in a row.
        sample_rate: Hz.
        seconds: Length of a stretch.
        count: Stretches; 1 where it is the whole.
    """

    before: Samples
    after: Samples
    sample_rate: int
    seconds: float
    count: int


class Worker:
    """Does what the page asks for, with the models of this machine."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hub: dict[str, Offer] = {}
        self._computing = 0
        self._idle = threading.Condition()
        self._closing = threading.Event()
        self._measured = bench.Measurements()
        atexit.register(self.close)

    def close(self) -> None:
        """Ends what is under way and waits for it: Python must not go while a thread of its own computes in C++."""
        self._closing.set()
        with self._idle:
            self._idle.wait_for(lambda: self._computing == 0, PATIENCE)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        with self._idle:
            self._computing += 1
        try:
            yield
        finally:
            with self._idle:
                self._computing -= 1
                self._idle.notify_all()

    # ---------------------------------------------------------------------------------------------- denoisers

    def device(self) -> Device:
        """Where neural denoisers run, and why."""
        return choose()

    def offers(self) -> list[Offer]:
        """Every denoiser, each once.

        Those of `catalog.entries` come first, in its order; then what else the Hub's cache holds: other commits, and
        what a bundled checkpoint goes before; then what the Hub was seen to have.
        """
        at_hand = [Offer.of_entry(entry) for entry in (*catalog.entries(), *catalog.pulled())]
        with self._lock:
            listed = list(self._hub.values())
        offers: dict[str, Offer] = {}
        for offer in (*at_hand, *listed):
            offers.setdefault(offer.key, offer)
        return list(offers.values())

    def broken(self) -> list[CheckpointError]:
        """Why checkpoints in the folder of weights are left out."""
        return catalog.broken()

    def find(self, key: str) -> Offer:
        """The offer of a name; raises CheckpointError where there is none (any more)."""
        for offer in self.offers():
            if offer.key == key:
                return offer
        known = ", ".join(offer.key for offer in self.offers())
        raise CheckpointError.of("no-such-model", model=key, known=known)

    def named(self, model: str, loss: str | None = None) -> Offer:
        """The offer of a model and a loss, the model's best without one: see `catalog.find`."""
        return Offer.of_entry(catalog.find(model, loss))

    def recommended(self, model: str | None = None) -> Offer:
        """The best of a model; the best of all without one. Raises CheckpointError for a model that is not there."""
        name, loss = (model, catalog.recommended_loss(model)) if model else catalog.recommended()
        return next(offer for offer in self.offers() if (offer.model, offer.loss) == (name, loss))

    def hub_is_named(self) -> bool:
        """Whether whoever runs this named a repository or authors whose checkpoints may be listed."""
        return any(os.environ.get(name, "").strip() for name in ("DENOISE_HUB_REPO", "DENOISE_HUB_AUTHORS"))

    def look_on_hub(self) -> tuple[int, list[CheckpointError]]:
        """Asks the Hub what there is; from then on it is among the offers. Returns how many, and what is left out.

        What was listed before stays: another visitor may have chosen it, and a commit does not go away.
        """
        found, problems = hub.list_checkpoints()
        offers = [Offer.of_hub(checkpoint) for checkpoint in found]
        with self._lock:
            self._hub |= {offer.key: offer for offer in offers}
        return len(offers), problems

    def look_at(self, repo: str, revision: str | None) -> tuple[list[Offer], list[CheckpointError]]:
        """What a repository on the Hub holds at a revision, and what is left out; nothing is loaded yet."""
        found, problems = hub.list_checkpoints(repo, revision=revision)
        return [Offer.of_hub(checkpoint) for checkpoint in found], problems

    def pull(self, offer: Offer) -> Offer:
        """Fetches an offer of the Hub's; from then on it is among the offers, and cached.

        Raises:
            CheckpointError: It cannot be fetched, or is refused.
        """
        assert offer.repo and offer.revision
        hub.pull(offer.repo, f"{offer.model}/{offer.loss}", offer.revision)
        pulled = replace(offer, cached=True)
        with self._lock:
            self._hub[pulled.key] = pulled
        return pulled

    def denoiser(self, offer: Offer) -> Denoiser:
        """The denoiser of an offer, fetched from the Hub where it has to be."""
        if offer.source == "hub" and not offer.cached and offer.repo and offer.revision:
            hub.pull(offer.repo, f"{offer.model}/{offer.loss}", offer.revision)
        return catalog.load(offer.model, offer.loss, revision=offer.revision)

    # --------------------------------------------------------------------------------------------------- sound

    def probe(self, path: Path, track: int | None = None) -> FileInfo:
        """What a file's header says; raises AudioError for what is no sound or too much of it."""
        return files.probe(path, track=track)

    def levels(self, path: Path) -> engine.Levels:
        """Peak, loudness and oddities of a whole file, which is decoded for it by block."""
        with files.open_reader(path) as reader:
            meter = LevelMeter(reader.info.channels, reader.info.sample_rate)
            for block in reader.blocks():
                meter.push(block)
        return meter.levels()

    def cut(self, path: Path, seconds: float, to: Path) -> Path:
        """Writes the first `seconds` of a file as float wav, which loses nothing; returns where."""
        with files.open_reader(path) as reader:
            info = reader.info
            frames = min(info.frames, round(seconds * info.sample_rate))
            with files.open_writer(to, info.sample_rate, info.channels, Encoding("wav", "FLOAT"), frames) as writer:
                for block in window(reader.blocks(), frames):
                    writer.write(block)
        return to

    def separate(
        self,
        path: Path,
        denoiser: Denoiser,
        work: Path,
        channels: engine.Channels,
        progress: Callable[[engine.Progress], None],
        cancelled: Callable[[], bool],
        track: int | None = None,
    ) -> engine.Separation:
        """Runs the denoiser, once: see `engine.separate`."""
        with self._at_work():
            return engine.separate(
                path,
                denoiser,
                work,
                channels=channels,
                progress=progress,
                cancelled=lambda: cancelled() or self._closing.is_set(),
                track=track,
            )

    def render(
        self,
        separation: engine.Separation,
        settings: engine.Settings,
        room: Path,
        progress: Callable[[engine.Progress], None],
        cancelled: Callable[[], bool],
        with_removed: bool = True,
    ) -> engine.Rendered:
        """Writes what came out and, if wanted, what was removed into a folder: see `engine.render`."""
        ending = suffix(engine.output_encoding(separation.info, settings))
        out, removed = room / f"after{ending}", room / f"removed{ending}" if with_removed else None
        return engine.render(separation, settings, out, removed, progress=progress, cancelled=cancelled)

    # ------------------------------------------------------------------------------------------------- numbers

    def excerpts(self, before: Path, after: Path, track: int | None = None) -> Excerpts:
        """What is listened to of a recording's track and of what became of it."""
        info = files.probe(before, track=track)
        parts = _listened_to(info)
        heard = [self.heard(before, info, track), self.heard(after, info)]
        frames = min(len(samples) for samples in heard)  # a lossy format may end a little later
        length = (parts[0].stop - parts[0].start) / info.sample_rate
        return Excerpts(heard[0][:frames], heard[1][:frames], info.sample_rate, length, len(parts))

    def heard(self, path: Path, info: FileInfo, track: int | None = None) -> Samples:
        """(time,): the mean of the channels of what is listened to of a recording, from it or from a result of it."""
        return np.concatenate([_mean(path, part, track) for part in _listened_to(info)])

    def score(self, samples: Samples, sample_rate: int, keys: Iterable[str]) -> dict[str, float | MetricUnavailable]:
        """Metrics of (time,) that need no clean recording: see `report.score`."""
        with self._at_work():
            return score(samples, sample_rate, None, keys)

    def measure(self, excerpts: Excerpts, keys: Iterable[str]) -> dict[str, Measured]:
        """Metrics before and after, by their keys in `METRICS`."""
        with self._at_work():
            return measure(excerpts.before, excerpts.after, excerpts.sample_rate, keys=keys)

    # --------------------------------------------------------------------------------------------- true numbers

    def ingredients(self, clean: Path, noise_from: Path | str, seed: int) -> pairs.Ingredients:
        """Speech and as much noise: see `evaluation.pairs.prepare`."""
        return pairs.prepare(clean, noise_from, seed)

    def pair(self, noisy: Path, clean: Path) -> pairs.Pair:
        """Two recordings of the same speech, aligned: see `evaluation.pairs.pair`."""
        with self._at_work():
            return pairs.pair(noisy, clean)

    def true_scores(self, of: pairs.Pair, samples: Samples) -> dict[str, bench.Score]:
        """Metrics of (time,) against the clean side: see `evaluation.sweep.scores`."""
        with self._at_work():
            return bench.scores(of, samples)

    def denoise_pair(
        self,
        of: pairs.Pair,
        denoiser: Denoiser,
        out: Path,
        progress: Callable[[engine.Progress], None],
        cancelled: Callable[[], bool],
    ) -> Samples:
        """The noisy side denoised, (time,), also as a file: see `evaluation.sweep.denoise`."""
        with self._at_work():
            return bench.denoise(of, denoiser, out, progress, lambda: cancelled() or self._closing.is_set())

    def sweep(
        self,
        ingredients: pairs.Ingredients,
        offers: Iterable[Offer],
        snrs: tuple[float, ...],
        into: bench.Sweep,
        progress: Callable[[engine.Progress], None],
        cancelled: Callable[[], bool],
    ) -> None:
        """Improvements over SNRs, as they come; what was measured for anybody is not measured again."""
        systems = [
            bench.System(offer.key, f"{offer.key} {_weights(offer)}", partial(self.denoiser, offer)) for offer in offers
        ]
        with self._at_work():
            bench.sweep(
                ingredients,
                systems,
                snrs,
                self._measured,
                into,
                progress,
                lambda: cancelled() or self._closing.is_set(),
            )

    def loudness(self, path: Path) -> float:
        """Loudness in LUFS of what is listened to of a file; -inf for silence."""
        info = files.probe(path)
        meter = LevelMeter(info.channels, info.sample_rate)
        for part in _listened_to(info):
            meter.push(files.read_window(path, part.start, part.stop - part.start).samples)
        return meter.levels().loudness_lufs

    def survey(self, before: Path, after: Path, removed: Path, gain_db: float) -> Survey:
        """What the figures show: see `figures.survey`."""
        return survey(before, after, removed, gain_db)

    def warm_up(self) -> None:
        """Loads in the background what the first result would wait for."""
        blind.warm_up()
        threading.Thread(target=self._load_recommended, name="warm-up", daemon=True).start()

    def _load_recommended(self) -> None:
        with self._at_work():
            denoiser = self.denoiser(self.recommended())
            engine.denoise(Clip(np.zeros((1, denoiser.sample_rate), np.float32), denoiser.sample_rate), denoiser)


def _weights(offer: Offer) -> str:
    """The digest of what it has learnt, by which its results are known again."""
    return offer.manifest.sha256 if offer.manifest else ""


def _listened_to(info: FileInfo) -> list[slice]:
    """The stretches of a recording that its numbers come from: all of a short one."""
    if info.seconds <= WHOLE_SECONDS:
        return [slice(0, info.frames)]
    return spread(info.frames, round(EXCERPT_SECONDS * info.sample_rate), EXCERPTS)


def _mean(path: Path, part: slice, track: int | None = None) -> Samples:
    """(time,): the mean of the channels over a stretch of a file."""
    return mid(files.read_window(path, part.start, part.stop - part.start, track=track).samples)[0]


def settings_from(
    strength: float | None,
    most_db: float | None,
    high_band: str,
    loudness_lufs: float | None,
    true_peak_dbtp: float | None,
    container: str | None,
    bit_depth: float | None,
    *,
    to_target: bool | None = None,
) -> engine.Settings:
    """What the widgets say, or what a program sent, as the engine takes it.

    Args:
        strength: 0 to 100.
        most_db: 0 to NO_LIMIT_DB, where that and more is no limit.
        high_band: "follow", "keep", "drop".
        loudness_lufs: With a target; else it is not looked at.
        true_peak_dbtp: With a target; else it is not looked at.
        container: None or "" for the recording's.
        bit_depth: None or 0 for the recording's.
        to_target: Whether to bring the loudness to a target; without it, whether there is a `loudness_lufs`.

    Raises:
        SettingError: A number that is missing, of another kind, or out of its range; a high band that is unknown.
    """
    to_target = loudness_lufs is not None if to_target is None else to_target
    most = number("bad-attenuation", most_db)
    return engine.Settings(
        strength=number("bad-strength", strength),
        max_attenuation_db=inf if most >= NO_LIMIT_DB else most,
        high_band=high_band,  # type: ignore[arg-type]
        loudness_lufs=number("bad-loudness", loudness_lufs) if to_target else None,
        true_peak_dbtp=number("bad-true-peak", true_peak_dbtp) if to_target else engine.DEFAULTS.true_peak_dbtp,
        container=container or None,
        bit_depth=None if is_left_out(bit_depth) else as_whole(bit_depth),  # type: ignore[arg-type]
    )


def is_left_out(given: float | None) -> bool:
    """Whether a number is one that leaves the matter to the recording: none, or 0, which `false` is not."""
    return given is None or (given == 0 and not isinstance(given, bool))


def as_whole(given: float | None) -> float | None:
    """The same number, a whole one as Python's: number fields and programs may have 16.0."""
    return int(given) if isinstance(given, float) and given.is_integer() else given
