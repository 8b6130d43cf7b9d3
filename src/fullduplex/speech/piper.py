"""Piper voices (VITS, ONNX) without the GPL: phonemes come from our lexicon, durations from inside the model.

Kim et al. 2021 (2106.06103); the phoneme sequence is ^ _ p _ p _ ... $ as Piper trains it, `_` being the blank.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fullduplex.base.errors import AssetError, MissingExtraError, PortError
from fullduplex.numerics.signal import Pcm
from fullduplex.speech.english.phonemes import PhonemisedWord, Phonemiser, espeak_ipa, phonemise
from fullduplex.speech.onnx.graph import cut, with_output
from fullduplex.speech.onnx.session import open_model, require_file
from fullduplex.speech.voice import Speech, TimedWord, check_text, finish, finish_beginning, finish_rest

__all__ = ["PiperConfig", "PiperVoice", "espeak_words", "place_words"]

# Inner tensors as Piper's exporter names them: frames a phoneme lasts, and what the decoder makes sound of, (1, 192, frames).
_DURATIONS = "/Ceil_output_0"
_LATENT = "/Mul_7_output_0"
_CONTEXT_FRAMES = 10  # the decoder's sound at one frame depends on no frame further away (measured: 8 are too few)
_BEGINNING_S = 0.25  # of speech, in the first piece
_HOP_SAMPLES = 256
_PAD, _BEGIN, _END, _SPACE = "_", "^", "$", " "

ToWords = Callable[[str], tuple[PhonemisedWord, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PiperConfig:
    """How a Piper voice speaks. Both noises at 0 make the same text the same sound every time, a little flatter."""

    noise_scale: float = 0.667  # variation of the sound
    noise_w: float = 0.8  # variation of the rhythm
    length_scale: float = 1.0  # more than 1 is slower
    threads: int = 1


class PiperVoice:
    """A Piper voice, one speaker. Holds no state: safe to share between threads."""

    def __init__(
        self,
        model_path: Path | str,
        config_path: Path | str,
        lexicon: Phonemiser,
        config: PiperConfig = PiperConfig(),
        *,
        to_words: ToWords | None = None,
    ) -> None:
        """Open the voice.

        Args:
            model_path, config_path: the .onnx file and its .onnx.json.
            lexicon: says how words are said.
            config: noise, speed and threads.
            to_words: another way from text to phonemes, such as `espeak_words()`; None uses the lexicon.

        Raises: AssetError, MissingExtraError.
        """
        path = require_file(config_path)
        try:
            described: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            self._rate_hz = int(described["audio"]["sample_rate"])
            self._ids = {symbol: int(ids[0]) for symbol, ids in described["phoneme_id_map"].items()}
            blank_begin_end = [self._ids[symbol] for symbol in (_PAD, _BEGIN, _END)]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise AssetError(f"{path} does not describe a Piper voice ({error!r}); fetch it again") from error
        self._pad, self._begin, self._end = blank_begin_end
        thinking, sounding = cut(require_file(model_path).read_bytes(), _LATENT, rank=3)
        self._thinking = open_model(with_output(thinking, _DURATIONS), num_threads=config.threads)
        self._sounding = open_model(sounding, num_threads=config.threads)
        self._scales = np.array([config.noise_scale, config.length_scale, config.noise_w], np.float32)
        self._to_words = to_words or (lambda text: phonemise(text, lexicon, espeak_ipa))

    def speak(self, text: str) -> Speech:
        """`text` as sound with exact word places (the model's own durations).

        Raises: InputError when the text is too long; PortError when the model returns no sound.
        """
        latent, words = self._think(text)
        return finish(self._sound(latent, text), self._rate_hz, words)

    def pieces(self, text: str) -> Iterator[tuple[Speech, bool]]:
        """The same sound as `speak`, up to its level, in two pieces: the first quarter of a second of speech, and the rest.

        The decoder is convolutional: run on a part of the frames and ten more on the side, it gives the same samples as run
        on all. Raises: as `speak`.
        """
        latent, words = self._think(text)
        said = next((word for word in words if word.end_s > word.start_s), None)
        first = int(((said.start_s if said else 0.0) + _BEGINNING_S) * self._rate_hz / _HOP_SAMPLES)
        if latent.shape[2] <= first + 2 * _CONTEXT_FRAMES:
            yield finish(self._sound(latent, text), self._rate_hz, words), True
            return
        beginning = self._sound(latent[:, :, : first + _CONTEXT_FRAMES], text)[: first * _HOP_SAMPLES]
        speech, joint = finish_beginning(beginning, self._rate_hz, words)
        yield speech, False
        rest = self._sound(latent[:, :, first - _CONTEXT_FRAMES :], text)[_CONTEXT_FRAMES * _HOP_SAMPLES :]
        yield finish_rest(np.concatenate([beginning, rest]), self._rate_hz, words, joint), True

    def _think(self, text: str) -> tuple[Pcm, list[TimedWord]]:
        """What the decoder makes sound of, (1, channels, frames), no frames when nothing is said; and the words' places."""
        words = self._to_words(check_text(text))
        ids, owners = self._sequence(words)
        if not any(owner >= 0 for owner in owners):
            return np.zeros((1, 0, 0), np.float32), [TimedWord(word.text, 0, 0) for word in words]
        latent, frames = self._thinking.run(
            None,
            {
                "input": np.array([ids], np.int64),
                "input_lengths": np.array([len(ids)], np.int64),
                "scales": self._scales,
            },
        )
        ends_s = np.cumsum(np.asarray(frames).reshape(-1)) * _HOP_SAMPLES / self._rate_hz
        return np.asarray(latent, np.float32), place_words(words, owners, ends_s.tolist())

    def _sound(self, latent: Pcm, text: str) -> Pcm:
        if latent.size == 0:
            return np.zeros(0, np.float32)
        pcm = np.asarray(self._sounding.run(None, {_LATENT: latent})[0], np.float32).reshape(-1)
        if pcm.size == 0 or not np.isfinite(pcm).all():
            raise PortError(f"the voice returned no usable sound for {text!r}; expected finite samples")
        return pcm

    def _sequence(self, words: tuple[PhonemisedWord, ...]) -> tuple[list[int], list[int]]:
        """Symbol ids, and for each the index of the word it sounds for (-1: blank, space or pause)."""
        ids, owners = [self._begin, self._pad], [-1, -1]
        for index, word in enumerate(words):
            said = [(symbol, index) for symbol in word.phonemes]
            symbols = [*said, *((mark, -1) for mark in word.pause), (_SPACE, -1)] if said or word.pause else []
            for symbol, owner in symbols:
                if symbol in self._ids:
                    ids += [self._ids[symbol], self._pad]
                    owners += [owner, owner]
        while len(ids) > 2 and ids[-2] == self._ids.get(_SPACE):
            del ids[-2:], owners[-2:]
        return [*ids, self._end], [*owners, -1]


def place_words(words: tuple[PhonemisedWord, ...], owners: list[int], ends_s: list[float]) -> list[TimedWord]:
    """Words in time, from the end of every symbol. A silent word lies, empty, where the word before it ends."""
    starts_s = [0.0, *ends_s[:-1]]
    first: dict[int, float] = {}
    last: dict[int, float] = {}
    for owner, start_s, end_s in zip(owners, starts_s, ends_s, strict=True):
        if owner >= 0:
            first.setdefault(owner, start_s)
            last[owner] = end_s
    placed: list[TimedWord] = []
    at_s = 0.0
    for index, word in enumerate(words):
        start_s = first.get(index, at_s)
        at_s = last.get(index, at_s)
        placed.append(TimedWord(word.text, start_s, at_s))
    return placed


def espeak_words(voice: str = "en-us") -> ToWords:
    """Phonemes from espeak-ng inside piper-tts (GPL-3.0-or-later), for those who install the `espeak` extra.

    Every written word is said on its own, so that its place is known. Raises: MissingExtraError.
    """
    try:
        from piper.phonemize_espeak import EspeakPhonemizer  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtraError("piper-tts", "espeak") from error
    phonemizer: Any = EspeakPhonemizer()

    def to_words(text: str) -> tuple[PhonemisedWord, ...]:
        from fullduplex.speech.english.words import spoken

        items = []
        for item in spoken(text):
            sentences = phonemizer.phonemize(voice, " ".join(item.words)) if item.words else []
            items.append(PhonemisedWord(item.text, " ".join("".join(part) for part in sentences), item.pause))
        return tuple(items)

    return to_words
