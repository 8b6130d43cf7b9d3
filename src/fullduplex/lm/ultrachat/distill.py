"""Chats from a chat model of one's own: prompts in, JSONL out, a line at a time, so that breaking off costs one dialogue.

Self-distillation keeps what the model can do: it is later tuned on answers it would have given anyway.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from fullduplex.base.chat import Message, Sampling
from fullduplex.base.errors import FormatError, InputError
from fullduplex.lm.brain import Brain
from fullduplex.lm.ultrachat.prompts import FOLLOW_UPS

__all__ = ["DistillConfig", "distill", "read_prompts", "whole_sentences"]

_SENTENCE_END = re.compile(r"[.!?…。！？][\"'”’)\]]*(?=\s|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillConfig:
    """`rounds`: exchanges of a dialogue, (fewest, most); after the first the user asks on with a general question."""

    system: str = "You are a helpful assistant in a spoken conversation. Answer in a few plain sentences."
    rounds: tuple[int, int] = (1, 3)
    sampling: Sampling = Sampling(max_tokens=160, temperature=0.7)
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.rounds[0] <= self.rounds[1]:
            raise InputError(f"rounds is {self.rounds}; expected 1 <= fewest <= most")


def read_prompts(file: Path) -> list[str]:
    """Prompts from a text file, one a line, or from JSONL with "prompt" in every line.

    Raises:
        FormatError: no file, no prompt, or a line that is neither; it is named.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{file} cannot be read: {error}") from error
    found: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if file.suffix != ".jsonl":
            found.append(line.strip())
            continue
        try:
            found.append(str(json.loads(line)["prompt"]))
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(f"{file} line {number} has no prompt: {error!r}") from error
    if not found:
        raise FormatError(f"{file} holds no prompt")
    return found


def distill(
    file: Path, brain: Brain, prompts: Sequence[str], config: DistillConfig | None = None, *, resume: bool = False
) -> Iterator[int]:
    """Ask the brain every prompt and write the dialogues; yields the number of each as it is written.

    A dialogue whose first answer is empty is written with an empty list of messages, so that line n stays prompt n.

    Args:
        file: where to.
        brain: who answers.
        prompts: what to ask.
        config: how.
        resume: pass over as many prompts as the file has whole lines. Otherwise an existing file is an error.

    Raises:
        InputError: the file exists and `resume` was not asked for.
    """
    config = config or DistillConfig()
    if file.exists() and not resume:
        raise InputError(f"{file} exists; resume it, or choose another name")
    done = 0
    if file.exists():
        whole = [line for line in file.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        done = len(whole)
        file.write_bytes(b"".join(whole))
    file.parent.mkdir(parents=True, exist_ok=True)
    for number in range(done, len(prompts)):
        messages = _converse(brain, prompts[number], config, Random(f"{config.seed}:{number}"))
        plain = [{"role": message.role, "content": message.text} for message in messages]
        with file.open("a", encoding="utf-8") as out:
            out.write(json.dumps({"id": number, "messages": plain}, ensure_ascii=False) + "\n")
        yield number


def whole_sentences(text: str) -> str:
    """`text` without a last sentence that the limit of tokens cut off; all of it where that would leave nothing."""
    text = text.strip()
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    return text[: ends[-1]] if ends else text


def _converse(brain: Brain, prompt: str, config: DistillConfig, draw: Random) -> list[Message]:
    system = [Message("system", config.system)] if config.system else []
    said: list[Message] = []
    question = prompt
    for _ in range(draw.randint(*config.rounds)):
        asked = [*said, Message("user", question)]
        sampling = replace(config.sampling, seed=draw.getrandbits(31))
        answer = whole_sentences("".join(brain.stream((*system, *asked), sampling, key="distill")))
        if not answer:
            break
        said = [*asked, Message("assistant", answer)]
        question = draw.choice(FOLLOW_UPS)
    brain.forget("distill")
    return said
