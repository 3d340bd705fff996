"""Weights in 8 bits instead of 32, by ONNX Runtime's dynamic quantisation: no recordings are needed.

Only products of matrices change (MatMulInteger); recurrences and convolutions stay in float32.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx


def to_int8(path: Path) -> None:
    """Replaces an ONNX file by one whose matrices are int8, one scale per column; its metadata stays."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    said = onnx.load(path).metadata_props
    with _without_advice():
        quantize_dynamic(path, path, per_channel=True, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"])
    proto = onnx.load(path)
    del proto.metadata_props[:]
    proto.metadata_props.extend(said)
    onnx.save(proto, path)


@contextmanager
def _without_advice() -> Iterator[None]:
    """Drops what ONNX Runtime writes to the root logger: that pre-processing would help, which it does not here."""
    root = logging.getLogger()
    root.addFilter(_is_no_warning)
    try:
        yield
    finally:
        root.removeFilter(_is_no_warning)


def _is_no_warning(record: logging.LogRecord) -> bool:
    return record.levelno != logging.WARNING
