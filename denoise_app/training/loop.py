"""The training loop: one model, one loss, a budget, and a state on disk that loses minutes at most."""

from __future__ import annotations

import copy
import json
import math
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from denoise_app.checkpoints import store
from denoise_app.checkpoints.manifest import Manifest
from denoise_app.denoiser import Denoiser
from denoise_app.losses import LOSSES, Loss
from denoise_app.models.registry import build

from .config import TrainConfig
from .dataset import Corpus, DataError, load_corpus
from .mixing import Mixer, Sampler, rms
from .rooms import draw_rooms, from_recording
from .validation import Validator

ROOM_SECONDS = 0.4
SIMULATED_ROOMS = 200
LOSS_LEVEL = 10 ** (-25 / 20)  # losses see every example at this RMS, so that loud ones do not outweigh quiet ones
MOST_BAD_STEPS = 50  # in a row; then the run has diverged
STATE = "state.pt"


class TrainingError(RuntimeError):
    """A run cannot start or go on; the message says why and what to do."""


@dataclass(frozen=True)
class Outcome:
    """How a call of `train` ended.

    Attributes:
        folder: The run's folder; holds the best checkpoint.
        steps: Steps made since the run began.
        minutes: Minutes spent since the run began.
        hours_heard: Hours of mixtures seen.
        score: The validation score of the best state, None without validation pairs.
        finished: False when it was interrupted; `resume` goes on.
    """

    folder: Path
    steps: int
    minutes: float
    hours_heard: float
    score: float | None
    finished: bool


