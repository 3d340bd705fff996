"""A trained model as a narrower one, made of its strongest channels, as the initial weights of the smaller one.

Source: Li, Kadav, Durdanovic, Samet and Graf 2017, "Pruning filters for efficient ConvNets": whole channels go, so that
what is left is a dense model that every engine runs quicker, and those go whose weights are smallest. Here a channel
counts with all weights that write or read it, since convolutions, norms and recurrences share it. The result is to be
trained on: the channels that are left have to make up for those that are gone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from denoise_app.models.gru import Gru
from denoise_app.models.light_crn import LightCrn

WIDTHS = {LightCrn: ("channels", "full_width", "full_channels"), Gru: ("width", "hidden")}
"""Of a design: the sizes of its Config that pruning lowers."""


class Axis(NamedTuple):
    """An axis of a parameter: `repeats` times over, the channels of one group after another.

    Attributes:
        place: Which axis.
        groups: Names of the groups of channels along it.
        repeats: Gates of a GRU, or subbands.
    """

    place: int
    groups: tuple[str, ...]
    repeats: int = 1


def smaller(model: nn.Module, share: float) -> dict[str, float]:
    """The settings of a model's Config that are left when a share of every width is pruned.

    Args:
        model: As it is.
        share: In (0, 1): 0.5 leaves half of the channels, and about a quarter of the weights.

    Raises:
        ValueError: a model whose design cannot be pruned, or too little would be left.
    """
    for design, names in WIDTHS.items():
        if isinstance(model, design):
            config: Any = model.config
            sizes = {name: 2 * max(1, round(getattr(config, name) * (1 - share) / 2)) for name in names}
            replace(config, **sizes)  # checks them
            return dict(sizes)
    raise ValueError(f"only models of the designs {', '.join(design.__name__ for design in WIDTHS)} can be pruned")


def can_prune(wide: nn.Module, narrow: nn.Module) -> bool:
    """Whether both have one design, and the second one is narrower and otherwise the same."""
    for design, names in WIDTHS.items():
        if isinstance(wide, design) and isinstance(narrow, design):
            old, new = cast(Any, wide.config), cast(Any, narrow.config)
            sizes = {name: getattr(new, name) for name in names}
            return all(sizes[name] <= getattr(old, name) for name in names) and replace(old, **sizes) == new
    return False


def prune(wide: nn.Module, narrow: nn.Module) -> None:
    """Give a model the strongest channels of a wider one, in place; `can_prune` must hold."""
    layout = {name: tuple(_axes(wide, name)) for name, _ in wide.named_parameters()}
    kept = _strongest(_strengths(wide, layout), _counts(narrow, layout))
    for name, parameter in wide.named_parameters():
        left = parameter.detach()
        for axis in layout[name]:
            left = left.index_select(axis.place, _places(axis, kept, _counts(wide, layout)))
        narrow.get_parameter(name).detach().copy_(left)


def _axes(model: nn.Module, name: str) -> Iterator[Axis]:
    axes = _axes_of_gru if isinstance(model, Gru) else _axes_of_light_crn
    return axes(model, name, model.get_parameter(name).ndim)


def _axes_of_gru(model: nn.Module, name: str, ndim: int) -> Iterator[Axis]:
    """Dense layers around GRU layers; the last dense layer also reads what the first one wrote."""
    assert isinstance(model, Gru)
    where, _, kind = name.rpartition(".")
    if where == "recur":
        layer = int(kind.rpartition("_l")[2])
        yield Axis(0, (f"hidden {layer}",), 3)
        if ndim == 2:
            read = f"hidden {layer}" if kind.startswith("weight_hh") else f"hidden {layer - 1}" if layer else "encoded"
            yield Axis(1, (read,))
    elif where == "encode.0":
        yield Axis(0, ("encoded",))
    elif where == "decode.0":
        yield Axis(0, ("decoded",))
        if ndim == 2:
            yield Axis(1, (f"hidden {model.config.layers - 1}", "encoded"))
    elif ndim == 2:
        yield Axis(1, ("decoded",))


def _axes_of_light_crn(model: nn.Module, name: str, ndim: int) -> Iterator[Axis]:
    """Every block reads and writes the same channels, and has some within it that it alone knows."""
    assert isinstance(model, LightCrn)
    where, _, kind = name.rpartition(".")
    module, subbands = model.get_submodule(where), model.config.subbands
    if isinstance(module, nn.LayerNorm):
        yield Axis(1, ("channels",))
    elif isinstance(module, nn.ConvTranspose2d):
        if ndim > 1:  # its bias is that of the mask
            yield Axis(0, ("channels",))
    elif isinstance(module, nn.GRU):
        yield Axis(0, (where,), 3)
        if ndim == 2:
            whole = where == "full.recur"
            read = (where,) if kind.startswith("weight_hh") else ("full.squeeze",) if whole else ("channels",)
            yield Axis(1, read, subbands if whole and not kind.startswith("weight_hh") else 1)
    else:
        block = where.rpartition(".")[0]
        writes = {"full.squeeze": "full.squeeze", "full.spread": "full.expand"}.get(where, "channels")
        yield Axis(0, (writes,), subbands if where == "full.spread" else 1)
        if ndim == 2:
            reads = {
                "full.spread": ("full.recur",),
                "full.expand": ("full.expand",),
                f"{block}.across": (f"{block}.upwards", f"{block}.downwards"),
                f"{block}.along": (f"{block}.recur",),
            }
            yield Axis(1, reads.get(where, ("channels",)))


Layout = Mapping[str, tuple[Axis, ...]]


def _counts(model: nn.Module, layout: Layout) -> dict[str, int]:
    """How many channels each group has; every one stands alone on some axis."""
    return {
        axis.groups[0]: model.get_parameter(name).shape[axis.place] // axis.repeats
        for name, axes in layout.items()
        for axis in axes
        if len(axis.groups) == 1
    }


def _strengths(model: nn.Module, layout: Layout) -> dict[str, Tensor]:
    """The energy of all weights that write or read each channel of each group; norms, all near 1, do not count."""
    counts = _counts(model, layout)
    strengths: dict[str, Tensor] = defaultdict(lambda: torch.zeros(()))
    for name, parameter in model.named_parameters():
        if isinstance(model.get_submodule(name.rpartition(".")[0]), nn.LayerNorm):
            continue
        for axis in layout[name]:
            others = [place for place in range(parameter.ndim) if place != axis.place]
            energy = parameter.detach().square()
            energy = energy.sum(others) if others else energy
            parts = energy.view(axis.repeats, -1).sum(0).split([counts[group] for group in axis.groups])
            for group, part in zip(axis.groups, parts, strict=True):
                strengths[group] = strengths[group] + part
    return strengths


def _strongest(strengths: Mapping[str, Tensor], counts: Mapping[str, int]) -> dict[str, Tensor]:
    """Of each group the channels that stay, in their order."""
    return {group: strength.topk(counts[group]).indices.sort().values for group, strength in strengths.items()}


def _places(axis: Axis, kept: Mapping[str, Tensor], counts: Mapping[str, int]) -> Tensor:
    """Where the channels that stay lie along an axis."""
    starts = torch.tensor([0, *(counts[group] for group in axis.groups)]).cumsum(0)
    once = torch.cat([start + kept[group] for group, start in zip(axis.groups, starts, strict=False)])
    return (torch.arange(axis.repeats)[:, None] * starts[-1] + once).flatten()
