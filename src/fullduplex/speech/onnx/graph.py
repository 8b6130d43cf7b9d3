"""ONNX files read as plain protobuf: name an inner tensor as an output, or cut the graph in two, without the onnx package.

Field numbers are those of onnx.proto (ONNX IR specification): ModelProto.graph = 7; GraphProto.node = 1, initializer = 5,
input = 11, output = 12; NodeProto.input = 1, output = 2; TensorProto.name = 8; ValueInfoProto.name = 1, type = 2.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fullduplex.base.errors import AssetError

__all__ = ["cut", "with_output"]

_GRAPH = 7
_NODE, _INITIALIZER, _INPUT, _OUTPUT = 1, 5, 11, 12
_TENSOR_NAME = 8
_FLOAT = 1


@dataclass(frozen=True, slots=True)
class _Node:
    raw: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def with_output(model: bytes, tensor: str) -> bytes:
    """An .onnx file whose graph also returns the inner `tensor`.

    A repeated message field of a protobuf is merged with the first (Protocol Buffers, "Last One Wins"): a second
    `ModelProto.graph` that holds one `GraphProto.output` adds an output, without parsing.
    """
    return model + _field(_GRAPH, _field(_OUTPUT, _field(1, tensor.encode())))


def cut(model: bytes, tensor: str, rank: int) -> tuple[bytes, bytes]:
    """Two .onnx files that do one after the other what `model` does: up to `tensor`, and from it to the outputs.

    Args:
        model: an .onnx file with its weights inside.
        tensor: float32, the only computed value that the second half needs of the first.
        rank: its number of axes.

    Returns: (the inputs to `tensor`, `tensor` to the outputs of `model`).
    Raises: AssetError when the file is damaged, knows no such tensor, or the second half needs more than it.
    """
    try:
        pieces = list(_fields(memoryview(model)))
        graph = next(value for number, value, _ in pieces if number == _GRAPH)
        parts = list(_fields(graph))
        nodes = [_node(value, raw) for number, value, raw in parts if number == _NODE]
        weights = {_text(value, _TENSOR_NAME): bytes(raw) for number, value, raw in parts if number == _INITIALIZER}
        inputs = [(_text(value, 1), bytes(raw)) for number, value, raw in parts if number == _INPUT]
        outputs = [(_text(value, 1), bytes(raw)) for number, value, raw in parts if number == _OUTPUT]
    except (ValueError, IndexError, StopIteration, UnicodeDecodeError) as error:
        raise AssetError(f"the ONNX file cannot be read ({error!r}); fetch it again") from error
    if not any(tensor in node.outputs for node in nodes):
        raise AssetError(
            f"the ONNX graph computes no tensor {tensor!r}; expected a Piper voice as its trainer exports it"
        )
    head = b"".join(bytes(raw) for number, _, raw in pieces if number != _GRAPH)
    first = _needed(nodes, [tensor], stop="")
    second = _needed(nodes, [name for name, _ in outputs], stop=tensor)
    known = {name for name, _ in inputs}
    if missing := known & {name for node in second for name in node.inputs}:
        raise AssetError(
            f"behind {tensor!r} the ONNX graph still needs {', '.join(sorted(missing))}; it cannot be cut there"
        )
    through = _field(2, _field(1, _varint_field(1, _FLOAT) + _field(2, _field(1, b"") * rank)))
    entry = _field(_INPUT, _field(1, tensor.encode()) + through)
    ending = _field(_OUTPUT, _field(1, tensor.encode()))
    before = _graph(first, weights, [*(raw for _, raw in inputs), ending])
    after = _graph(second, weights, [entry, *(raw for _, raw in outputs)])
    return head + before, head + after


def _graph(nodes: list[_Node], weights: dict[str, bytes], ends: list[bytes]) -> bytes:
    used = {name for node in nodes for name in node.inputs}
    kept = [raw for name, raw in weights.items() if name in used]
    return _field(_GRAPH, b"".join([*(node.raw for node in nodes), _field(2, b"part"), *kept, *ends]))


def _needed(nodes: list[_Node], wanted: Iterable[str], *, stop: str) -> list[_Node]:
    """The nodes that `wanted` depends on, in the order of the file, not looking behind the tensor `stop`."""
    maker = {name: index for index, node in enumerate(nodes) for name in node.outputs}
    found: set[int] = set()
    open_names = list(wanted)
    while open_names:
        name = open_names.pop()
        index = maker.get(name)
        if name != stop and index is not None and index not in found:
            found.add(index)
            open_names += nodes[index].inputs
    return [nodes[index] for index in sorted(found)]


def _node(value: memoryview, raw: memoryview) -> _Node:
    names: dict[int, list[str]] = {1: [], 2: []}
    for number, item, _ in _fields(value):
        if number in names:
            names[number].append(bytes(item).decode())
    return _Node(bytes(raw), tuple(names[1]), tuple(names[2]))


def _text(message: memoryview, number: int) -> str:
    return next(bytes(value).decode() for field, value, _ in _fields(message) if field == number)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """(number, payload, the whole field) of each field; the payload of a number is empty."""
    at = 0
    while at < len(message):
        begin = at
        key, at = _varint(message, at)
        wire = key & 7
        if wire == 2:
            length, at = _varint(message, at)
        elif wire == 0:
            _, at = _varint(message, at)
            length = 0
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire} at byte {begin}")
        if at + length > len(message):
            raise ValueError(f"a field at byte {begin} is cut short")
        yield key >> 3, message[at : at + length], message[begin : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _varint_field(number: int, value: int) -> bytes:
    return _encoded(number << 3) + _encoded(value)


def _field(number: int, payload: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return _encoded(number << 3 | 2) + _encoded(len(payload)) + payload
