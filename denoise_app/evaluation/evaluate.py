"""Scores of denoisers on pairs of clean and noisy files, through the engine that the product uses: the leaderboard."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from denoise_app.audio.clip import Clip, Samples
from denoise_app.audio.convert import resample
from denoise_app.audio.files import probe
from denoise_app.checkpoints import store
from denoise_app.classical import CLASSICAL
from denoise_app.inference import catalog, engine
from denoise_app.metrics import attenuation
from denoise_app.metrics.errors import MetricUnavailable
from denoise_app.metrics.report import score
from denoise_app.metrics.table import keys

from . import leaderboard
from .code import code_sha256
from .conditions import CONDITIONS, treated
from .leaderboard import NOISY, Board, Row
from .pairs import GROUPS, EvaluationError, Pair, PairFiles, fingerprint, mono, spread

CONDITION_PAIRS = 26  # evenly spread: a fifth of the development set
TIMED_PAIRS, TIMED_ROUNDS = 13, 3  # evenly spread; other work only adds to a time, so the quickest round counts
RESAMPLES = 2000  # of the bootstrap; the interval's ends then move by a few hundredths of its width between seeds

Scores = dict[str, float | None]


@dataclass(frozen=True)
class Candidate:
    """What is scored: a model and its training loss, or the noisy input as it is."""

    model: str
    loss: str | None = None

    def __str__(self) -> str:
        return f"{self.model} ({self.loss})" if self.loss else self.model


@dataclass(frozen=True)
class Interval:
    """A mean over pairs and the ends of its 95 % interval by the percentile bootstrap (Efron 1979)."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class PairScore:
    """One pair's scores after one candidate; None where there is no number, as PESQ without speech.

    Attributes:
        seconds: Length of the recording.
        computing: Seconds of processor time that the engine took, 0 for the noisy row.
        speech_attenuated: dB that the speech lost; None where there is none.
    """

    pair: PairFiles
    scores: Scores
    seconds: float
    computing: float
    speech_attenuated: float | None = None


@cache
def _ready(candidate: Candidate) -> Any:
    """The denoiser, loaded once per process and run once, so that no pair pays for what is set up on first use."""
    denoiser = catalog.load(candidate.model, candidate.loss, "cpu")  # which the real-time factor is of
    engine.denoise(Clip(np.zeros((1, denoiser.sample_rate), np.float32), denoiser.sample_rate), denoiser)
    return denoiser


def score_pair(
    files: PairFiles, candidate: Candidate, condition: str | None = None, wanted: Sequence[str] | None = None
) -> PairScore:
    """Denoise one pair's noisy file, channels averaged, and compare it with the clean one.

    Args:
        condition: One of `CONDITIONS`, applied to both sides first.
        wanted: The metrics; without them all of "evaluate", and under a condition those of the summary, since DNSMOS
            takes longer than all the rest.

    Raises:
        AudioError: a file cannot be read.
        EvaluationError: the two files differ in length or rate.
    """
    pair = files.load()
    scored = pair.noisy.size
    if condition is not None:
        pair = Pair(*treated(condition, files.name, pair.noisy, pair.clean, pair.sample_rate), pair.sample_rate)
    noisy = Clip(pair.noisy[None], pair.sample_rate)
    processed, computing = (noisy, 0.0) if candidate.model == NOISY else _denoised(noisy, candidate)
    if wanted is None:
        wanted = keys("evaluate" if condition is None else "summary")
    sides = (pair.noisy, processed.samples[0], pair.clean)
    before, after, target = (side[side.size - scored :] for side in sides)  # a condition may put sound before it
    values = score(after, pair.sample_rate, target, wanted)
    lost = _speech_attenuated(before, after, target, pair.sample_rate)
    return PairScore(files, {key: _number(value) for key, value in values.items()}, noisy.seconds, computing, lost)


def _speech_attenuated(noisy: Samples, processed: Samples, clean: Samples, sample_rate: int) -> float | None:
    """dB that the speech lost, as the page tells it where a clean recording is given."""
    sides = np.stack([noisy, processed, clean])
    return attenuation.shadow_attenuation(*resample(sides, sample_rate, attenuation.STFT.sample_rate)).speech_db


