"""Tokenizers for training: the runtime model's own, so that no token is trained that is never asked for."""

from pathlib import Path

from fullduplex.base.errors import AssetError, MissingExtraError
from fullduplex.lm.engine import Engine
from fullduplex.lm.tune.examples import Tokenize

__all__ = ["gguf_tokenizer", "json_tokenizer"]


def gguf_tokenizer(file: Path) -> Tokenize:
    """llama.cpp's tokenizer of a GGUF file. Raises as `fullduplex.lm.engine.Engine`."""
    return Engine(file, threads=1, context=64, sequences=1).tokenize


def json_tokenizer(file: Path) -> Tokenize:
    """A Hugging Face tokenizer.json. Text that may not hold control tokens is encoded piece by piece around them.

    Raises:
        AssetError: no such file, or no tokenizer. MissingExtraError: `tokenizers` is not installed.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise MissingExtraError("tokenizers", "talk") from None
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception
        raise AssetError(f"{file} is no tokenizer ({error}); expected a tokenizer.json") from None

    def tokenize(text: str, special: bool) -> list[int]:
        # `encode_special_tokens` reads control strings in the text as ordinary characters.
        tokenizer.encode_special_tokens = not special
        return list(tokenizer.encode(text, add_special_tokens=False).ids)

    return tokenize
