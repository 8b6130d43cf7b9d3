"""How an unknown word is probably said: a letter-to-sound GRU in NumPy.

The weights are those of g2p_en (Park and Kim 2018, Apache-2.0): an encoder GRU over letters and a greedy decoder GRU
over ARPAbet phonemes, PyTorch's gate order (reset, update, new).

Axes: H hidden units, E embedding.
"""

from functools import lru_cache
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import AssetError
from fullduplex.speech.onnx.session import require_file

__all__ = ["Guess"]

_LETTERS = ("<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz")
_VOWELS = "AA AE AH AO AW AY".split(), "EH ER EY".split(), "IH IY".split(), "OW OY".split(), ["UH"]
_START, _END = 2, 3
_MAX_PHONEMES = 24

# ARPAbet to the lexicon's symbols (International Phonetic Alphabet with one letter for a diphthong).
_SYMBOLS = {
    "AA": "ɑ", "AE": "æ", "AH": "ʌ", "AO": "ɔ", "AW": "W", "AY": "I", "B": "b", "CH": "ʧ", "D": "d", "DH": "ð",
    "EH": "ɛ", "ER": "ɜɹ", "EY": "A", "F": "f", "G": "ɡ", "HH": "h", "IH": "ɪ", "IY": "i", "JH": "ʤ", "K": "k",
    "L": "l", "M": "m", "N": "n", "NG": "ŋ", "OW": "O", "OY": "Y", "P": "p", "R": "ɹ", "S": "s", "SH": "ʃ", "T": "t",
    "TH": "θ", "UH": "ʊ", "UW": "u", "V": "v", "W": "w", "Y": "j", "Z": "z", "ZH": "ʒ",
}  # fmt: skip
_UNSTRESSED = {"AH": "ə", "ER": "əɹ"}
_STRESS = {"0": "", "1": "ˈ", "2": "ˌ"}


def _phoneme_table() -> tuple[str, ...]:
    """The decoder's vocabulary in the order of the weights."""
    stressed = [[f"{vowel}{level}" for vowel in group for level in "012"] for group in _VOWELS]
    first, second, third, fourth, fifth = stressed
    return (
        *("<pad>", "<unk>", "<s>", "</s>", *first, "B", "CH", "D", "DH", *second, "F", "G", "HH", *third),
        *("JH", "K", "L", "M", "N", "NG", *fourth, "P", "R", "S", "SH", "T", "TH", *fifth),
        *("UW", "UW0", "UW1", "UW2", "V", "W", "Y", "Z", "ZH"),
    )


class Guess:
    """Letter-to-sound for words that no dictionary holds. Opens its file at the first unknown word."""

    def __init__(self, path: Path | str) -> None:
        """`path`: the .npz checkpoint. Raises: AssetError when it is absent."""
        self._path = require_file(path)
        self._weights: dict[str, NDArray[np.float32]] = {}
        self._phonemes = _phoneme_table()
        self._cached = lru_cache(maxsize=4096)(self._pronounce)

    def __call__(self, word: str) -> str:
        """The likely pronunciation of `word` (letters a to z) in the lexicon's symbols."""
        return self._cached(word.lower())

    def _pronounce(self, word: str) -> str:
        weights = self._load()
        hidden = np.zeros(weights["enc_w_hh"].shape[1], np.float32)
        for letter in [*word, "</s>"]:
            index = _LETTERS.index(letter) if letter in _LETTERS else 1
            hidden = _gru(weights, "enc", weights["enc_emb"][index], hidden)
        said: list[str] = []
        index = _START
        for _ in range(_MAX_PHONEMES):
            hidden = _gru(weights, "dec", weights["dec_emb"][index], hidden)
            index = int(np.argmax(weights["fc_w"] @ hidden + weights["fc_b"]))
            if index == _END:
                break
            said.append(self._phonemes[index])
        return "".join(_symbol(phoneme) for phoneme in said)

    def _load(self) -> dict[str, NDArray[np.float32]]:
        if not self._weights:
            try:
                with self._path.open("rb") as file, np.load(file) as archive:
                    weights = {name: np.asarray(archive[name], np.float32) for name in archive.files}
                if weights["fc_w"].shape[0] != len(self._phonemes):
                    raise ValueError(f"{weights['fc_w'].shape[0]} phonemes")
            except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
                raise AssetError(f"{self._path} is no letter-to-sound checkpoint ({error}); fetch it again") from error
            self._weights = weights
        return self._weights


def _gru(
    weights: dict[str, NDArray[np.float32]], part: str, x_E: NDArray[np.float32], hidden_H: NDArray[np.float32]
) -> NDArray[np.float32]:
    """One step of a GRU cell."""
    from_x = weights[f"{part}_w_ih"] @ x_E + weights[f"{part}_b_ih"]
    from_h = weights[f"{part}_w_hh"] @ hidden_H + weights[f"{part}_b_hh"]
    reset_x, update_x, new_x = np.split(from_x, 3)
    reset_h, update_h, new_h = np.split(from_h, 3)
    reset = 1 / (1 + np.exp(-(reset_x + reset_h)))
    update = 1 / (1 + np.exp(-(update_x + update_h)))
    return np.asarray((1 - update) * np.tanh(new_x + reset * new_h) + update * hidden_H, np.float32)


def _symbol(phoneme: str) -> str:
    base, stress = (phoneme[:-1], phoneme[-1]) if phoneme[-1].isdigit() else (phoneme, "")
    if stress == "0" and base in _UNSTRESSED:
        return _UNSTRESSED[base]
    return _STRESS.get(stress, "") + _SYMBOLS.get(base, "")