def _denoised(noisy: Clip, candidate: Candidate) -> tuple[Clip, float]:
    """A result, and the seconds of processor time that the engine took."""
    denoiser = _ready(candidate)
    started = time.process_time()
    processed = engine.denoise(noisy, denoiser)
    return processed, time.process_time() - started


def _number(value: float | MetricUnavailable) -> float | None:
    return value if isinstance(value, float) and math.isfinite(value) else None


Task = tuple[PairFiles, Candidate, str | None, Sequence[str] | None]
"""The arguments of `score_pair`."""
View = tuple[str | None, Sequence[str] | None]
"""Of them the condition and the metrics."""
UNTREATED: View = None, None
SPEECH_ATTENUATED: View = None, ()  # alone: it costs a twentieth of all metrics, and rows of earlier versions lack it


def _scored(task: Task) -> PairScore:
    return score_pair(*task)


def score_all(tasks: Sequence[Task], jobs: int) -> Iterator[PairScore]:
    """Scores in the order of the tasks, by `jobs` processes; each has the thread count of its environment."""
    if jobs <= 1:
        yield from map(_scored, tasks)
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            yield from pool.map(_scored, tasks)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def interval(values: npt.ArrayLike, seed: int = 0) -> Interval:
    """Mean and 95 % percentile bootstrap interval of values (n,), n at least 1.

    >>> interval([2.0, 2.0, 2.0])
    Interval(mean=2.0, low=2.0, high=2.0)
    """
    sample = np.asarray(values, dtype=np.float64)
    picks = np.random.default_rng(seed).integers(sample.size, size=(RESAMPLES, sample.size))
    low, high = np.percentile(sample[picks].mean(axis=1), [2.5, 97.5])
    return Interval(float(sample.mean()), float(low), float(high))


def _known(results: Iterable[PairScore], key: str) -> list[float]:
    return [value for result in results if (value := result.scores[key]) is not None]


def summarise(results: Sequence[PairScore]) -> dict[str, Any]:
    """One candidate's scores as they stand in the leaderboard, over all pairs and over each group of them.

    The real-time factor is processor seconds of the engine per second of audio; it counts every thread.
    """
    seconds = sum(result.seconds for result in results)
    by: dict[str, dict[str, leaderboard.Part]] = {}
    for group in GROUPS:
        members: dict[str, list[PairScore]] = {}
        for result in results:
            if group in result.pair.groups:
                members.setdefault(result.pair.groups[group], []).append(result)
        if members:
            by[group] = {name: _part(members[name]) for name in sorted(members, key=_by_number)}
    return {
        **_part(results),
        "rtf": round(sum(result.computing for result in results) / seconds, 5),
        "by": by,
    }


def _part(results: Sequence[PairScore]) -> dict[str, Any]:
    """How many pairs, and the interval of every metric over those of them where it is a number."""
    found = {key: interval(values) for key in results[0].scores if (values := _known(results, key))}
    scores = {key: {name: round(end, 4) for name, end in asdict(ends).items()} for key, ends in found.items()}
    return {"pairs": len(results), "scores": scores} | _attenuated(results)


def _attenuated(results: Sequence[PairScore]) -> dict[str, dict[str, float]]:
    """What the speech lost in dB: the median over the recordings, and what one in twenty of them exceeds."""
    lost = [result.speech_attenuated for result in results if result.speech_attenuated is not None]
    if not lost:
        return {}
    median, worst = (round(float(np.percentile(lost, share)), 2) for share in (50, 95))
    return {"speech_attenuated": {"median": median, "worst": worst}}


def _by_number(name: str) -> tuple[float, str]:
    try:
        return float(name), name
    except ValueError:
        return float("inf"), name


