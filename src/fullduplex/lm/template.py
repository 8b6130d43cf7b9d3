"""Chat templates: messages to segments, where a control segment may hold control tokens and a literal one never does.

The literal text of a message is tokenised apart from the template's own words and with special-token parsing off, so
`<|im_end|>` typed or spoken by a user is six harmless characters-worth of tokens and cannot end a turn.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from fullduplex.base.chat import Message, Role
from fullduplex.base.errors import InputError

__all__ = ["CHATML", "PLAIN", "ChatTemplate", "Segment", "Tail", "detect_template", "encode", "render", "whole_words"]

Tail = Literal["closed", "open", "reply"]


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of prompt text. Only a `control` segment is read for control tokens."""

    text: str
    control: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTemplate:
    """How a model was taught to see a chat.

    `headers` open a message of each role, `closing` ends one and its first token is the model's end of turn; `stop` are
    texts that end a reply of a model that has no end-of-turn token; `one_line` folds line breaks in messages, for
    templates where a line break ends a turn.
    """

    name: str
    headers: dict[Role, str]
    closing: str
    stop: tuple[str, ...] = ()
    one_line: bool = False


CHATML = ChatTemplate(
    name="chatml",
    headers={role: f"<|im_start|>{role}\n" for role in get_args(Role)},
    closing="<|im_end|>\n",
)

# For models without a chat template: a script. Stops are what the model writes when it starts to play the user.
PLAIN = ChatTemplate(
    name="plain",
    headers={"system": "", "user": "User: ", "assistant": "Assistant: "},
    closing="\n",
    stop=("\n", "User:", "Assistant:"),
    one_line=True,
)


def detect_template(jinja: str | None) -> ChatTemplate:
    """The template named by a model file's own Jinja template: ChatML when it speaks of `<|im_start|>`, else plain."""
    return CHATML if jinja and "<|im_start|>" in jinja else PLAIN


def render(template: ChatTemplate, messages: tuple[Message, ...], tail: Tail) -> tuple[Segment, ...]:
    """Lay out messages as segments.

    `tail` closed: every message ends. open: the last message does not end, so the tokens are the beginning of those of
    the same message with more words. reply: the assistant's header follows; a last message that is already the
    assistant's is left open instead, and the reply continues it. Raises `InputError` for an empty or unreadable prompt.
    """
    if not messages:
        raise InputError("the prompt has no messages; pass at least one")
    segments: list[Segment] = []
    last = len(messages) - 1
    for index, message in enumerate(messages):
        header = template.headers.get(message.role)
        if header is None:
            raise InputError(
                f"message {index} has role {message.role!r}; expected one of {', '.join(template.headers)}"
            )
        continued = tail == "open" or (tail == "reply" and message.role == "assistant")
        segments += [Segment(header, control=True), Segment(_literal(template, message, index), control=False)]
        if index < last or not continued:
            segments.append(Segment(template.closing, control=True))
    if tail == "reply" and messages[last].role != "assistant":
        # A trailing blank would be tokenised apart from the reply's first word.
        segments.append(Segment(template.headers["assistant"].rstrip(" "), control=True))
    return tuple(segments)


def encode(segments: tuple[Segment, ...], tokenize: Callable[[str, bool], list[int]]) -> list[int]:
    """Token ids of segments; `tokenize(text, parse_special)` is the model's own. Control text is joined."""
    tokens: list[int] = []
    control = ""
    for segment in segments:
        if segment.control:
            control += segment.text
        elif segment.text:
            tokens += tokenize(control, True) if control else []
            control = ""
            tokens += tokenize(segment.text, False)
    return tokens + (tokenize(control, True) if control else [])


def whole_words(text: str) -> str:
    """`text` without its last word unless white space says that the word is over: a recogniser may still change it."""
    if not text or text[-1].isspace():
        return text.rstrip()
    return text[: len(text) - len(text.split()[-1])].rstrip()


def _literal(template: ChatTemplate, message: Message, index: int) -> str:
    text: object = message.text
    if not isinstance(text, str):
        raise InputError(f"message {index}: text must be a string, not {type(text).__name__}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"message {index}: text is not valid Unicode at character {error.start}") from None
    text = text.replace("\0", " ")
    # A blank at the beginning of the assistant's text says that it continues a sentence (time slices); one at the end
    # would be tokenised apart from the word that follows.
    text = text.rstrip() if message.role == "assistant" else text.strip()
    return " ".join(text.split()) if template.one_line else text
