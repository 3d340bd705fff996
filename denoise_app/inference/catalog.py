"""Every denoiser by name, ready to run: the classical ones, bundled checkpoints, those of the Hub, and ONNX files."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal

from denoise_app import resources
from denoise_app.audio.names import FileState, state_of
from denoise_app.checkpoints import hub, store
from denoise_app.checkpoints.manifest import SLUG, CheckpointError, Manifest
from denoise_app.classical import CLASSICAL
from denoise_app.denoiser import Denoiser
from denoise_app.metrics.report import quality
from denoise_app.models.registry import MODELS

from . import onnx
from .device import choose

GRAPH = "model.onnx"  # beside bundled weights: the same denoiser for ONNX Runtime
BY_OTHERS = "onnx"  # stands for the loss of a denoiser by others
FALLBACK = "mmse-lsa"  # the best of the classical ones
QUICK = 0.1  # of real time: an hour of sound in six minutes of one core
FAST_SHARE = 1 / 3  # of the time that the best takes
LIVE_DELAY = 0.05  # seconds; with those of a microphone and a loudspeaker people talk over each other beyond 0.15
MOST_LOADED = 32  # models kept in memory; the oldest goes

_loading = threading.Lock()


@dataclass(frozen=True)
class Entry:
    """A denoiser that can be loaded by name.

    Attributes:
        model: Its name.
        loss: The training loss of the checkpoint; None for a classical one.
        kind: "classical" or "neural".
        source: "built-in", "bundled" (in the folder of weights), "hub" (pulled into the Hub's cache) or "onnx" (by
            others, in the operator's folder).
        sample_rate: Hz.
        causal, latency: As `Denoiser` has them; latency in samples.
        manifest: Everything else that is known of a checkpoint; None for a classical one.
        folder: Where the checkpoint lies; of an ONNX file by others the file; None where it has yet to be fetched.
        repo, revision: "author/name" on the Hub, and the commit.
        cached: False where its weights have yet to be fetched from the Hub.
    """

    model: str
    loss: str | None
    kind: Literal["classical", "neural"]
    source: Literal["built-in", "bundled", "hub", "onnx"]
    sample_rate: int
    causal: bool
    latency: int
    manifest: Manifest | None = None
    folder: Path | None = None
    repo: str | None = None
    revision: str | None = None
    cached: bool = True

    @property
    def key(self) -> str:
        """Its whole name: "wiener", "gru/hybrid", "gru/hybrid@COMMIT"."""
        name = f"{self.model}/{self.loss}" if self.loss else self.model
        return f"{name}@{self.revision}" if self.revision else name

    @classmethod
    def of_hub(cls, found: hub.HubCheckpoint) -> Entry:
        """The entry of a checkpoint on the Hub, fetched or not."""
        entry = _neural(found.folder, found.manifest, "hub", found.repo, found.revision)
        return replace(entry, cached=found.cached)


@dataclass(frozen=True)
class Row:
    """A denoiser in a line, for people.

    Attributes:
        name: "gru/hybrid" or "wiener", as `named` takes it.
        model, loss, kind, source, sample_rate, causal: As `Entry` has them.
        latency_ms: Milliseconds of look-ahead plus framing.
        parameters: Learnt numbers; 0 for a classical one.
        recommended: Whether it is used when none is named.
    """

    name: str
    model: str
    loss: str | None
    kind: Literal["classical", "neural"]
    source: Literal["built-in", "bundled", "hub", "onnx"]
    sample_rate: int
    causal: bool
    latency_ms: float
    parameters: int
    recommended: bool

    def __str__(self) -> str:
        causal = "causal" if self.causal else "not causal"
        learnt = f"{self.parameters:>12,} parameters" if self.parameters else ""
        facts = f"{self.kind:<10} {causal:<10}  {self.sample_rate / 1000:>4g} kHz {self.latency_ms:>5.0f} ms {learnt}"
        return f"{self.name:<24} {facts}{'  recommended' if self.recommended else ''}".rstrip()


def weights_folder() -> Path:
    """The folder of bundled checkpoints: DENOISE_WEIGHTS, else that of `resources.folder`."""
    named = os.environ.get("DENOISE_WEIGHTS", "").strip()
    return Path(named) if named else resources.folder("weights")


def entries(weights: Path | None = None) -> list[Entry]:
    """Every denoiser at hand, each name and loss once: checkpoints by name, then the classical ones.

    Reads files only, and asks nobody. A bundled checkpoint goes before one of the same name in the Hub's cache, and
    a newly pulled one before an older one; `pulled` has them all. What is broken is left out; `broken` says why.
    """
    found = {(entry.model, entry.loss): entry for entry in [*_by_others()[0], *pulled()[::-1], *_bundled(weights)]}
    return [*sorted(found.values(), key=lambda entry: (entry.model, entry.loss or "")), *_classical()]


def rows() -> list[Row]:
    """`entries`, a line each."""
    best = recommended()
    return [
        Row(
            name=f"{entry.model}/{entry.loss}" if entry.loss else entry.model,
            model=entry.model,
            loss=entry.loss,
            kind=entry.kind,
            source=entry.source,
            sample_rate=entry.sample_rate,
            causal=entry.causal,
            latency_ms=1000 * entry.latency / entry.sample_rate,
            parameters=entry.manifest.parameters if entry.manifest else 0,
            recommended=(entry.model, entry.loss) == best,
        )
        for entry in entries()
    ]


def pulled() -> list[Entry]:
    """Every checkpoint in the Hub's cache, at every commit that was pulled, the newest first."""
    return [Entry.of_hub(item) for item in hub.cached() if item.folder is not None]


def broken(weights: Path | None = None) -> list[CheckpointError]:
    """Why checkpoints in the folder of weights, and files in that of ONNX denoisers, are left out."""
    return [*store.list_folder(weights or weights_folder())[1], *_by_others()[1]]


def onnx_folder() -> Path | None:
    """The operator's folder of ONNX denoisers by others, DENOISE_ONNX; None without one."""
    named = os.environ.get("DENOISE_ONNX", "").strip()
    return Path(named) if named else None


def _by_others() -> tuple[list[Entry], list[CheckpointError]]:
    """The ONNX files in the operator's folder, under their own names; and why others in it are left out."""
    found: list[Entry] = []
    refused: list[CheckpointError] = []
    folder = onnx_folder()
    for path in sorted(folder.glob("*.onnx")) if folder else []:
        try:
            found.append(_neural(path, _described(path, state_of(path)), "onnx"))
        except OSError as error:
            refused.append(onnx.refused(path, error.strerror or str(error)))
        except CheckpointError as error:
            refused.append(error)
    return found, refused


@lru_cache(256)
def _described(path: Path, state: FileState) -> Manifest:
    """Remembered until the file changes."""
    name = path.stem.lower().replace("_", "-")
    if not SLUG.fullmatch(name):
        raise onnx.refused(path, "a name is letters, digits and hyphens, at most 40")
    if name in {*MODELS, *CLASSICAL, *PRESETS}:
        raise onnx.refused(path, f"{name} means something else in this program: give the file another name")
    return onnx.describe(path, name, BY_OTHERS)


def _bundled(weights: Path | None) -> list[Entry]:
    stored, _ = store.list_folder(weights or weights_folder())
    return [_neural(item.folder, item.manifest, "bundled") for item in stored]


def _neural(
    folder: Path | None,
    manifest: Manifest,
    source: Literal["bundled", "hub", "onnx"],
    repo: str | None = None,
    revision: str | None = None,
) -> Entry:
    facts = (manifest.sample_rate, manifest.causal, manifest.latency)
    return Entry(manifest.model, manifest.loss, "neural", source, *facts, manifest, folder, repo, revision)


@cache
def _classical() -> tuple[Entry, ...]:
    made = ((name, make()) for name, make in CLASSICAL.items())
    return tuple(
        Entry(name, None, "classical", "built-in", denoiser.sample_rate, denoiser.causal, denoiser.latency)
        for name, denoiser in made
    )


def find(model: str, loss: str | None = None, revision: str | None = None) -> Entry:
    """The entry of a name, "gru" or "gru/hybrid", or of one in PRESETS; without a loss the best of it.

    The arguments are those of `load`.

    Raises:
        CheckpointError: there is none: no such model, no such loss, a loss for what is not trained, or why a
            checkpoint of this name is left out.
    """
    everything = [entry for entry in pulled() if entry.revision == revision] if revision else entries()
    family, _, own = model.partition("/")
    if own and loss in (None, own):
        model, loss = family, own
    if model in PRESETS and (same := [entry for entry in everything if loss in (None, entry.loss)]):
        return _chosen(PRESETS[model], same)
    same = [entry for entry in everything if entry.model == model]
    fitting = [entry for entry in same if loss in (None, entry.loss)]
    if fitting:
        return max(fitting, key=_quality)
    if any(entry.kind == "classical" for entry in same):
        raise CheckpointError.of("no-loss-taken", model=model, loss=loss)
    for problem in [] if revision else broken():
        if _is_about(problem, model, loss):
            raise problem
    if same or model in PRESETS:
        same = same or everything
        raise CheckpointError.of("no-such-loss", model=model, loss=loss, known=_known(entry.loss for entry in same))
    raise CheckpointError.of("no-such-model", model=model, known=_known(entry.model for entry in everything))


def _is_about(problem: CheckpointError, model: str, loss: str | None) -> bool:
    """Whether what is left out is this checkpoint, or one of this model where no loss is named."""
    folder = str(problem.facts.get("name", ""))  # a model that is not known here is left out without one
    return folder == f"{model}/{loss}" if loss else folder.startswith(f"{model}/")


def _all(entries: list[Entry]) -> list[Entry]:
    """Each of them, however long it takes."""
    return entries


def _quick(entries: list[Entry]) -> list[Entry]:
    """Those that take at most QUICK of real time; what nobody has timed counts as quick."""
    return [entry for entry in entries if _speed(entry) <= QUICK]


def _fast(entries: list[Entry]) -> list[Entry]:
    """Those that take at most FAST_SHARE of the time of the best, whatever machine they were timed on."""
    most = FAST_SHARE * _speed(max(entries, key=_quality))
    return [entry for entry in entries if 0 < _speed(entry) <= most]


def _live(entries: list[Entry]) -> list[Entry]:
    """Causal ones that keep up with a microphone on a slow machine too, and are not late."""
    on_time = [entry for entry in entries if entry.causal and entry.latency <= LIVE_DELAY * entry.sample_rate]
    return _quick(on_time)


Rule = Callable[[list[Entry]], list[Entry]]

PRESETS: dict[str, Rule] = {"best": _all, "fast": _fast, "live": _live}
"""Names that `find` and `load` take for a model: each means the bundled checkpoint with the best scores, PESQ-WB plus a
tenth of the SI-SDR in dB, among those that the rule leaves."""


def _chosen(rule: Rule, entries: list[Entry]) -> Entry:
    """The best of the bundled ones that a rule leaves.

    Where it leaves none the best of all; where nothing is bundled, the best with nothing learnt, or what is pulled.
    """
    bundled = [entry for entry in entries if entry.source == "bundled"]
    others = [entry for entry in entries if entry.model == FALLBACK] or entries
    return max((rule(bundled) if bundled else []) or bundled or others, key=_quality)


def recommended() -> tuple[str, str | None]:
    """The model and loss to use when none is named: the bundled checkpoint with the best scores that is quick.

    Quick means at most a tenth of real time on one core, as it was timed with its scores, so that nobody waits long for
    a file without a GPU either. For streams there is the preset "live", and for results in a moment "fast".
    """
    return _names(_chosen(_quick, entries()))


def presets() -> dict[str, tuple[str, str | None]]:
    """What each name in PRESETS means: a model and a loss."""
    here = entries()
    return {name: _names(_chosen(rule, here)) for name, rule in PRESETS.items()}


def _names(entry: Entry) -> tuple[str, str | None]:
    return entry.model, entry.loss


def named(model: str | None = None, loss: str | None = None) -> tuple[str, str | None]:
    """The model and the loss that somebody names: "gru/hybrid", a model and a loss, one of them, or nothing.

    Raises:
        TypeError: a name that is no text.
        ValueError: two losses.

    >>> named("gru/hybrid"), named("gru", "mse"), named("wiener")
    (('gru', 'hybrid'), ('gru', 'mse'), ('wiener', None))
    """
    for what, name in (("model", model), ("loss", loss)):
        if name is not None and not isinstance(name, str):
            raise TypeError(f"a {what} is named by a text such as 'gru/hybrid', not {type(name).__name__}")
    if model is None:
        best, best_loss = recommended()
        return best, loss or best_loss
    family, _, own = model.partition("/")
    if own and loss and own != loss:
        raise ValueError(f"{model!r} names a loss itself: leave loss={loss!r} out")
    return family, own or loss


def recommended_loss(model: str) -> str | None:
    """The loss whose checkpoint of a model scores best; None for a classical one.

    Raises:
        CheckpointError: there is no such model.
    """
    return find(model).loss


def _speed(entry: Entry) -> float:
    """Seconds of processor time a second of sound, 0 where nobody has measured."""
    return entry.manifest.real_time_factor if entry.manifest else 0.0


def _quality(entry: Entry) -> tuple[float, bool]:
    """Sort key of checkpoints by quality; those without scores come last, `hybrid` first among them."""
    scores = entry.manifest.scores if entry.manifest else {}
    known = "pesq_wb" in scores and "si_sdr" in scores
    return quality(scores) if known else float("-inf"), entry.loss == "hybrid"


def load(model: str, loss: str | None = None, device: str | None = None, revision: str | None = None) -> Denoiser:
    """A denoiser, ready to run; from any thread.

    A checkpoint is read once per device and then shared: it is in evaluation mode and keeps its state outside. A
    classical denoiser is built anew, and runs on the CPU. On the CPU bundled weights beside which their graph lies are
    run by ONNX Runtime: graphs lie where it was measured to be quicker (docs/deploy.md), and give the same samples.

    Args:
        model: A name in `entries`, or in PRESETS.
        loss: Default: `recommended_loss`.
        device: As `device.choose` takes it.
        revision: A commit that was pulled from the Hub, instead of what `entries` lists by this name.

    Raises:
        CheckpointError: no such name, or a checkpoint that is refused.
        AudioError: a device that cannot be used.
    """
    entry = find(model, loss, revision)
    if entry.kind == "classical":
        return CLASSICAL[entry.model]()
    assert entry.folder is not None and entry.manifest is not None
    with _loading:
        if entry.source == "onnx":
            return _read_graph(entry.folder, state_of(entry.folder))
        place = choose(device).torch_device
        graph = entry.folder / GRAPH
        if entry.source == "bundled" and place == "cpu" and graph.is_file():
            denoiser = _read_graph(graph, state_of(graph))
            if denoiser.form.metadata.get("network_sha256") == entry.manifest.network_sha256:  # else it is of another
                return denoiser
        return _read(entry.folder, entry.manifest.network_sha256, place)


def sha256(model: str, loss: str | None = None, revision: str | None = None) -> str | None:
    """The digest of the weights that `load` gives by the same names; None for a classical denoiser."""
    manifest = find(model, loss, revision).manifest
    return manifest.sha256 if manifest else None


def _known(names: Iterable[str | None]) -> str:
    return ", ".join(sorted({name for name in names if name})) or "none"


@lru_cache(MOST_LOADED)
def _read_graph(path: Path, state: FileState) -> onnx.OnnxDenoiser:
    """The denoiser in an ONNX file; one that was replaced is read again."""
    return onnx.load(path)


@lru_cache(MOST_LOADED)
def _read(folder: Path, network_sha256: str, device: str) -> Denoiser:
    """The model in a folder; by the digest, so that weights or a config that were replaced are read again."""
    module, _ = store.load(folder)
    denoiser = module.requires_grad_(False).to(device)
    assert isinstance(denoiser, Denoiser)
    return denoiser
