"""`fullduplex ssm keywords` and `rate`: recordings for the keyword task, and a trained run at another sample rate."""

import argparse
import json
from pathlib import Path
from typing import Any

__all__ = ["add_keywords", "add_rate"]

_Jobs = Any  # argparse does not name the type of what add_subparsers returns


def add_keywords(jobs: _Jobs) -> None:
    """The job that makes recordings."""
    keywords = jobs.add_parser(
        "keywords",
        help="make recordings for the task keywords",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="A synthetic voice says seven short words in many ways: another rendition, speed, shift and noise each "
        "time, 16 kHz.\nThe same words of four other synthetic speakers go to DIR/others. Needs the voice:\n\n"
        "  fullduplex assets get piper-joe english-lexicon\n"
        "  fullduplex ssm keywords words\n"
        "  fullduplex ssm train --layer s4d-lin --task keywords --data words --batch 8 --steps 120 --out run\n"
        "  fullduplex ssm rate run --data words\n\n"
        "Stopped with Ctrl-C, the same line goes on: recordings that are there stay.",
    )
    keywords.add_argument("out", type=Path, metavar="DIR", help="folder to fill: {train,val,test}/WORD/NNN.wav")
    keywords.add_argument(
        "--renditions", type=int, nargs=3, default=(60, 10, 20), metavar=("TRAIN", "VAL", "TEST"),
        help="of each word (default: 60 10 20)",
    )  # fmt: skip
    keywords.add_argument("--seed", type=int, default=0, help="of speeds, shifts and noise (default: 0)")
    keywords.add_argument("--json", action="store_true", help="print one JSON object")
    keywords.set_defaults(run=_keywords)


def add_rate(jobs: _Jobs) -> None:
    """The job that reads recordings at another rate than was trained on."""
    rate = jobs.add_parser(
        "rate",
        help="a keyword run on recordings of another sample rate, without training",
        description="Read the test recordings at another sample rate with every step stretched to fit (16 kHz to 8 kHz: "
        "doubled), beside the same recordings with nothing changed and at the rate of training. "
        "The layers that learn their steps from the input (mamba, mamba2) have nothing to stretch.",
    )
    rate.add_argument("folder", type=Path, metavar="RUN", help="a folder of `ssm train --task keywords`")
    rate.add_argument("--data", type=Path, required=True, metavar="DIR", help="the recordings it was trained on")
    rate.add_argument("--to", type=int, metavar="HZ", help="the other rate (default: half that of the recordings)")
    rate.add_argument("--json", action="store_true", help="print one JSON object")
    rate.set_defaults(run=_rate)


def _keywords(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from fullduplex.recipes.keywords import make_keywords

    renditions = (arguments.renditions[0], arguments.renditions[1], arguments.renditions[2])
    with tqdm(unit="recording", disable=None) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        words = make_keywords(arguments.out, renditions=renditions, seed=arguments.seed, report=show)
    found = {"words": words, "renditions": renditions, "seed": arguments.seed, "folder": str(arguments.out)}
    if arguments.json:
        print(json.dumps(found))
        return 0
    print(
        f"{len(words)} words ({', '.join(words)}), {sum(renditions)} recordings of each: {arguments.out}\n"
        f"next: fullduplex ssm train --layer s4d-lin --task keywords --data {arguments.out} --batch 8 --out run"
    )
    return 0


def _rate(arguments: argparse.Namespace) -> int:
    from fullduplex.ssm.tasks.rate import read_at_rate

    found = read_at_rate(arguments.folder, arguments.data, new_rate_hz=arguments.to)
    if arguments.json:
        print(json.dumps(found))
        return 0
    stretched = "nothing to stretch" if found["stretched"] is None else f"{found['stretched']:.4f} with steps stretched"
    others = (
        ""
        if found["other_speakers"] is None
        else f"\nother speakers, {found['rate_hz']} Hz: {found['other_speakers']:.4f}"
    )
    print(
        f"{found['layer']}: accuracy {found['same_rate']:.4f} at {found['rate_hz']} Hz\n"
        f"at {found['new_rate_hz']} Hz: {stretched}, {found['unchanged']:.4f} with nothing changed, "
        f"{found['chance']:.4f} by guessing{others}"
    )
    return 0
