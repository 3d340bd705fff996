"""The autoencoder: what it may not exceed, which frames it sees, and where its output lies."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from denoise_app.models.autoencoder import Autoencoder, AutoencoderConfig, bounded


def made(**settings: float) -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(AutoencoderConfig(**{"hidden": 32, "code": 16, **settings})).eval()  # type: ignore[arg-type]


def reconstructs(model: Autoencoder, value: float) -> Autoencoder:
    """A model whose clean magnitudes are all the same, in units of the level."""
    last = model.decode[-2]
    assert isinstance(last, nn.Linear)
    last.weight.data.zero_()
    last.bias.data.fill_(value)
    return model


def sound(batch: int, length: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(batch, length, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("look_ahead", [0, 1, 2])
def test_what_reconstructs_everything_lets_the_sound_through_in_its_place(look_ahead: int) -> None:
    model, noisy = reconstructs(made(look_ahead=look_ahead), 50.0), sound(2, 10_007)
    torch.testing.assert_close(model(noisy), noisy, rtol=0, atol=1e-5)


def test_no_bin_becomes_louder_than_it_was() -> None:
    model, noisy = made(), sound(1, 16_000)
    spectra = model.stft.analyse(noisy)
    for value in (0.0, 1.0, 1e6):
        clean, _ = reconstructs(model, value).enhance(spectra, model.initial_frames(1))
        assert (clean[:, :, 2:].abs() <= spectra[:, :, :-2].abs() * (1 + 1e-6)).all()


def test_a_loud_bin_is_brought_down_to_what_is_reconstructed() -> None:
    """A tone 40 dB above the reconstruction comes out at the reconstruction, whatever the tone's level."""
    model = reconstructs(made(), 0.5)
    tone = torch.sin(torch.arange(32_000) * 2 * torch.pi * 1000 / 16_000)[None]
    spectra = model.stft.analyse(tone)
    clean, _ = model.enhance(spectra, model.initial_frames(1))
    level = spectra.abs().square().mean(1).mean().sqrt()
    wanted = nn.functional.softplus(torch.tensor(0.5)) ** (1 / 0.3) * level
    assert clean[0, 32, 60].abs().item() == pytest.approx(wanted.item(), rel=0.05)


def test_the_bend_keeps_a_slope_where_too_much_is_reconstructed() -> None:
    clean = torch.tensor([0.5, 1.0, 2.0, 4.0], requires_grad=True)
    bounded(clean, torch.ones(4)).sum().backward()
    assert clean.grad is not None and (clean.grad > 0).all()


@pytest.mark.parametrize(("past", "look_ahead"), [(5, 2), (0, 0), (2, 1)])
def test_a_gain_depends_on_the_frames_of_the_stack_alone(past: int, look_ahead: int) -> None:
    """With the mean held still: it fades over a second, and knows all that went before."""
    model = made(past=past, look_ahead=look_ahead)
    memory = model.initial_frames(1)
    model.mean = lambda frames, sums: (torch.ones_like(frames), sums)  # type: ignore[assignment]
    spectra = model.stft.analyse(sound(1, 16_000)).requires_grad_()
    clean, _ = model.enhance(spectra, memory)
    frame = 30
    (clean[:, :, frame + look_ahead].abs() / spectra[:, :, frame].abs().detach()).sum().backward()
    assert spectra.grad is not None
    seen = spectra.grad[0].abs().amax(0).nonzero().flatten()
    assert (frame - int(seen[0]), int(seen[-1]) - frame) == (past, look_ahead)


@pytest.mark.parametrize("gain", [1e-2, 30.0])
def test_a_gain_in_is_the_same_gain_out(gain: float) -> None:
    model, noisy = made(), sound(1, 20_000)
    noisy[:, 5000:9000] = 0
    with torch.inference_mode():
        torch.testing.assert_close(model(gain * noisy) / gain, model(noisy), rtol=0, atol=1e-5)


@pytest.mark.parametrize("wrong", [{"code": 0}, {"past": -1}, {"look_ahead": 9}, {"memory": 0.0}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must lie in"):
        made(**wrong)
