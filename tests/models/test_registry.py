"""What every model keeps, whatever it is inside: the contract, over the whole registry."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from denoise_app.denoiser import Denoiser, StreamingDenoiser
from denoise_app.models.registry import MODELS, build, count_parameters, macs_per_second

NAMES = sorted(MODELS)
LENGTHS = (0, 1, 255, 256, 257, 511, 512, 4001, 16_000)


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def fresh(name: str) -> nn.Module:
    torch.manual_seed(7)
    return build(name).eval()


def sound(batch: int, length: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(batch, length, generator=torch.Generator().manual_seed(seed))


@pytest.mark.slow
def test_a_model_without_memory_is_built_without_torchs_compiler() -> None:
    """A server that reads a checkpoint builds its model so; the compiler and what it brings would stay in memory."""
    script = (
        "import sys, torch\n"
        "from denoise_app.models.registry import MODELS, build\n"
        "for name in MODELS:\n"
        "    with torch.device('meta'):\n"
        "        build(name)\n"
        "    loaded = {'torch._dynamo', 'sympy', 'triton', 'torch.utils.flop_counter'} & sys.modules.keys()\n"
        "    assert not loaded, f'{name} loads {sorted(loaded)}: see layers.started'\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("length", LENGTHS)
def test_length_stays(name: str, length: int) -> None:
    noisy = sound(2, length)
    before = noisy.clone()
    with torch.inference_mode():
        clean = fresh(name)(noisy)
    assert clean.shape == noisy.shape and clean.dtype == torch.float32
    assert torch.equal(noisy, before), "the input was changed"


def test_states_the_contract(name: str) -> None:
    model = fresh(name)
    assert isinstance(model, Denoiser)
    assert model.sample_rate > 0 and model.latency >= 0
    assert isinstance(model, StreamingDenoiser) == model.causal


@pytest.mark.slow
def test_batch_rows_do_not_meet(name: str) -> None:
    model, noisy = fresh(name), sound(3, 5000)
    with torch.inference_mode():
        together = model(noisy)
        alone = torch.cat([model(row[None]) for row in noisy])
    assert torch.allclose(together, alone, atol=1e-6)


def test_silence_gives_silence(name: str) -> None:
    with torch.inference_mode():
        assert fresh(name)(torch.zeros(1, 4000)).abs().max() == 0


@pytest.mark.slow
@pytest.mark.parametrize("gain", [0.03, 5.0])
def test_a_gain_in_is_the_same_gain_out(name: str, gain: float) -> None:
    model, noisy = fresh(name), sound(1, 16_000)
    with torch.inference_mode():
        torch.testing.assert_close(model(gain * noisy), gain * model(noisy), rtol=1e-3, atol=1e-4 * gain)


@pytest.mark.slow
def test_gradient_reaches_every_parameter(name: str) -> None:
    model = fresh(name).train()
    model(sound(2, 8000)).square().sum().backward()
    idle = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not idle
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_gradient_is_finite_on_silence(name: str) -> None:
    model = fresh(name).train()
    model(torch.zeros(1, 4000)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_same_weights_give_the_same_sound(name: str) -> None:
    first, second = fresh(name), build(name).eval()
    second.load_state_dict(first.state_dict())
    with torch.inference_mode():
        assert torch.equal(first(sound(1, 4000)), second(sound(1, 4000)))


def test_later_input_never_changes_earlier_output(name: str) -> None:
    model = fresh(name)
    if not model.causal:
        pytest.skip("not a causal model")
    noisy, cut = sound(1, 12_000), 7001
    changed = noisy.clone()
    changed[:, cut:] = sound(1, 12_000 - cut, seed=1)
    with torch.inference_mode():
        before, after = model(noisy), model(changed)
    kept = cut - model.latency + 1
    assert torch.equal(before[:, :kept], after[:, :kept])
    assert not torch.allclose(before[:, cut:], after[:, cut:])


@pytest.mark.slow
@pytest.mark.parametrize("hops", [1, 3, 16])
def test_blocks_give_what_the_whole_gives(name: str, hops: int) -> None:
    model = fresh(name)
    if not model.causal:
        pytest.skip("not a causal model")
    noisy = sound(2, 20 * 3 * model.hop + 100)
    block = hops * model.hop
    pushed = torch.cat([noisy, torch.zeros(2, model.delay + block)], dim=1)
    state, out = model.initial_state(2), []
    with torch.inference_mode():
        for start in range(0, pushed.shape[1] - block + 1, block):
            part, state = model.advance(pushed[:, start : start + block], state)
            out.append(part)
        whole = model(noisy)
    streamed = torch.cat(out, dim=1)[:, model.delay :][:, : noisy.shape[1]]
    assert torch.allclose(streamed, whole, atol=1e-5)


@pytest.mark.slow
def test_docstring_counts_are_true(name: str) -> None:
    text = sys.modules[MODELS[name][1].__module__].__doc__ or ""
    parameters = re.search(r"^Parameters: ([\d,]+)$", text, re.M)
    macs = re.search(r"^MACs a second: ([\d.]+) M$", text, re.M)
    assert parameters and int(parameters[1].replace(",", "")) == count_parameters(build(name))
    assert macs and float(macs[1]) == pytest.approx(macs_per_second(name) / 1e6, abs=0.05)


def test_docstring_tells_the_delay_and_what_is_heard(name: str) -> None:
    text = sys.modules[MODELS[name][1].__module__].__doc__ or ""
    told = re.search(r"^Latency: ([\d,]+) samples, .*?(not )?causal\.$", text, re.M)
    model = build(name)
    assert told and (int(told[1].replace(",", "")), told[2] is None) == (model.latency, model.causal)


@pytest.mark.parametrize(
    "other, config, reason",
    [
        ("gru", {"wide_bands": 192}, "too many for 257 bins"),
        ("cnn", {"window": 400, "hop": 100}, "window must be a multiple of 64"),
        ("cnn", {"hop": 512}, "4 hops must fit into 1024 samples"),
    ],
)
def test_sizes_that_do_not_fit_each_other_are_refused(other: str, config: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        build(other, config)


@pytest.mark.parametrize(
    "config",
    [{"hidden": 10**9}, {"hidden": 0}, {"hidden": "256"}, {"hidden": True}, {"unknown": 1}, {"layers": 2.0}],
)
def test_hostile_config_is_refused_before_anything_is_built(config: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        build("gru", config)


def test_unknown_model_is_named() -> None:
    with pytest.raises(ValueError, match="no model is called 'nope'"):
        build("nope")
