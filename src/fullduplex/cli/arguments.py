"""Options that several commands share."""

import argparse
import logging
from typing import get_args

from fullduplex.lm.ultrachat.asides import side_questions
from fullduplex.lm.ultrachat.prompts import Part
from fullduplex.recipes.parts import BRAINS, TUNED, VOICES, PartsConfig

__all__ = ["add_logging", "add_parts", "add_side_questions", "parts_from", "side_questions_from", "start_logging"]

_LOG = logging.getLogger(__name__)


def add_parts(parser: argparse.ArgumentParser) -> None:
    """Which models to talk with."""
    group = parser.add_argument_group("models")
    group.add_argument(
        "--brain",
        default="small",
        metavar="NAME",
        help=f"{', '.join(BRAINS)} ({', '.join(BRAINS.values())}), {', '.join(TUNED)} (taught time slices), scripted "
        "(no model), any asset name, a .gguf file, or the URL of an OpenAI-compatible endpoint such as "
        "http://localhost:11434/v1",
    )
    group.add_argument("--brain-model", default="", metavar="NAME", help="model name, for an endpoint that has several")
    group.add_argument("--brain-api-key", default="", metavar="KEY", help="key, for an endpoint")
    group.add_argument("--voice", default="piper", choices=VOICES, help="piper is fast, kokoro sounds best")
    group.add_argument("--speaker", metavar="NAME", help="speaker of the kokoro voice (default: af_heart)")
    group.add_argument(
        "--threads",
        type=int,
        default=None,
        metavar="N",
        help="threads of brain and voice, up to 64; 0: as many as are free at the moment (the default when live, else 1)",
    )
    group.add_argument("--strict", action="store_true", help="a missing model is an error instead of a fallback")


def parts_from(arguments: argparse.Namespace, *, conversations: int = 1, live: bool = False) -> PartsConfig:
    """The configuration that the options describe. `live`: the wall clock counts, not processor time.

    Raises:
        ConfigError: a number of threads out of range.
    """
    threads = arguments.threads
    if threads is None:
        threads = 0 if live else 1
    if arguments.speaker is not None and arguments.voice != "kokoro":
        _LOG.warning(
            "--speaker %s is for --voice kokoro; the voice %s has one speaker", arguments.speaker, arguments.voice
        )
    return PartsConfig(
        brain=arguments.brain,
        brain_model=arguments.brain_model,
        brain_api_key=arguments.brain_api_key,
        voice=arguments.voice,
        speaker="af_heart" if arguments.speaker is None else arguments.speaker,
        threads=threads,
        conversations=conversations,
        strict=arguments.strict,
    )


def add_side_questions(parser: argparse.ArgumentParser) -> None:
    """Where side questions come from."""
    parser.add_argument(
        "--side-questions",
        choices=("none", *get_args(Part)),
        default="none",
        help="half of the side questions from a table of known answers, or all about what was said (none, the default)",
    )


def side_questions_from(arguments: argparse.Namespace) -> tuple[tuple[str, str], ...]:
    """The known side questions that the option names."""
    return () if arguments.side_questions == "none" else side_questions(arguments.side_questions)


def add_logging(parser: argparse.ArgumentParser) -> None:
    """How much to say about what is going on."""
    parser.add_argument("-v", "--verbose", action="store_true", help="say which parts were chosen and why")


def start_logging(arguments: argparse.Namespace) -> None:
    """Log to standard error."""
    level = logging.INFO if arguments.verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