def candidates(model: str | None = None, loss: str | None = None) -> list[Candidate]:
    """The noisy row, then the denoiser that is named (by its best loss when none is), else all that are bundled."""
    if model is not None:
        named = Candidate(model, loss or catalog.recommended_loss(model))
        describe(named)  # fails now where there is no such denoiser, not when the noisy row is done
        return [Candidate(NOISY), named]
    bundled = (entry for entry in catalog.entries() if entry.source != "hub")
    return [Candidate(NOISY), *(Candidate(entry.model, entry.loss) for entry in bundled)]


def describe(candidate: Candidate) -> dict[str, Any]:
    """The columns of the leaderboard that are no scores.

    `sha256`, of the weights or, where there are none, of the code, identifies the version that was scored.
    """
    facts: dict[str, Any] = {"model": candidate.model, "loss": candidate.loss}
    if candidate.model == NOISY:
        return facts
    wanted = candidate.model, candidate.loss
    entry = next((entry for entry in catalog.entries() if (entry.model, entry.loss) == wanted), None)
    if entry is None:
        raise EvaluationError(f"there is no {candidate}: `python -m denoise_app models` lists what there is")
    return facts | {
        "kind": entry.kind,
        "causal": entry.causal,
        "latency_ms": round(1000 * entry.latency / entry.sample_rate, 2),
        "sample_rate": entry.sample_rate,
        "parameters": entry.manifest.parameters if entry.manifest else 0,
        "sha256": entry.manifest.sha256 if entry.manifest else code_sha256(CLASSICAL[entry.model].__module__),
    }


def _identity(row: Row) -> tuple[Any, ...]:
    return row["model"], row["loss"], row.get("sha256")


def _started(out: Path | None, pairs: Sequence[PairFiles], about: str | None) -> Board:
    """The leaderboard so far, without rows of denoisers that are gone; an empty one where there is none."""
    minutes = sum(probe(pair.noisy).seconds for pair in pairs) / 60
    data = {
        "about": about or f"{len(pairs)} pairs, {minutes:.1f} minutes",
        "pairs": len(pairs),
        "minutes": round(minutes, 2),
        "sha256": fingerprint(pairs),
    }
    if out is None or not out.exists():
        return {"format_version": leaderboard.FORMAT_VERSION, "data": data, "rows": []}
    board = leaderboard.read(out)
    if board["data"]["sha256"] != data["sha256"]:
        raise EvaluationError(f"{out} holds scores on other pairs: remove it, or name another file")
    here = {(NOISY, None), *((entry.model, entry.loss) for entry in catalog.entries())}
    rows = [row for row in board["rows"] if (row["model"], row["loss"]) in here]
    return board | {"rows": rows, "data": data if about else board["data"]}


def evaluate(
    pairs: Sequence[PairFiles],
    wanted: Sequence[Candidate],
    *,
    out: Path | None = None,
    about: str | None = None,
    resume: bool = False,
    jobs: int = 1,
    progress: Callable[[Candidate, str | None, int, int], None] | None = None,
) -> Board:
    """Score candidates on pairs and put their rows into a leaderboard.

    Args:
        pairs, wanted: What is scored on what.
        out: The leaderboard's file. Rows of other candidates stay in it; each new row is written when it is done, and
            again with each of its conditions, which are scored on CONDITION_PAIRS pairs.
        about: One line on the recordings, for people.
        resume: Keep the scores in `out` of these very weights, or of this very code, and add those that are missing.
        jobs: Processes that score side by side.
        progress: Called with the candidate, the condition or None, its pairs done, and its pairs in all.

    Raises:
        EvaluationError, LeaderboardError: `out` holds scores on other pairs, or is something else.
        AudioError, CheckpointError: a file or a checkpoint cannot be read.
    """
    board = _started(out, pairs, about)
    if out is not None and out.exists():  # what is gone leaves the file too where nothing is left to score
        leaderboard.write(out, board)
    facts = {candidate: describe(candidate) for candidate in wanted}
    rows = {_identity(row): row for row in board["rows"]} if resume else {}
    some = spread(pairs, CONDITION_PAIRS)
    runs = [
        (candidate, view, pairs if view[0] is None else some)
        for candidate in wanted
        for view in _missing(rows.get(_identity(facts[candidate])), len(some))
    ]
    results = score_all([(pair, candidate, *view) for candidate, view, own in runs for pair in own], jobs)
    for candidate, view, own in runs:
        condition, _ = view
        scored: list[PairScore] = []
        for result in itertools.islice(results, len(own)):
            scored.append(result)
            if progress:
                progress(candidate, condition, len(scored), len(own))
        if view == UNTREATED:
            row = facts[candidate] | summarise(scored)
        elif view == SPEECH_ATTENUATED:
            row = rows[_identity(facts[candidate])] | _attenuated(scored)
        else:
            assert condition is not None
            row = _with_condition(rows[_identity(facts[candidate])], condition, scored)
        rows[_identity(row)] = row
        board = board | {"rows": leaderboard.placed(board["rows"], row)}
        if out is not None:
            leaderboard.write(out, board)
    return board


