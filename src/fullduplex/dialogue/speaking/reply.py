"""One reply of the machine, from the first token to the last sample, as a value.

A reply begins as a guess (the user may go on speaking) and is committed or dropped. Text is cut into clauses so that
the first words can be heard while the rest is still being thought.
"""

import math
import re
from dataclasses import dataclass, field, replace

import numpy as np

from fullduplex.base.units import VOICE_RATE_HZ, samples_from_s
from fullduplex.dialogue.listening.transcript import words_of
from fullduplex.dialogue.ports import Pcm, Synthesised, WordSpan

__all__ = [
    "Clause",
    "ClauseConfig",
    "Reply",
    "add_text",
    "audio_between",
    "cut_short",
    "heard_text",
    "spoken",
    "take_clause",
    "unspoken",
    "word_ranges",
]

_END = re.compile(r"[.!?…:;]['\")\]]*(?=\s|$)|,(?=\s)|\s[–—-](?=\s)")
# A full stop that ends no sentence: titles, shortened words, initials ("J.", "e.g."), the number of a list item.
_ABBREVIATED = re.compile(
    r"(?:^|[\s(\"'])(?:mr|mrs|ms|dr|prof|st|sr|jr|rev|gen|col|lt|sgt|capt|mt|vs|vol|fig|ca|approx|dept|est|inc|ltd|co|"
    r"(?:[a-z]\.)*[a-hj-z])\.$|^\s*\d+\.$",
    re.IGNORECASE,
)
_SENTENCE_END = (".", "!", "?", "…")
_CLOSED = (*_SENTENCE_END, '"', "'", ")")
_SILENCE = np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClauseConfig:
    """How text is cut for synthesis. The first clause is short: its length is heard as latency.

    It has `first_max_words` at most, fewer if they have as many letters as so many short ones (`first_max_chars`). When
    less than `hungry_s` of sound is left to send and no clause is on its way, the words that are there are spoken,
    `hungry_words` at least: a clause that is cut is heard less than a hole.
    """

    first_words: int = 3
    first_max_words: int = 4
    first_max_chars: int = 16
    words: int = 5
    max_words: int = 16
    hungry_s: float = 0.15
    hungry_words: int = 3
    sentence_pause_s: float = 0.16
    clause_pause_s: float = 0.06


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clause:
    """A piece of the reply: its text, then its sound (empty until synthesised, or if it cannot be spoken).

    `whole`: no more of its sound will come.
    """

    text: str
    ticket: int | None = None
    pcm: Pcm = field(default_factory=lambda: _SILENCE)
    words: tuple[WordSpan, ...] = ()
    whole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reply:
    """`answers` is the user text that this replies to; `rest` generated text that fills no clause yet."""

    utterance: int
    answers: str
    generate_ticket: int | None
    rest: str = ""
    clauses: tuple[Clause, ...] = ()
    text_done: bool = False
    committed: bool = False

    @property
    def text(self) -> str:
        """All text so far."""
        return " ".join([*(clause.text for clause in self.clauses), self.rest.strip()]).strip()

    @property
    def available_samples(self) -> int:
        """Samples that can be played without a gap."""
        return sum(clause.pcm.size for clause in _audible(self.clauses))

    @property
    def complete(self) -> bool:
        """Every word has its sound."""
        return self.text_done and not self.rest.strip() and all(clause.whole for clause in self.clauses)


def _cut_at(text: str, minimum: int, maximum: int, max_chars: float = math.inf) -> int | None:
    """Where the next clause ends: the first boundary with at least `minimum` words before it, else `maximum` words.

    Or fewer words, `minimum` at least, that reach `max_chars`.
    """
    for match in _END.finditer(text):
        if match.group() == "." and _ABBREVIATED.search(text[: match.end()]):
            continue
        count = len(text[: match.end()].split())
        if count > maximum:
            break
        if count >= minimum or match.group()[0] in _SENTENCE_END:
            return match.end()
    words = list(re.finditer(r"\S+", text))
    long = next((at for at, word in enumerate(words, start=1) if at >= minimum and word.end() >= max_chars), maximum)
    maximum = min(maximum, long)
    if len(words) >= maximum:
        while maximum > 1 and _ABBREVIATED.search(text[: words[maximum - 1].end()]):
            maximum -= 1  # "Dr." goes with the name
        return words[maximum - 1].end()
    return None


def take_clause(text: str, config: ClauseConfig, *, first: bool, done: bool) -> tuple[str, str] | None:
    """Split off the next clause, or None if more text is needed. A clause never ends inside a word."""
    minimum = config.first_words if first else config.words
    maximum = config.first_max_words if first else config.max_words
    max_chars = config.first_max_chars if first else math.inf
    cut = _cut_at(text if done else _whole_words(text), minimum, maximum, max_chars)
    if cut is None:
        return (text.strip(), "") if done and text.strip() else None
    return text[:cut].strip(), text[cut:]


