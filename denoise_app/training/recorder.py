"""Records of a run: scores, the log, the best checkpoint, the state, and status lines."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from torch import Tensor

from denoise_app.checkpoints import store
from denoise_app.checkpoints.manifest import Manifest
from denoise_app.losses import LOSSES

from .dataset import Corpus
from .run import Run
from .validation import Validator

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LOG_STEPS = 50
REPORT_SECONDS = 30.0
CURVE_POINTS = 50  # of the loss over the budget, for the checkpoint's card
MOST_POINTS = 200  # in the checkpoint's card: a manifest has a largest size, a run may be validated any number of times


class Recorder:
    """Writes the records of a run; where several processes train together only the first has one.

    Args:
        run: What is trained.
        corpora: Its data by name, for the checkpoint's manifest.
        validator: None where there is nothing to validate on.
        say: Receives a line of text at every report.
    """

    def __init__(
        self, run: Run, corpora: dict[str, Corpus], validator: Validator | None, say: Callable[[str], None]
    ) -> None:
        self.run, self.corpora, self.validator, self.say = run, corpora, validator, say
        self.losses: list[float] = []  # losses since the last check
        self.recent: list[float] = []  # losses since the last point of the curve
        self.drawn = run.progress
        self.reported = run.seconds
        out = run.config.out
        out.mkdir(parents=True, exist_ok=True)
        (out / "train.json").write_text(json.dumps(asdict(run.config), indent=2, default=str) + "\n")
        self.log = self._open_log()

    def _open_log(self) -> SummaryWriter | None:
        """TensorBoard's log; None, and a word, where the package `tensorboard` is not installed."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.say("no TensorBoard log is written: the package tensorboard is not installed")
            return None
        return SummaryWriter(str(self.run.config.out / "tensorboard"), purge_step=self.run.step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # a full disk has been reported, or is by `error`
            if self.log:
                self.log.close()

    def note(self, total: Tensor, parts: dict[str, Tensor], norm: Tensor) -> None:
        """One step, of which the loss, its parts and the length of the gradient are known."""
        run = self.run
        self.losses.append(total.item())
        self.recent.append(total.item())
        if run.progress - self.drawn >= 1 / CURVE_POINTS:
            self._draw({})
        if run.step % LOG_STEPS == 0:
            self._plot({f"loss/{name}": part.item() for name, part in parts.items()})
            self._plot({"loss/total": total.item(), "learning rate": run.learning_rate(), "gradient norm": norm.item()})
        if run.seconds - self.reported >= REPORT_SECONDS:
            self._report({})

    def begin(self) -> None:
        """Score the checkpoint that the run starts from. It is not kept: it may have been trained with another loss."""
        if self.validator:
            self.say("  ".join(["the start", *_texts(self._validated())]))

    def check(self) -> None:
        """Validate the averaged weights, keep them where they are the best so far, save the state, report."""
        run = self.run
        scores = self._validated()
        score = self.validator.rank(scores) if self.validator else None
        if score is None or run.best is None or score > run.best:
            run.best = score
            store.save(run.config.out, run.average, _manifest(run, self.corpora))
        run.save()
        self._report(scores)
        self.losses = []

    def _validated(self) -> dict[str, float]:
        """Scores of the averaged weights, on the curve and in the log."""
        scores = self.validator.score(self.run.average.eval()) if self.validator else {}
        self._plot({f"validation/{name}": value for name, value in scores.items()})
        self._draw(scores)
        return scores

    def _plot(self, values: dict[str, float]) -> None:
        """Into TensorBoard's log, until it cannot be written: the training is worth more."""
        if self.log is None:
            return
        try:
            for name, value in values.items():
                self.log.add_scalar(name, value, self.run.step)
        except OSError as error:
            self.log = None
            self.say(f"TensorBoard's log ends here: {error.strerror or error}")

    def _draw(self, scores: dict[str, float]) -> None:
        """A point of the curve: the mean loss since the last one, and the scores where they were taken."""
        run = self.run
        point = {"step": run.step, "minutes": round(run.seconds / 60, 2), **scores}
        if self.recent:
            point["loss"] = round(sum(self.recent) / len(self.recent), 5)
        if run.curve and run.curve[-1]["step"] == run.step:
            point = run.curve.pop() | point
        run.curve.append(point)
        self.recent, self.drawn = [], run.progress

    def _loss(self) -> float:
        return sum(self.losses) / max(len(self.losses), 1)

    def _report(self, scores: dict[str, float]) -> None:
        run = self.run
        self.reported = run.seconds
        left = run.seconds / max(run.progress, 1e-6) * (1 - run.progress)
        said = [f"step {run.step}", f"{run.progress:.0%}", f"loss {self._loss():.4f}"]
        self.say("  ".join([*said, *_texts(scores), f"{duration(left)} left"]))


def _texts(scores: dict[str, float]) -> list[str]:
    return [f"{name} {value:.3f}" for name, value in scores.items()]


def duration(seconds: float) -> str:
    """A time for people.

    >>> duration(42.4), duration(90), duration(3 * 3600 + 65)
    ('42 s', '2 min', '3 h 01 min')
    """
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _manifest(run: Run, corpora: dict[str, Corpus]) -> Manifest:
    """The manifest of the checkpoint: model, loss, data, recipe, curve."""
    config = run.config
    data = {name: {"files": len(corpus.names), "hours": round(corpus.hours, 3)} for name, corpus in corpora.items()}
    return Manifest(
        model=config.model,
        loss=config.loss,
        config=config.model_config,
        favours=LOSSES[config.loss].favours,
        training={
            "data": data,
            "hours_seen": round(run.hours_seen, 3),
            "steps": run.step,
            "minutes": round(run.seconds / 60, 2),
            "seed": config.seed,
            "init": run.init,
            **({"teacher": _name(config.teacher), "teacher_share": config.teacher_share} if config.teacher else {}),
            "recipe": asdict(config.recipe),
            "commit": _commit(),
            "curve": _thinned(run.curve),
        },
    )


def _name(checkpoint: Path) -> str:
    """<model>/<loss> of a checkpoint's folder, wherever it lies."""
    return "/".join(checkpoint.parts[-2:])


def _thinned(curve: list[dict[str, float]]) -> list[dict[str, float]]:
    """The curve where it is short, else points evenly spread over it, the last one among them.

    >>> [point["step"] for point in _thinned([{"step": step} for step in range(1000)])[-3:]]
    [989, 994, 999]
    """
    step = -(-len(curve) // MOST_POINTS) or 1
    return curve[::-1][::step][::-1]


def _commit() -> str:
    """The commit of the code that trains, or "unknown" where it does not run from a repository."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
