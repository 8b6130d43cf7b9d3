"""Dialogues as training rows: tokens, how much each counts in the loss, and which conversation it belongs to.

The layout is the runtime's own (`fullduplex.lm.template`), so the model is trained on the very tokens it will be asked
with. Only what the assistant wrote, its end mark included, counts; `<idle>` may count less (2406.15718 gives no
weights). Rows hold several conversations that cannot see one another.

Axes: B rows of a batch, T tokens of a row.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fullduplex.base.arrays import Int64Array
from fullduplex.base.chat import Message
from fullduplex.base.errors import ConfigError, InputError
from fullduplex.base.slices import IDLE
from fullduplex.lm.template import CHATML, ChatTemplate, render

__all__ = ["Batch", "Example", "LayoutConfig", "Rows", "example_of", "pack"]

_PADDING = -1

Tokenize = Callable[[str, bool], list[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutConfig:
    """`row_tokens`: length T of a row; longer conversations are cut between messages.

    `idle_weight`: how much an idle slice counts beside a spoken one. `keep_rest`: whether what does not fit begins a
    further example. Raises `ConfigError` for a row under 16 tokens or a weight outside 0 to 1.
    """

    row_tokens: int = 1024
    idle_weight: float = 0.5
    keep_rest: bool = True
    template: ChatTemplate = CHATML

    def __post_init__(self) -> None:
        if self.row_tokens < 16 or not 0 <= self.idle_weight <= 1:
            raise ConfigError(
                f"row_tokens is {self.row_tokens} and idle_weight {self.idle_weight}; expected 16 or more, and 0 to 1"
            )


@dataclass(frozen=True, slots=True)
class Example:
    """One conversation, or a piece of one: token ids and the weight of each as a target."""

    tokens: tuple[int, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """`segment_BT` numbers the conversations of a row; padding has a segment of its own and no weight."""

    token_BT: Tensor
    weight_BT: Tensor
    segment_BT: Tensor


def _pieces(message: Message, tokenize: Tokenize, config: LayoutConfig) -> tuple[list[int], list[float]]:
    segments = render(config.template, (message,), "closed")
    header, body, closing = (tokenize(segment.text, segment.control) if segment.text else [] for segment in segments)
    weight = 0.0
    if message.role == "assistant":
        weight = config.idle_weight if message.text == IDLE else 1.0
    weights = [0.0] * len(header) + [weight] * (len(body) + 1) + [0.0] * (len(closing) - 1)
    return [*header, *body, *closing], weights


def example_of(messages: Sequence[Message], tokenize: Tokenize, config: LayoutConfig) -> list[Example]:
    """A conversation as one or more examples of at most `config.row_tokens` tokens, cut before a user's message.

    Args:
        messages: the first may be the system's, which begins every piece.
        tokenize: text and whether it may hold control tokens, to ids; the runtime model's own.
        config: the layout.

    Raises:
        InputError: there is no message, a role is unknown, or one exchange alone is longer than a row.
    """
    if not messages:
        raise InputError("a conversation without messages cannot be trained on")
    for index, message in enumerate(messages):
        if message.role not in config.template.headers:
            raise InputError(f"message {index} has role {message.role!r}; expected user, assistant or system")
    system = messages[0].role == "system"
    head = _pieces(messages[0], tokenize, config) if system else ([], [])
    done: list[Example] = []
    tokens, weights = list(head[0]), list(head[1])
    for exchange in _exchanges(messages[1:] if system else messages):
        more_tokens: list[int] = []
        more_weights: list[float] = []
        for message in exchange:
            ids, counts = _pieces(message, tokenize, config)
            more_tokens += ids
            more_weights += counts
        if len(head[0]) + len(more_tokens) > config.row_tokens:
            raise InputError(
                f"an exchange of {len(more_tokens)} tokens does not fit into a row of {config.row_tokens}; "
                "use longer rows or shorter slices"
            )
        if len(tokens) + len(more_tokens) > config.row_tokens:
            done.append(Example(tuple(tokens), tuple(weights)))
            tokens, weights = list(head[0]), list(head[1])
            if not config.keep_rest:
                return done
        tokens += more_tokens
        weights += more_weights
    if len(tokens) > len(head[0]):
        done.append(Example(tuple(tokens), tuple(weights)))
    return [example for example in done if any(example.weights)]


def _exchanges(messages: Sequence[Message]) -> Iterable[list[Message]]:
    """Runs that begin with a user's message."""
    exchange: list[Message] = []
    for message in messages:
        if message.role == "user" and exchange:
            yield exchange
            exchange = []
        exchange.append(message)
    if exchange:
        yield exchange


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Packed rows: int64 tokens and segments, float32 weights, each (rows, T)."""

    token_NT: np.ndarray
    weight_NT: np.ndarray
    segment_NT: np.ndarray

    def __len__(self) -> int:
        return self.token_NT.shape[0]

    @property
    def filled(self) -> float:
        """Share of the tokens that are not padding."""
        return float((self.segment_NT != _PADDING).mean())

    def batch(self, index_B: Int64Array) -> Batch:
        """The rows of these indices."""
        arrays = (self.token_NT, self.weight_NT, self.segment_NT)
        token, weight, segment = (torch.from_numpy(array[index_B]) for array in arrays)
        return Batch(token, weight, segment)


def pack(examples: Sequence[Example], config: LayoutConfig, *, seed: int) -> Rows:
    """Put examples into rows, longest first into the fullest row they fit (best fit), rows in an order of `seed`.

    Raises:
        InputError: there are no examples.
    """
    if not examples:
        raise InputError("there are no examples to train on; is every conversation without an assistant's message?")
    size = config.row_tokens
    room_of: dict[int, list[int]] = {}  # free tokens -> rows with exactly that much room
    rows: list[list[Example]] = []
    for example in sorted(examples, key=lambda e: -len(e.tokens)):
        length = len(example.tokens)
        room = min((room for room, which in room_of.items() if room >= length and which), default=None)
        row = len(rows) if room is None else room_of[room].pop()
        if room is None:
            rows.append([])
        rows[row].append(example)
        room_of.setdefault((size if room is None else room) - length, []).append(row)
    token_NT = np.zeros((len(rows), size), np.int64)
    weight_NT = np.zeros((len(rows), size), np.float32)
    segment_NT = np.full((len(rows), size), _PADDING, np.int64)
    for place, index in enumerate(np.random.default_rng(seed).permutation(len(rows))):
        at = 0
        for segment, example in enumerate(rows[index]):
            span = slice(at, at + len(example.tokens))
            token_NT[place, span] = example.tokens
            weight_NT[place, span] = example.weights
            segment_NT[place, span] = segment
            at = span.stop
    return Rows(token_NT, weight_NT, segment_NT)
