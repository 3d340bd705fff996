"""A trained model as a wider one that computes the same, as the initial weights of the larger one.

Source: Chen, Goodfellow and Shlens 2016, "Net2Net: accelerating learning via knowledge transfer". Each channel becomes
several alike, and what read it reads its copies in equal shares. The readers' fresh weights are kept as far as they
cancel over the copies of a channel: without them the copies would learn alike for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from denoise_app.models.light_crn import LightCrn


def can_widen(narrow: nn.Module, wide: nn.Module) -> bool:
    """Whether both have the design of `light-crn`, and the second one whole multiples of the first one's channels."""
    if not (isinstance(narrow, LightCrn) and isinstance(wide, LightCrn)):
        return False
    old, new = narrow.config, wide.config
    sizes = {"channels": new.channels, "full_width": new.full_width, "full_channels": new.full_channels}
    return (
        vars(replace(old, **sizes)) == vars(new)
        and new.channels % old.channels == 0  # a norm over channels would else weigh them differently
        and new.full_width >= old.full_width
        and new.full_channels >= old.full_channels
    )


def widen(narrow: nn.Module, wide: nn.Module) -> None:
    """Give a fresh model the function of a narrower one, in place; `can_widen` must hold."""
    assert isinstance(narrow, LightCrn)
    for name, old in narrow.named_parameters():
        module = narrow.get_submodule(name.rpartition(".")[0])
        fresh = wide.get_parameter(name).detach()
        grown = old.detach().to(fresh.device)
        for axis, groups, is_read in _axes(name, module, old.ndim, narrow.config.subbands):
            source = _sources(old.shape[axis], fresh.shape[axis], groups)
            copies = torch.bincount(source).to(fresh.device)
            source = source.to(fresh.device)
            grown = grown.index_select(axis, source)
            if is_read:
                along = [-1 if place == axis else 1 for place in range(old.ndim)]
                sums = torch.zeros_like(grown).index_add_(axis, source, fresh)
                grown = fresh + (grown - sums.index_select(axis, source)) / copies[source].view(along)
        fresh.copy_(grown)


def _axes(name: str, module: nn.Module, axes: int, subbands: int) -> Iterator[tuple[int, int, bool]]:
    """The axes that grow: (axis, groups of channels that lie one behind the other on it, whether it is read along)."""
    if isinstance(module, nn.LayerNorm):
        yield 1, 1, False
    elif isinstance(module, nn.ConvTranspose2d):
        if axes > 1:  # its bias is that of the mask
            yield 0, 1, True
    else:
        gates = 3 if isinstance(module, nn.GRU) else 1
        yield 0, subbands if name.startswith("full.spread") else gates, False
        if axes == 2:
            both_ways = 2 if name.endswith("across.weight") else 1
            yield 1, subbands if name == "full.recur.weight_ih_l0" else both_ways, True


def _sources(old: int, new: int, groups: int) -> Tensor:
    """Which old channel each new one is a copy of.

    >>> _sources(4, 8, 2).tolist()
    [0, 1, 0, 1, 2, 3, 2, 3]
    """
    inner = torch.arange(new // groups) % (old // groups)
    return (torch.arange(groups)[:, None] * (old // groups) + inner).flatten()
