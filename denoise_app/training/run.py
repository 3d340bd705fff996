"""One run: the state that changes while it trains, and how it is saved."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from denoise_app.checkpoints import store
from denoise_app.checkpoints.manifest import CheckpointError
from denoise_app.denoiser import Denoiser
from denoise_app.models.registry import build

from .config import TrainConfig, TrainingError
from .dataset import Corpus
from .distributed import Ranks
from .optimizer import Optimizer
from .start import initialise

STATE = "state.pt"


@dataclass(frozen=True)
class Outcome:
    """How far a run has come.

    Attributes:
        folder: The run's folder; holds the best checkpoint.
        steps: Steps made since the run began.
        minutes: Minutes spent since the run began.
        hours_seen: Hours of noisy speech trained on, those of the checkpoint that the run starts from included.
        score: The validation score of the best state, None without validation pairs.
        finished: False when it was interrupted; `resume` goes on.
    """

    folder: Path
    steps: int
    minutes: float
    hours_seen: float
    score: float | None
    finished: bool


class Run:
    """Weights, their average, the optimizer, and how much of the budget is spent.

    Args:
        config: What is trained.
        ranks: The processes that share its batches.

    Raises:
        ValueError: an unknown model, or a setting that it does not take.
    """

    def __init__(self, config: TrainConfig, ranks: Ranks) -> None:
        torch.manual_seed(config.seed)  # the start of every loss of one model is the same
        self.config, self.ranks = config, ranks
        self.model = build(config.model, config.model_config).to(ranks.device)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.optimizer = Optimizer(self.model, config.weight_decay)
        self.step = 0
        self.seconds = 0.0
        self.hours_seen = 0.0
        self.best: float | None = None
        self.data: dict[str, Any] | None = None
        self.init = "/".join(config.init.parts[-2:]) if config.init else None
        self.curve: list[dict[str, float]] = []

    @property
    def sample_rate(self) -> int:
        assert isinstance(self.model, Denoiser)
        return self.model.sample_rate

    @property
    def progress(self) -> float:
        """Share of the budget that is spent, 0 to 1."""
        if self.config.minutes is not None:
            return min(1.0, self.seconds / 60 / self.config.minutes)
        return min(1.0, self.step / self.config.steps)

    @property
    def outcome(self) -> Outcome:
        done = self.progress >= 1
        return Outcome(self.config.out, self.step, self.seconds / 60, self.hours_seen, self.best, done)

    def learning_rate(self) -> float:
        """Linear warm-up, then a cosine down to the last rate when the budget is spent."""
        config, progress = self.config, self.progress
        if progress < config.warm_up:
            return config.learning_rate * max(progress / config.warm_up, 0.01)
        cosine = 0.5 * (1 + math.cos(math.pi * (progress - config.warm_up) / (1 - config.warm_up)))
        return config.learning_rate * (config.last_learning_rate + (1 - config.last_learning_rate) * cosine)

    def start_from(self, init: Path) -> None:
        """Begin with the weights of a checkpoint."""
        self.hours_seen = initialise(self.model, init)
        self.average.load_state_dict(self.model.state_dict())

    def record_data(self, corpora: Mapping[str, Corpus]) -> None:
        """Record the data in use, which the state keeps."""
        self.data = self._described(corpora)

    def data_changed(self, corpora: Mapping[str, Corpus]) -> bool:
        """Whether the recipe or the recordings differ from those recorded; False where none are recorded yet."""
        return self.data not in (None, self._described(corpora))

    def _described(self, corpora: Mapping[str, Corpus]) -> dict[str, Any]:
        recipe = asdict(replace(self.config.recipe, batch=1))  # a batch is one process's, and their number may change
        sound = {name: [len(corpus.names), int(corpus.lengths.sum())] for name, corpus in corpora.items()}
        return {"recipe": recipe, "sound": sound}

    def update(self, norm: Tensor) -> bool:
        """Take the step that the gradients ask for; False where their norm is not finite and the weights are kept."""
        rate = self.learning_rate()
        self.step += 1
        self.hours_seen += self.ranks.size * self.config.recipe.batch * self.config.recipe.seconds / 3600
        if not bool(torch.isfinite(norm)):
            return False
        self.optimizer.step(rate)
        self._update_average()
        return True

    def _update_average(self) -> None:
        """Exponential moving average of the weights, quicker at the start so that it forgets the random ones."""
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for ours, theirs in zip(self.average.state_dict().values(), self.model.state_dict().values(), strict=True):
                if ours.is_floating_point():
                    ours.lerp_(theirs, 1 - decay)
                else:
                    ours.copy_(theirs)

    def state(self) -> dict[str, Any]:
        return {
            "model_name": self.config.model,
            "loss": self.config.loss,
            "model_config": self.config.model_config,
            "seed": self.config.seed,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "hours_heard": self.hours_seen,
            "best": self.best,
            "sound": self.data,
            "init": self.init,
            "curve": self.curve,
        }

    def save(self) -> None:
        """Write the state beside its final name, then rename: a full disk or a crash leaves the last good one."""
        path = self.config.out / STATE
        partial = path.with_suffix(".tmp")
        try:
            self.config.out.mkdir(parents=True, exist_ok=True)
            torch.save(self.state(), partial)
            partial.replace(path)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
            partial.unlink(missing_ok=True)
            raise TrainingError(
                f"the state could not be saved to {path}: {error}; the last good one is kept"
            ) from error

    def load(self) -> None:
        """Go on from the state in the run's folder, in every process from the first one's.

        Raises:
            TrainingError: there is none, it cannot be read, or it is another run's or another version's.
        """
        path = self.config.out / STATE
        state = self.ranks.share(lambda: _read(path))
        for key, ours in (("model_name", self.config.model), ("loss", self.config.loss), ("seed", self.config.seed)):
            if state.get(key) != ours:
                raise TrainingError(f"{path} belongs to {key} {state.get(key)}, not {ours}")
        if state.get("model_config") != self.config.model_config:
            raise TrainingError(f"{path} was trained with {state.get('model_config')}, not {self.config.model_config}")
        try:
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.seconds, self.hours_seen = state["step"], state["seconds"], state["hours_heard"]
            self.best, self.curve = state["best"], state["curve"]
            self.data, self.init = state["sound"], state["init"]
        except (KeyError, RuntimeError, ValueError) as error:
            raise TrainingError(f"{path} was saved by another version: {error}; start anew without resume") from error
        if self.best is not None and not _is_whole(self.config.out):
            self.best = None  # what was cut off while it was written is written again


def _is_whole(folder: Path) -> bool:
    """Whether a checkpoint can be loaded."""
    try:
        store.load(folder)
    except CheckpointError:
        return False
    return True


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise TrainingError(f"nothing to resume: there is no {path}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise TrainingError(f"{path} cannot be read: {error}") from error


def standing(config: TrainConfig) -> Outcome | None:
    """How far the run in `config.out` has come; None where none has begun.

    Raises:
        TrainingError: what is saved there is not of this run.
    """
    if not (config.out / STATE).exists():
        return None
    run = Run(config, Ranks())
    run.load()
    return run.outcome