def _whole_words(text: str) -> str:
    """`text` without its last word, which may still grow (a boundary needs the space after it)."""
    cut = max(text.rfind(" "), text.rfind("\n"))
    return text[: cut + 1] if cut >= 0 else ""


def add_text(reply: Reply, text: str, config: ClauseConfig, *, done: bool) -> Reply:
    """The reply with more text; complete clauses are split off, ready for synthesis."""
    rest = reply.rest + text
    clauses = list(reply.clauses)
    while (taken := take_clause(rest, config, first=not clauses, done=done)) is not None:
        clause, rest = taken
        speakable = bool(words_of(clause))
        clauses.append(Clause(text=clause, whole=not speakable))
    if done:
        clauses = _without_unfinished(clauses, len(reply.clauses))
        rest = ""
    return replace(reply, rest=rest, clauses=tuple(clauses), text_done=done)


def cut_short(reply: Reply, config: ClauseConfig) -> Reply:
    """The reply with a clause of all whole words that fill none yet, if they are enough to go on with."""
    text = _whole_words(reply.rest)
    if len(words_of(text)) < config.hungry_words or _ABBREVIATED.search(text.rstrip()):
        return reply
    return replace(reply, clauses=(*reply.clauses, Clause(text=text.strip())), rest=reply.rest[len(text) :])


def _without_unfinished(clauses: list[Clause], old: int) -> list[Clause]:
    """Drop a sentence that the brain had no room to finish, unless part of it is being spoken or it is all there is."""
    keep = len(clauses)
    while keep > old and not clauses[keep - 1].text.endswith(_CLOSED):
        keep -= 1
    if keep and clauses[keep - 1].text.endswith(_CLOSED):
        return clauses[:keep]
    return clauses


def _audible(clauses: tuple[Clause, ...]) -> list[Clause]:
    """The clauses that can be played without a gap; the last may not be whole."""
    unfinished = next((i for i, clause in enumerate(clauses) if not clause.whole), len(clauses))
    return list(clauses[: unfinished + 1])


def spoken(reply: Reply, sound: Synthesised, config: ClauseConfig) -> Reply:
    """The reply with the sound of the clause that was asked for, behind the last piece the pause its punctuation wants."""
    clauses = list(reply.clauses)
    for i, clause in enumerate(clauses):
        if clause.ticket == sound.ticket:
            pieces = [clause.pcm[: sound.start], sound.pcm]
            if sound.done:
                pieces.append(_pause_after(clause.text, config))
            clauses[i] = replace(clause, pcm=np.concatenate(pieces), words=sound.words, whole=sound.done)
    return replace(reply, clauses=tuple(clauses))


def unspoken(reply: Reply, ticket: int, config: ClauseConfig) -> Reply:
    """The reply when the voice failed on the clause asked for as `ticket`: it ends with what there is of it."""
    clauses = list(reply.clauses)
    for i, clause in enumerate(clauses):
        if clause.ticket == ticket:
            words = tuple(word for word in clause.words if word.end_samples <= clause.pcm.size)
            text = " ".join(word.text for word in words) if clause.pcm.size else clause.text
            pcm = np.concatenate([clause.pcm, _pause_after(clause.text, config)])
            clauses[i] = replace(clause, text=text, pcm=pcm, words=words, whole=True)
    return replace(reply, clauses=tuple(clauses))


def _pause_after(text: str, config: ClauseConfig) -> Pcm:
    pause_s = config.sentence_pause_s if text.endswith(_SENTENCE_END) else 0.0
    pause_s = config.clause_pause_s if text.endswith((",", ";", ":")) else pause_s
    return np.zeros(samples_from_s(pause_s, VOICE_RATE_HZ), np.float32)


def audio_between(reply: Reply, start: int, stop: int) -> Pcm:
    """Samples [start, stop) of the reply; all of them must be available."""
    pieces: list[Pcm] = []
    offset = 0
    for clause in _audible(reply.clauses):
        if offset >= stop:
            break
        low, high = max(start - offset, 0), min(stop - offset, clause.pcm.size)
        if low < high:
            pieces.append(clause.pcm[low:high])
        offset += clause.pcm.size
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


def heard_text(reply: Reply, samples: int) -> str:
    """What a listener has understood after `samples`: words of which at least half was played."""
    said: list[str] = []
    offset = 0
    for clause in _audible(reply.clauses):
        if clause.whole and offset + clause.pcm.size <= samples:
            said.append(clause.text)
        else:
            said += [w.text for w in clause.words if offset + (w.start_samples + w.end_samples) // 2 < samples]
            break
        offset += clause.pcm.size
    return " ".join(said)


def word_ranges(reply: Reply) -> list[tuple[int, int]]:
    """[start, end) samples of every word that has its sound, counted from the start of the reply."""
    ranges: list[tuple[int, int]] = []
    offset = 0
    for clause in _audible(reply.clauses):
        ranges += [(offset + w.start_samples, offset + w.end_samples) for w in clause.words]
        offset += clause.pcm.size
    return ranges