class Run:
    """Everything that changes while training, and what is saved of it."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        torch.manual_seed(config.seed)  # the start of every loss of one model is the same
        self.config = config
        self.model = build(config.model, config.model_config).to(device)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.step = 0
        self.seconds = 0.0
        self.best: float | None = None
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
    def hours_heard(self) -> float:
        return self.step * self.config.recipe.batch * self.config.recipe.seconds / 3600

    def learning_rate(self) -> float:
        """Linear warm-up, then a cosine down to the last rate when the budget is spent."""
        config, progress = self.config, self.progress
        if progress < config.warm_up:
            return config.learning_rate * max(progress / config.warm_up, 0.01)
        cosine = 0.5 * (1 + math.cos(math.pi * (progress - config.warm_up) / (1 - config.warm_up)))
        return config.learning_rate * (config.last_learning_rate + (1 - config.last_learning_rate) * cosine)

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
            "best": self.best,
            "curve": self.curve,
        }

    def save(self) -> None:
        """Write the state beside its final name, then rename: a full disk or a crash leaves the last good one."""
        self.config.out.mkdir(parents=True, exist_ok=True)
        path = self.config.out / STATE
        partial = path.with_suffix(".tmp")
        try:
            torch.save(self.state(), partial)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
            partial.unlink(missing_ok=True)
            raise TrainingError(
                f"the state could not be saved to {path}: {error}; the last good one is kept"
            ) from error
        partial.replace(path)

    def load(self) -> None:
        path = self.config.out / STATE
        if not path.exists():
            raise TrainingError(f"nothing to resume: there is no {path}")
        state = torch.load(path, map_location="cpu", weights_only=True)
        for key, ours in (("model_name", self.config.model), ("loss", self.config.loss), ("seed", self.config.seed)):
            if state[key] != ours:
                raise TrainingError(f"{path} belongs to {key} {state[key]}, not {ours}")
        if state["model_config"] != self.config.model_config:
            raise TrainingError(f"{path} was trained with {state['model_config']}, not {self.config.model_config}")
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.best, self.curve = state["best"], state["curve"]

    def update_average(self) -> None:
        """Exponential moving average of the weights, quicker at the start so that it forgets the random ones."""
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for ours, theirs in zip(self.average.state_dict().values(), self.model.state_dict().values(), strict=True):
                if ours.is_floating_point():
                    ours.lerp_(theirs, 1 - decay)
                else:
                    ours.copy_(theirs)


def train(config: TrainConfig, say: Callable[[str], None] = print) -> Outcome:
    """Train until the budget is spent or somebody interrupts; either way the state is saved.

    Args:
        config: What to train, on what, for how long.
        say: Receives a line of text at every report.

    Raises:
        TrainingError: an unknown name, nothing to resume, a diverged run, a full disk.
        DataError: a folder that cannot be used.
    """
    if config.loss not in LOSSES:
        raise TrainingError(f"no loss is called {config.loss!r}; there are {', '.join(LOSSES)}")
    device = torch.device(config.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    try:
        run = Run(config, device)
    except ValueError as error:
        raise TrainingError(str(error)) from error
    if config.resume:
        run.load()
    elif config.init:
        _initialise(run.model, config)
        run.average.load_state_dict(run.model.state_dict())
    mixer, corpora = prepare(config, run.sample_rate, device, say)
    validator = Validator.load(config, run.sample_rate) if config.valid_clean and config.valid_noisy else None
    config.out.mkdir(parents=True, exist_ok=True)
    (config.out / "train.json").write_text(json.dumps(asdict(config), indent=2, default=str) + "\n")
    with SummaryWriter(str(config.out / "tensorboard"), purge_step=run.step) as writer, _interruptible() as stopped:
        _steps(run, mixer, validator, corpora, writer, stopped, say)
    return Outcome(config.out, run.step, run.seconds / 60, run.hours_heard, run.best, run.progress >= 1)


def prepare(
    config: TrainConfig, sample_rate: int, device: torch.device, say: Callable[[str], None]
) -> tuple[Mixer, dict[str, Corpus]]:
    """Decode what is not in the cache yet, and make the bank of rooms."""
    corpora = {
        name: load_corpus(tree, config.cache, sample_rate)
        for name, tree in (("clean", config.clean), ("noise", config.noise), ("rir", config.rir))
        if tree is not None
    }
    for name, corpus in corpora.items():
        say(f"{name}: {len(corpus.names)} files, {corpus.hours:.2f} h")
        for reason in corpus.skipped:
            say(f"  skipped {reason}")
    length = round(ROOM_SECONDS * sample_rate)
    rooms = draw_rooms(np.random.default_rng(config.seed), SIMULATED_ROOMS, sample_rate, ROOM_SECONDS)
    if "rir" in corpora:
        rir = corpora["rir"]
        measured = [from_recording(rir.cut(k, 0, int(rir.lengths[k])), length) for k in range(len(rir.names))]
        rooms = np.concatenate([rooms, np.stack(measured)])
    speech = Sampler(corpora["clean"], config.recipe.weights)
    return Mixer(config.recipe, speech, Sampler(corpora["noise"]), rooms, device), corpora


def loss_parts(loss: Loss, model: nn.Module, noisy: Tensor, clean: Tensor) -> dict[str, Tensor]:
    """The loss of a batch at a common level (the loss normalisation of Braun and Tashev 2020)."""
    gain = LOSS_LEVEL / rms(noisy).clamp(min=1e-7)[:, None]
    return loss.function(model(noisy) * gain, clean * gain, noisy * gain)


def _steps(
    run: Run,
    mixer: Mixer,
    validator: Validator | None,
    corpora: dict[str, Corpus],
    writer: SummaryWriter,
    stopped: threading.Event,
    say: Callable[[str], None],
) -> None:
    loss, config = LOSSES[run.config.loss], run.config
    run.model.train()
    bad = 0
    last_check = run.seconds
    heard: list[float] = []
    clock = time.monotonic()
    while run.progress < 1 and not stopped.is_set():
        value = _step(run, mixer, loss, writer)
        bad = bad + 1 if value is None else 0
        if bad >= MOST_BAD_STEPS:
            raise TrainingError(f"the loss was not finite {bad} times in a row; the last good state is in {config.out}")
        heard += [] if value is None else [value]
        now = time.monotonic()
        run.seconds, clock = run.seconds + now - clock, now
        if run.seconds - last_check >= config.validate_minutes * 60 or run.progress >= 1:
            _check(run, validator, corpora, writer, sum(heard) / max(len(heard), 1), say)
            heard, last_check, clock = [], run.seconds, time.monotonic()  # validation costs no training time
    run.save()


def _step(run: Run, mixer: Mixer, loss: Loss, writer: SummaryWriter) -> float | None:
    """One step; its loss, or None when it was not finite and the weights were left alone."""
    noisy, clean = mixer.batch(run.config.seed, run.step)
    for group in run.optimizer.param_groups:
        group["lr"] = run.learning_rate()
    parts = loss_parts(loss, run.model, noisy, clean)
    total = torch.stack(list(parts.values())).sum()
    run.optimizer.zero_grad(set_to_none=True)
    total.backward()
    norm = nn.utils.clip_grad_norm_(run.model.parameters(), run.config.clip_norm)
    run.step += 1
    if not bool(torch.isfinite(total) & torch.isfinite(norm)):
        return None
    run.optimizer.step()
    run.update_average()
    if run.step % 50 == 0:
        for name, part in parts.items():
            writer.add_scalar(f"loss/{name}", part.item(), run.step)
        writer.add_scalar("loss/total", total.item(), run.step)
        writer.add_scalar("learning rate", run.learning_rate(), run.step)
        writer.add_scalar("gradient norm", norm.item(), run.step)
    return total.item()


def _check(
    run: Run,
    validator: Validator | None,
    corpora: dict[str, Corpus],
    writer: SummaryWriter,
    loss: float,
    say: Callable[[str], None],
) -> None:
    """Validate the averaged weights, keep them where they are the best so far, save the state, report."""
    run.average.eval()
    scores = validator.score(run.average) if validator else {}
    for name, value in scores.items():
        writer.add_scalar(f"validation/{name}", value, run.step)
    run.curve.append({"step": run.step, "minutes": round(run.seconds / 60, 2), "loss": loss, **scores})
    score = validator.rank(scores) if validator else None
    if score is None or run.best is None or score > run.best:
        run.best = score
        store.save(run.config.out, run.average, _manifest(run, corpora))
    run.save()
    left = run.seconds / max(run.progress, 1e-6) * (1 - run.progress) / 60
    text = "  ".join(f"{name} {value:.3f}" for name, value in scores.items())
    say(f"step {run.step}  {run.progress:.0%}  loss {loss:.4f}  {text}  {left:.0f} min left")


def _manifest(run: Run, corpora: dict[str, Corpus]) -> Manifest:
    """What the checkpoint says of how it came about."""
    config = run.config
    data = {name: {"files": len(corpus.names), "hours": round(corpus.hours, 3)} for name, corpus in corpora.items()}
    return Manifest(
        model=config.model,
        loss=config.loss,
        config=config.model_config,
        favours=LOSSES[config.loss].favours,
        training={
            "data": data,
            "hours_seen": round(run.hours_heard, 3),
            "steps": run.step,
            "minutes": round(run.seconds / 60, 2),
            "seed": config.seed,
            "init": "/".join(config.init.parts[-2:]) if config.init else None,
            "recipe": asdict(config.recipe),
            "commit": _commit(),
            "curve": run.curve,
        },
    )


def _commit() -> str:
    """The commit of the code that trains, or "unknown" where it does not run from a repository."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _initialise(model: nn.Module, config: TrainConfig) -> None:
    assert config.init is not None
    source, manifest = store.load(config.init)
    if manifest.model != config.model:
        raise TrainingError(f"{config.init} holds a {manifest.model}, not a {config.model}")
    try:
        model.load_state_dict(source.state_dict())
    except RuntimeError as error:
        raise TrainingError(f"the weights in {config.init} do not fit this {config.model}: {error}") from error


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets, so that the step in flight ends and the state is saved."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda *_: stopped.set())
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


__all__ = ["DataError", "Outcome", "TrainingError", "train"]
