"""What an ONNX file holds, read from its bytes before any library runs it: operators, places of weights, metadata.

A file may come from a stranger. It is read here by the wire format of protobuf alone, field by field, as onnx.proto
numbers them, so that what may not be in it is found before ONNX Runtime parses it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

STANDARD = {"", "ai.onnx"}  # domains whose operators every runtime knows; "com.microsoft" is one runtime's own
CONTROL_FLOW = {"If", "Loop", "Scan"}  # a frame costs what the last one cost: nothing that decides how long it runs
DEEPEST = 4  # graphs within graphs

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types
IR_VERSION, GRAPH, OPSETS, METADATA, TRAINING, FUNCTIONS = 1, 7, 8, 14, 20, 25  # of a ModelProto
NODES, INITIALIZERS, SPARSE_INITIALIZERS = 1, 5, 15  # of a GraphProto
OPERATOR, ATTRIBUTES, DOMAIN = 4, 5, 7  # of a NodeProto
TENSOR, SUBGRAPH, TENSORS, SUBGRAPHS, SPARSE, SPARSES = 5, 6, 10, 11, 22, 23  # of an AttributeProto
DIMS, EXTERNAL_DATA, DATA_LOCATION = 1, 13, 14  # of a TensorProto
KEY, VALUE = 1, 2  # of an entry of the metadata


@dataclass
class Contents:
    """What an ONNX file holds.

    Attributes:
        operators: Names of all operators, with their domain before a colon where it is not the standard one.
        metadata: What the file says of itself.
        numbers: Weights in it.
        external: Whether a weight lies in another file.
        functions: Whether it defines operators of its own.
    """

    operators: set[str] = field(default_factory=set)
    metadata: dict[str, str] = field(default_factory=dict)
    numbers: int = 0
    external: bool = False
    functions: bool = False


def fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field of a protobuf message; a value is a whole number or bytes.

    Raises:
        ValueError: it is not such a message.
    """
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == VARINT:
            number, at = _varint(data, at)
            yield tag >> 3, number
            continue
        if kind == BYTES:
            size, at = _varint(data, at)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            raise ValueError("it is not an ONNX file")
        if at + size > len(data):
            raise ValueError("it is cut off, or not an ONNX file")
        yield tag >> 3, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number in groups of 7 bits, the lowest first, and the place after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("it is cut off, or not an ONNX file")
        value |= (data[at] & 0x7F) << shift
        at += 1
        if not data[at - 1] & 0x80:
            return value, at
    raise ValueError("it is not an ONNX file")


def read(data: bytes) -> Contents:
    """The contents of an ONNX file.

    Raises:
        ValueError: the bytes are not one; the message says in what way.
    """
    contents = Contents()
    graphs = 0
    for number, value in fields(memoryview(data)):
        if number == GRAPH:
            graphs += 1
            _graph(_bytes(value), contents, DEEPEST)
        elif number == METADATA:
            entry = {key: _bytes(part) for key, part in fields(_bytes(value))}
            contents.metadata[_text(entry.get(KEY, b""))] = _text(entry.get(VALUE, b""))
        elif number in (FUNCTIONS, TRAINING):
            contents.functions = True
    if graphs != 1:
        raise ValueError("it holds no graph" if not graphs else "it holds more than one graph")
    return contents


def _graph(data: memoryview, contents: Contents, depth: int) -> None:
    if not depth:
        raise ValueError("its graphs are nested too deeply")
    for number, value in fields(data):
        if number == NODES:
            _node(_bytes(value), contents, depth)
        elif number == INITIALIZERS:
            _tensor(_bytes(value), contents)
        elif number == SPARSE_INITIALIZERS:
            _sparse(_bytes(value), contents)


def _node(data: memoryview, contents: Contents, depth: int) -> None:
    operator, domain = "", ""
    for number, value in fields(data):
        if number == OPERATOR:
            operator = _text(_bytes(value))
        elif number == DOMAIN:
            domain = _text(_bytes(value))
        elif number == ATTRIBUTES:
            for part, content in fields(_bytes(value)):
                if part in (TENSOR, TENSORS):
                    _tensor(_bytes(content), contents)
                elif part in (SPARSE, SPARSES):
                    _sparse(_bytes(content), contents)
                elif part in (SUBGRAPH, SUBGRAPHS):
                    _graph(_bytes(content), contents, depth - 1)
    contents.operators.add(operator if domain in STANDARD else f"{domain}:{operator}")


def _sparse(data: memoryview, contents: Contents) -> None:
    for number, value in fields(data):
        if number in (1, 2):  # values and indices, which are tensors
            _tensor(_bytes(value), contents)


def _tensor(data: memoryview, contents: Contents) -> None:
    count = 1
    for number, value in fields(data):
        if number == EXTERNAL_DATA or (number == DATA_LOCATION and value):
            contents.external = True
        elif number == DIMS:
            sizes = [value] if isinstance(value, int) else _packed(value)
            for size in sizes:
                count *= size
    contents.numbers += count


def _packed(data: memoryview) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("it is not an ONNX file")
    return value


def _text(value: memoryview | bytes) -> str:
    return bytes(value).decode("utf-8")  # what is not UTF-8 is a ValueError as well


def forbidden(contents: Contents) -> str | None:
    """Why a file with such contents is not run; None where it may be."""
    if contents.external:
        return "its weights lie in another file (external data)"
    if contents.functions:
        return "it defines functions or training steps of its own"
    if own := sorted(name for name in contents.operators if ":" in name):
        return f"it needs the custom operator {own[0][:60]}"
    if flow := sorted(contents.operators & CONTROL_FLOW):
        return f"it has control flow ({flow[0]}), so its time is not bounded"
    return None


def shape(text: str) -> tuple[int, ...]:
    """Sizes from text like "1,2,16": whole numbers by commas.

    >>> shape("2,1,16,16,33")
    (2, 1, 16, 16, 33)
    """
    return tuple(int(part) for part in text.split(","))


def whole_number(metadata: Mapping[str, str], key: str, low: int, high: int) -> int:
    """A whole number that the metadata must say.

    Raises:
        ValueError: it is missing, no number, or out of range.
    """
    text = metadata.get(key)
    if text is None:
        raise ValueError(f"its metadata has no {key}")
    if not text.isascii() or not text.isdigit() or not low <= int(text[:9]) <= high:
        raise ValueError(f"its {key} must be a whole number in {low} to {high}, not {text[:40]!r}")
    return int(text)
