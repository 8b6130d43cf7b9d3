"""Kokoro-82M: the slower, better voice. StyleTTS 2 in ONNX (Apache-2.0), many speakers, 24 kHz.

A voice file is a table of style vectors, one for each length of the phoneme sequence: float32 (510, 1, 256).
"""

import json
from pathlib import Path

import numpy as np

from fullduplex.base.errors import AssetError, InputError, PortError
from fullduplex.base.units import VOICE_RATE_HZ
from fullduplex.speech.english.phonemes import Phonemiser, phonemise
from fullduplex.speech.onnx.graph import with_output
from fullduplex.speech.onnx.session import open_model, require_file
from fullduplex.speech.piper import place_words
from fullduplex.speech.voice import Speech, TimedWord, check_text, finish

__all__ = ["KokoroVoice"]

_DURATIONS = "/encoder/Clip_output_0"  # frames a symbol lasts, before alignment
_FRAME_SAMPLES = 600  # 25 ms
_STYLE = 256
_MAX_SYMBOLS = 510


class KokoroVoice:
    """Kokoro with one speaker. Holds no state: safe to share between threads."""

    def __init__(
        self,
        model_path: Path | str,
        voice_path: Path | str,
        vocab_path: Path | str,
        lexicon: Phonemiser,
        *,
        speed: float = 1.0,
    ) -> None:
        """Open the model (.onnx), a speaker (.bin) and the symbol table (.json).

        Raises: AssetError, MissingExtraError; InputError when `speed` is not within 0.5 to 2.
        """
        if not 0.5 <= speed <= 2.0:
            raise InputError(f"speed is {speed}; expected 0.5 to 2")
        style = np.fromfile(require_file(voice_path), dtype="<f4")
        if style.size == 0 or style.size % _STYLE or not np.isfinite(style).all():
            raise AssetError(f"{voice_path} holds {style.size} numbers; expected rows of {_STYLE}: fetch it again")
        self._style = style.reshape(-1, _STYLE)
        path = require_file(vocab_path)
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
            self._ids = {str(symbol): int(number) for symbol, number in table["vocab"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise AssetError(f"{path} is no Kokoro symbol table ({error!r}); fetch it again") from error
        self._session = open_model(with_output(require_file(model_path).read_bytes(), _DURATIONS))
        self._speed = np.array([speed], np.float32)
        self._lexicon = lexicon

    def speak(self, text: str) -> Speech:
        """`text` as sound with word places from the model's durations.

        Raises: InputError when the text is too long; PortError when the model returns no sound.
        """
        words = phonemise(check_text(text), self._lexicon)
        ids, owners = [0], [-1]
        for index, word in enumerate(words):
            marks = [*((symbol, index) for symbol in word.phonemes), *((mark, -1) for mark in word.pause)]
            for symbol, owner in [*marks, (" ", -1)] if marks else []:
                if symbol in self._ids:
                    ids.append(self._ids[symbol])
                    owners.append(owner)
        if not any(owner >= 0 for owner in owners):
            return finish(np.zeros(0, np.float32), VOICE_RATE_HZ, [TimedWord(word.text, 0, 0) for word in words])
        if len(ids) > _MAX_SYMBOLS:
            raise InputError(f"text has {len(ids)} phonemes; expected at most {_MAX_SYMBOLS}: cut it into clauses")
        style = self._style[min(len(ids) - 1, len(self._style) - 1)]
        sound, frames = self._session.run(
            None, {"tokens": np.array([[*ids, 0]], np.int64), "style": style[np.newaxis], "speed": self._speed}
        )
        pcm = np.asarray(sound, np.float32).reshape(-1)
        if pcm.size == 0 or not np.isfinite(pcm).all():
            raise PortError(f"the voice returned no usable sound for {text!r}; expected finite samples")
        ends_s = np.cumsum(np.asarray(frames).reshape(-1)) * _FRAME_SAMPLES / VOICE_RATE_HZ
        return finish(pcm, VOICE_RATE_HZ, place_words(words, [*owners, -1], ends_s.tolist()))
