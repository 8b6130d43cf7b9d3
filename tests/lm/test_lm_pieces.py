"""Pieces of text: whole characters, no stop strings."""

from hypothesis import given
from hypothesis import strategies as st

from fullduplex.lm.pieces import PieceAssembler


def bytes_of(tokens: list[int]) -> str:
    """A vocabulary of bytes."""
    return bytes(tokens).decode("utf-8", "replace")


def pieces(text: bytes, *stop: str) -> list[str]:
    assembler = PieceAssembler(bytes_of, stop)
    out = [assembler.push(token) for token in text]
    return [*out, assembler.flush()]


@given(st.text())
def test_every_piece_is_whole_and_nothing_is_lost(text: str) -> None:
    out = pieces(text.encode())
    assert "".join(out) == text
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(out) or "\N{REPLACEMENT CHARACTER}" in text


@given(st.text(alphabet="ab"), st.lists(st.text(alphabet="ab", min_size=1, max_size=3), max_size=3))
def test_stops_where_a_search_of_the_whole_text_would(text: str, stop: list[str]) -> None:
    """Independent statement: the text ends before the first stop string that is complete in it."""
    ends = [(text.find(word) + len(word), text.find(word)) for word in stop if word in text]
    expected = text
    if ends:
        complete = min(ends)[0]
        expected = text[: min(start for end, start in ends if end == complete)]
    assert "".join(pieces(text.encode(), *stop)) == expected


def test_an_unfinished_character_is_left_out() -> None:
    assert "".join(pieces("a🙂".encode()[:-1])) == "a"


def test_nothing_comes_after_a_stop() -> None:
    assembler = PieceAssembler(bytes_of, ("b",))
    assert [assembler.push(ord(letter)) for letter in "abc"] == ["a", "", ""]
    assert assembler.stopped
    assert assembler.flush() == ""
