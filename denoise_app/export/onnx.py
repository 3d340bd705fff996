"""A causal model as an ONNX graph: spectra of frames and its memory in, clean spectra and the memory after them out.

The graph is the model's own forward, traced. Its memory, tuples of tensors, is one flat state outside.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from denoise_app.models.layers import SpectralModel

from . import sherpa

OPSET = 17  # the first with LayerNormalization; torch writes IR version 8 with it, which every runtime since 2022 reads
LEAST_BYTES = 1000  # of an array that is worth storing in 16 bits, or once
TRACED = 5  # frames of the example that a graph of any number of frames is traced with

Frames = Literal["one", "any"]


class Graph(nn.Module):
    """`SpectralModel.enhance_parts` with its memory as one flat vector.

    Attributes:
        size: Numbers in the memory.
    """

    def __init__(self, model: SpectralModel) -> None:
        super().__init__()
        self.model = model
        self.empty = model.initial_frames(1)
        if any(bool(part.any()) for part in parts_of(self.empty)):
            raise ValueError("a memory that does not begin with zeros cannot be left to the caller")
        self.sizes = [part.numel() for part in parts_of(self.empty)]
        self.size = sum(self.sizes)

    def forward(self, spectrum: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """(1, bins, n, 2), (1, size) -> the same."""
        memory = rebuilt(self.empty, iter(state.split(self.sizes, dim=1)))
        clean, memory = self.model.enhance_parts(spectrum, memory)
        return clean, torch.cat([part.reshape(1, -1) for part in parts_of(memory)], dim=1)


def parts_of(memory: Any) -> list[Tensor]:
    """The tensors in a memory of tuples within tuples, in order."""
    return [memory] if isinstance(memory, Tensor) else [part for entry in memory for part in parts_of(entry)]


def rebuilt(like: Any, parts: Iterator[Tensor]) -> Any:
    """A memory like another one, of the tensors that `parts` gives in order, whatever their shapes."""
    if isinstance(like, Tensor):
        return next(parts).reshape(like.shape)
    entries = [rebuilt(entry, parts) for entry in like]
    return type(like)(*entries) if hasattr(like, "_fields") else tuple(entries)


def traced(graph: Graph, frames: Frames) -> onnx.ModelProto:
    """The graph of a model in evaluation mode, of one frame a call or of any number, in the form of `sherpa`."""
    form = sherpa.ThreeStates(graph).eval()
    count = 1 if frames == "one" else TRACED
    spectrum = 0.1 * torch.randn(1, graph.model.stft.bins, count, 2, generator=torch.Generator().manual_seed(0))
    dynamic = {"spectrum": {2: "frames"}, "clean": {2: "frames"}} if frames == "any" else None
    file = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        # of the exporter's age: the newer one takes GRUs apart; of sizes that are fixed: the parity check would see it
        warnings.simplefilter("ignore")
        torch.onnx.export(
            form,
            (spectrum, *form.initial()),
            file,  # type: ignore[arg-type]  # a path is asked for, a file works with dynamo=False
            opset_version=OPSET,
            dynamo=False,
            input_names=sherpa.INPUTS,
            output_names=sherpa.OUTPUTS,
            dynamic_axes=dynamic,
        )
    proto = onnx.load_model_from_string(file.getvalue())
    for out, entry in zip(proto.graph.output, proto.graph.input, strict=True):
        out.type.CopyFrom(entry.type)  # torch leaves out some sizes, which people read
    onnx.checker.check_model(proto)
    return proto


def halved(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph that holds each array once, and in 16 bits where that is exact, as of checkpoints stored so.

    Runtimes turn them into 32 bits when they load the graph: it computes the same, as quickly.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    graph, arrays = copy.graph, {each.name: numpy_helper.to_array(each) for each in copy.graph.initializer}
    for node in [each for each in graph.node if each.op_type == "Constant"]:
        value = node.attribute[0].t
        if len(value.raw_data) >= LEAST_BYTES:
            arrays[node.output[0]] = numpy_helper.to_array(value)
            graph.node.remove(node)
    del graph.initializer[:]
    kept: dict[tuple[str, tuple[int, ...], bytes], str] = {}
    casts = []
    for name, array in arrays.items():
        first = kept.setdefault((array.dtype.str, array.shape, array.tobytes()), name)
        if first != name:
            casts.append(helper.make_node("Identity", [first], [name]))
        elif array.nbytes >= LEAST_BYTES and array.dtype == np.float32 and _is_half(array):
            graph.initializer.append(numpy_helper.from_array(array.astype(np.float16), f"{name}.half"))
            casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
        else:
            graph.initializer.append(numpy_helper.from_array(array, name))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(copy)
    return copy


def _is_half(array: np.ndarray) -> bool:
    """Whether 16 bits hold all of an array's numbers exactly."""
    with np.errstate(over="ignore"):
        return bool((array.astype(np.float16).astype(array.dtype) == array).all())


def describe(proto: onnx.ModelProto, metadata: dict[str, str]) -> None:
    """Replaces what a graph says of itself."""
    del proto.metadata_props[:]
    for key, value in metadata.items():
        proto.metadata_props.add(key=key, value=value)
