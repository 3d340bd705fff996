"""A file says what a run does, and every mistake in it is named."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from denoise_app.training.config import Recipe, TrainConfig, TrainingError, merged, parse, read_table

LEAST = 'model = "gru"\nloss = "mse"\nclean = "a"\nnoise = "b"\nout = "c"\n'
EVERYTHING = """
model = "gru"
loss = "mse"
clean = "speech"
noise = "noise"
out = "runs/gru/mse"
rir = "rooms"
cache = "cache"
minutes = 30
steps = 7
learning_rate = 1e-3
last_learning_rate = 0.02
warm_up = 0.1
weight_decay = 0.02
clip_norm = 3
ema = 0.99
seed = 5
valid_clean = "dev/clean"
valid_noisy = "dev/noisy"
valid_pairs = 12
validate_minutes = 2.5
init = "gru/hybrid"
teacher = "transformer/perceptual"
teacher_share = 0.3
prune = 0.5
resume = true
device = "cpu"
model_config = { hidden = 64, memory = 0.5 }

[recipe]
seconds = 2
batch = 8
snr_db = [0, 10]
level_dbfs = [-35.0, -10.0]
two_talkers = 0.11
level_change = 0.12
long_pause = 0.13
two_noises = 0.1
babble = 0.2
coloured = 0.3
hum = 0.31
speed = 0.35
band_limit = 0.4
equalise = 0.5
room = 0.6
overdrive = 0.65
clip = 0.7
offset = 0.75
clean_only = 0.1
noise_only = 0.2
weights = { cmn = 0.5, "en/read" = 2 }
"""


def test_a_file_can_say_everything() -> None:
    table = tomllib.loads(EVERYTHING)
    assert table.keys() == {entry.name for entry in fields(TrainConfig)}
    assert table["recipe"].keys() == {entry.name for entry in fields(Recipe)}
    recipe = Recipe(
        2.0, 8, (0.0, 10.0), (-35.0, -10.0), 0.11, 0.12, 0.13, 0.1, 0.2, 0.3, 0.31, 0.35, 0.4, 0.5, 0.6, 0.65, 0.7,
        0.75, 0.1, 0.2, (("cmn", 0.5), ("en/read", 2)),
    )  # fmt: skip
    assert parse(table) == TrainConfig(
        "gru", "mse", Path("speech"), Path("noise"), Path("runs/gru/mse"), Path("rooms"), Path("cache"),
        {"hidden": 64, "memory": 0.5}, recipe, 30.0, 7, 1e-3, 0.02, 0.1, 0.02, 3.0, 0.99, 5, Path("dev/clean"),
        Path("dev/noisy"), 12, 2.5, Path("gru/hybrid"), 0.5, Path("transformer/perceptual"), 0.3, True, "cpu",
    )  # fmt: skip


def test_what_is_left_out_keeps_its_default() -> None:
    config = parse(tomllib.loads(LEAST + "[recipe]\nbatch = 2"))
    assert config == TrainConfig("gru", "mse", Path("a"), Path("b"), Path("c"), recipe=Recipe(batch=2))


def test_the_command_line_goes_before_the_file() -> None:
    table = merged(tomllib.loads(EVERYTHING), {"loss": "hybrid", "out": Path("x"), "steps": 3})
    config = parse(table)
    assert (config.loss, config.out, config.steps, config.seed) == ("hybrid", Path("x"), 3, 5)
    assert config.minutes is None, "a budget in steps is not outlived by the file's minutes"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("lerning_rate = 1", "no setting lerning_rate; is it learning_rate?"),
        ("zzz = 1", "no setting zzz$"),
        ("recipe = { snr = [0, 1] }", "no setting recipe.snr; is it snr_db?"),
        ("recipe = 3", "recipe is a table, not 3"),
        ("recipe = { batch = 2.5 }", "recipe.batch is a whole number, not 2.5"),
        ("recipe = { snr_db = [1, 2, 3] }", "recipe.snr_db is a list of two numbers"),
        ("recipe = { snr_db = [5, -5] }", "recipe.snr_db must be a range within -100..100"),
        ("recipe = { level_dbfs = [-20, 3] }", "recipe.level_dbfs must be a range within -100..0"),
        ("recipe = { room = 1.5 }", "recipe.room must lie in 0.0..1.0, not 1.5"),
        ("recipe = { babble = 0.6, coloured = 0.6 }", "recipe.babble and coloured exclude each other"),
        ("recipe = { two_talkers = 1 }", "recipe.two_talkers and level_change and long_pause exclude each other"),
        ("recipe = { weights = { cmn = -1 } }", "recipe.weights.cmn must lie in"),
        ("recipe = { weights = { cmn = 'x' } }", "recipe.weights is a table of numbers"),
        ("steps = true", "steps is a whole number, not True"),
        ("steps = 0", "steps must lie in 1"),
        ("minutes = nan", "minutes must lie in"),
        ("minutes = -1", "minutes must lie in"),
        ("learning_rate = inf", "learning_rate must lie in"),
        ("learning_rate = '1e-3'", "learning_rate is a number, not '1e-3'"),
        ("ema = 1.0", "ema must lie in"),
        ("seed = -1", "seed must lie in"),
        ("resume = 1", "resume is true or false, not 1"),
        ("rir = 3", "rir is a path"),
        ("device = 0", "device is a text"),
        ("model_config = 3", "model_config is a table"),
        ("valid_clean = 'x'", "valid_clean and valid_noisy belong together"),
    ],
)
def test_a_mistake_is_named(line: str, reason: str) -> None:
    with pytest.raises(TrainingError, match=reason):
        parse(tomllib.loads(LEAST + line))


@pytest.mark.parametrize("name", ["model", "loss", "clean", "noise"])
def test_what_is_missing_is_named(name: str) -> None:
    table: dict[str, Any] = tomllib.loads(LEAST)
    del table[name]
    with pytest.raises(TrainingError, match=f"^{name} is missing"):
        parse(table)


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"nowhere\.toml cannot be read: No such file"):
        read_table(tmp_path / "nowhere.toml")
    for content in (b"model gru", b"\xff\xfe", b"seed = 1\nseed = 2"):
        (tmp_path / "bad.toml").write_bytes(content)
        with pytest.raises(TrainingError, match=r"bad\.toml is not TOML"):
            read_table(tmp_path / "bad.toml")
