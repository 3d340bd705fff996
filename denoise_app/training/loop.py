"""The training loop: one model, one loss, a budget, and a state on disk that loses minutes at most."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from denoise_app.losses import LATE, LOSSES, Loss, Parts

from .config import TrainConfig, TrainingError
from .dataset import Corpus, DataError, load_corpus
from .distributed import joined
from .mixing import Mixer, Sampler, rms
from .recorder import Recorder
from .rooms import draw_rooms, from_recording
from .run import Outcome, Run
from .start import check, sized
from .teacher import Teacher, shared
from .validation import Validator

ROOM_SECONDS = 0.4
SIMULATED_ROOMS = 200
MOST_REPEATS = 4  # of recorded rooms, which are drawn as often as simulated ones where there are enough of them
LOSS_LEVEL = 10 ** (-25 / 20)  # losses see every example at this RMS, so that loud ones do not outweigh quiet ones
MOST_BAD_STEPS = 50  # in a row; then the run has diverged


def train(config: TrainConfig, say: Callable[[str], None] = print) -> Outcome:
    """Train until the budget is spent or somebody interrupts; either way the state is saved.

    Started by torchrun, every process trains on its own share of each batch, and the first one reports.

    Args:
        config: What to train, on what, for how long.
        say: Receives a line of text at every report.

    Raises:
        TrainingError: an unknown name, nothing to resume, a diverged run, a full disk.
        DataError: a folder that cannot be used.
        CheckpointError: the start is broken, or the best state cannot be written.
    """
    config = sized(config)
    check(config)
    with joined(config.device) as ranks:
        tell = say if ranks.leads else _silent
        run = Run(config, ranks)
        if config.resume:
            run.load()
        elif config.init:
            run.start_from(config.init)
        with ranks.in_turn():
            corpora = load_corpora(config, run.sample_rate, tell)
        if run.data_changed(corpora):
            tell("the recipe or the sound has changed since this run began: it goes on with what there is now")
        run.record_data(corpora)
        mixer = make_mixer(config, corpora, ranks.device)
        teacher = Teacher(config.teacher, run.sample_rate, ranks.device) if config.teacher else None
        validator = Validator.load(config, run.sample_rate, tell) if ranks.leads and config.valid_clean else None
        keeping = Recorder(run, corpora, validator, tell) if ranks.leads else nullcontext()
        with keeping as recorder, interruptible() as stopped:
            if recorder and config.init and run.step == 0:
                recorder.begin()
            _steps(run, mixer, teacher, recorder, stopped)
        return run.outcome


def _silent(_: str) -> None:
    """Print nothing: only the first process reports."""


def load_corpora(config: TrainConfig, sample_rate: int, say: Callable[[str], None]) -> dict[str, Corpus]:
    """The sound of a run: decode what is not in the cache yet, and name what cannot be read."""
    corpora = {
        name: load_corpus(tree, config.cache, sample_rate)
        for name, tree in (("clean", config.clean), ("noise", config.noise), ("rir", config.rir))
        if tree is not None
    }
    for name, corpus in corpora.items():
        say(f"{name}: {len(corpus.names)} files, {corpus.hours:.2f} h")
        for reason in corpus.skipped:
            say(f"  skipped {reason}")
    return corpora


def make_mixer(config: TrainConfig, corpora: dict[str, Corpus], device: torch.device) -> Mixer:
    """The mixer of a run, with its bank of simulated and recorded rooms."""
    speech = Sampler(corpora["clean"], config.recipe.weights)
    rooms = _rooms(config.seed, speech.corpus.sample_rate, corpora.get("rir"), config.recipe.room > 0)
    return Mixer(config.recipe, speech, Sampler(corpora["noise"]), rooms, device)


def _rooms(seed: int, sample_rate: int, rir: Corpus | None, wanted: bool) -> npt.NDArray[np.float32]:
    """Impulse responses (rooms, time), none where none are wanted."""
    length = round(ROOM_SECONDS * sample_rate)
    if not wanted:
        return np.zeros((0, length), np.float32)
    simulated = draw_rooms(np.random.default_rng(seed), SIMULATED_ROOMS, sample_rate, ROOM_SECONDS)
    recorded = [rir.cut(k, 0, int(rir.lengths[k])) for k in range(len(rir.names))] if rir else []
    measured = [from_recording(samples, length) for samples in recorded if samples.any()]
    repeats = min(MOST_REPEATS, SIMULATED_ROOMS // max(len(measured), 1))
    return np.stack([*simulated, *measured * max(1, repeats)])


def loss_parts(
    loss: Loss,
    model: nn.Module,
    noisy: Tensor,
    clean: Tensor,
    progress: float,
    teacher: Teacher | None = None,
    teacher_share: float = 0.5,
) -> Parts:
    """The loss of a batch at a common level (the loss normalisation of Braun and Tashev 2020).

    Args:
        loss: The training loss.
        model: Noisy to clean, (B, T) to (B, T).
        noisy, clean: (B, T) each.
        progress: Share of the run's budget that is spent; the loss's late parts join beyond LATE.
        teacher, teacher_share: Whose output is a second target, and for how much of the loss.
    """
    gain = LOSS_LEVEL / rms(noisy - noisy.mean(1, keepdim=True)).clamp(min=1e-7)[:, None]  # an offset is not heard
    estimate = model(noisy) * gain

    def against(target: Tensor) -> Parts:
        sounds = estimate, target * gain, noisy * gain
        parts = loss.function(*sounds)
        return parts | loss.late(*sounds) if loss.late and progress > LATE else parts

    return shared(against(clean), against(teacher(noisy)), teacher_share) if teacher else against(clean)


def _steps(
    run: Run, mixer: Mixer, teacher: Teacher | None, recorder: Recorder | None, stopped: threading.Event
) -> None:
    loss, config, ranks = LOSSES[run.config.loss], run.config, run.ranks
    model = ranks.wrap(run.model.train())
    halt, bad, checked = 0.0, 0, run.seconds
    clock = time.monotonic()
    batch = mixer.batch(config.seed, run.step, ranks.rank, ranks.size)
    while run.progress < 1 and not halt:
        parts = loss_parts(loss, model, *batch, run.progress, teacher, config.teacher_share)
        total, norm = _gradients(run, parts)
        batch = mixer.batch(config.seed, run.step + 1, ranks.rank, ranks.size)  # while a GPU is at the step yet
        stepped = run.update(norm)
        bad = 0 if stepped else bad + 1
        if bad >= MOST_BAD_STEPS:
            raise TrainingError(f"the loss was not finite {bad} times in a row; the last good state is in {config.out}")
        now = time.monotonic()
        spent = now - clock if ranks.leads else 0.0  # one clock for all, so that all end at the same step
        halt, run.seconds = ranks.agree(stopped.is_set(), run.seconds + spent)
        clock = now
        if recorder and stepped:
            recorder.note(total, parts, norm)
        if run.seconds - checked >= config.validate_minutes * 60 or run.progress >= 1:
            if recorder:
                recorder.check()
            checked, clock = run.seconds, time.monotonic()  # validation costs no training time
    if recorder and run.progress < 1:  # else it was saved with the last check
        run.save()


def _gradients(run: Run, parts: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Gradients of the sum of the parts, cut to the longest that is allowed: the sum, and their norm before."""
    total = torch.stack(list(parts.values())).sum()
    run.model.zero_grad(set_to_none=True)
    total.backward()
    return total.detach(), nn.utils.clip_grad_norm_(run.model.parameters(), run.config.clip_norm)


@contextmanager
def interruptible() -> Iterator[threading.Event]:
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
