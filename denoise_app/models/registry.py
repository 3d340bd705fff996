"""Every architecture by its name. Only what stands here can be built from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import nn

from denoise_app.denoiser import Denoiser

from .autoencoder import Autoencoder, AutoencoderConfig
from .band_df import BandDf, BandDfConfig
from .cnn import Cnn, CnnConfig
from .dpcrn import Dpcrn, DpcrnConfig
from .frcrn import Frcrn, FrcrnConfig
from .gru import Gru, GruConfig
from .light_crn import LightCrn, LightCrnConfig
from .transformer import Transformer, TransformerConfig
from .waveform import Waveform, WaveformConfig

MODELS: dict[str, tuple[type[Any], type[nn.Module]]] = {
    "autoencoder": (AutoencoderConfig, Autoencoder),
    "band-df": (BandDfConfig, BandDf),
    "cnn": (CnnConfig, Cnn),
    "dpcrn": (DpcrnConfig, Dpcrn),
    "frcrn": (FrcrnConfig, Frcrn),
    "gru": (GruConfig, Gru),
    "light-crn": (LightCrnConfig, LightCrn),
    "transformer": (TransformerConfig, Transformer),
    "waveform": (WaveformConfig, Waveform),
}


def build(name: str, config: Mapping[str, Any] | None = None) -> nn.Module:
    """A fresh, untrained model; arguments and errors are those of `configure`."""
    sizes = configure(name, config)
    return MODELS[name][1](sizes)


def configure(name: str, config: Mapping[str, Any] | None = None) -> Any:
    """The sizes of a model, checked, without building it.

    Args:
        name: A key of `MODELS`.
        config: Fields of the model's Config; those left out keep their defaults.

    Raises:
        ValueError: an unknown name or field, a value of another type than the default's, or one out of range.
    """
    if name not in MODELS:
        raise ValueError(f"no model is called {name!r}; there are {', '.join(MODELS)}")
    make_config, _ = MODELS[name]
    defaults = {field.name: field.default for field in fields(make_config)}
    for key, value in (config or {}).items():
        if key not in defaults:
            raise ValueError(f"{name} has no setting {key!r}; it has {', '.join(defaults)}")
        allowed = (int, float) if isinstance(defaults[key], float) else type(defaults[key])
        if not isinstance(value, allowed) or isinstance(value, bool) != isinstance(defaults[key], bool):
            raise ValueError(f"{name}: {key} is a {type(defaults[key]).__name__}, not {value!r}")
    return make_config(**(config or {}))


def count_parameters(model: nn.Module) -> int:
    """Learnt numbers in the model."""
    return sum(parameter.numel() for parameter in model.parameters())


def macs_per_second(name: str, config: Mapping[str, Any] | None = None) -> int:
    """Multiply-accumulates per second of sound, counted by torch over two seconds without computing anything."""
    from torch.utils.flop_counter import FlopCounterMode  # brings Triton, 50 MiB that no server needs

    seconds = 2  # one more frame than they last: under one per cent too many
    with torch.device("meta"):
        model = build(name, config)
        assert isinstance(model, Denoiser)
        sound = torch.zeros(1, seconds * model.sample_rate)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(sound)
    return counter.get_total_flops() // 2 // seconds