def _missing(row: Row | None, pairs: int) -> list[View]:
    """What is still to be scored of a candidate: everything untreated, or what the speech lost there; conditions."""
    if row is None:
        return [UNTREATED, *((condition, None) for condition in CONDITIONS)]
    known = row.get("conditions", {})
    conditions = [condition for condition in CONDITIONS if known.get(condition, {}).get("pairs") != pairs]
    lost = [] if "speech_attenuated" in row else [SPEECH_ATTENUATED]
    return [*lost, *((condition, None) for condition in conditions)]


def _with_condition(row: Row, condition: str, scored: Sequence[PairScore]) -> Row:
    known = row.get("conditions", {}) | {condition: _part(scored)}
    return row | {"conditions": {name: known[name] for name in CONDITIONS if name in known}}


def timed(
    board: Board, pairs: Sequence[PairFiles], progress: Callable[[Candidate, int, int], None] | None = None
) -> Board:
    """The board with the real-time factor of every denoiser taken anew, one after another on this machine.

    Times of several days, machines, or numbers of jobs cannot be compared.

    Args:
        board: Its rows are of denoisers that are at hand.
        pairs: TIMED_PAIRS of them are denoised, in TIMED_ROUNDS over all rows.
        progress: Called with the candidate, the timings done, and all of them.
    """
    clips = [mono(pair.noisy) for pair in spread(pairs, TIMED_PAIRS)]
    seconds = sum(clip.seconds for clip in clips)
    quickest: dict[tuple[Any, ...], float] = {}
    timings = [row for row in board["rows"] if row["model"] != NOISY] * TIMED_ROUNDS
    for done, row in enumerate(timings, 1):
        candidate = Candidate(row["model"], row["loss"])
        factor = sum(_denoised(clip, candidate)[1] for clip in clips) / seconds
        quickest[_identity(row)] = min(factor, quickest.get(_identity(row), math.inf))
        if progress:
            progress(candidate, done, len(timings))
    rows = (
        row | {"rtf": round(quickest[_identity(row)], 5)} if _identity(row) in quickest else row
        for row in board["rows"]
    )
    return board | {"rows": list(rows)}


def annotate(board: Board) -> list[Path]:
    """Write the scores of a leaderboard into config.json and card of the bundled checkpoints that have a row in it.

    Returns:
        The folders of those checkpoints; one whose weights have changed since it was scored is not among them.
    """
    noisy = next((leaderboard.means(row["scores"]) for row in board["rows"] if row["model"] == NOISY), {})
    rows = {_identity(row): row for row in board["rows"]}
    folders = []
    for entry in catalog.entries():
        if entry.source != "bundled" or entry.manifest is None or entry.folder is None:
            continue
        row = rows.get((entry.model, entry.loss, entry.manifest.sha256))
        if row is not None:
            scores = leaderboard.means(row["scores"])
            about = board["data"]["about"]
            store.annotate(
                entry.folder, scores=scores, noisy_scores=noisy, scored_on=about, real_time_factor=row["rtf"]
            )
            folders.append(entry.folder)
    return folders
