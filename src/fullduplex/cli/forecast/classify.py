"""`fullduplex classify`: which class a series belongs to."""

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np

from fullduplex.base.errors import InputError
from fullduplex.forecast.chimera.classify import ChimeraClassifier, ClassifierConfig
from fullduplex.forecast.chimera.config import ChimeraConfig
from fullduplex.forecast.classify.cases import Cases, read_cases
from fullduplex.forecast.classify.confusion import count_confusions, draw_confusions

__all__ = ["main"]

_ABOUT = """\
Learns from labelled series which class a series belongs to, and names the class of others. A case is a series of one or
more channels; cases may differ in length. Files: .ts as in the UEA and UCR archives, or .csv with one row a step and the
columns case, label, and one for each channel.

  fullduplex classify JapaneseVowels_TEST.ts --train JapaneseVowels_TRAIN.ts --out out
  fullduplex classify --train gestures.csv --save gestures.ckpt    # only learn
  fullduplex classify new.csv --model gestures.ckpt                # only name

Where the file has labels, the share that was named right is printed, and out/confusion.png shows which classes were
taken for which. Settings should be chosen on a part of the training file, not on the file you report.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fullduplex classify", description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, nargs="?", help="cases to name")
    parser.add_argument("--train", type=Path, metavar="FILE", help="labelled cases to learn from")
    parser.add_argument("--model", type=Path, metavar="FILE", help="a classifier kept by --save, instead of learning")
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep the classifier there")
    parser.add_argument("--case", default="case", metavar="COLUMN", help="in a CSV: which case (default: case)")
    parser.add_argument("--label", default="label", metavar="COLUMN", help="in a CSV: which class (default: label)")
    training = parser.add_argument_group("training")
    training.add_argument("--width", type=int, default=16, metavar="D", help="features (default: 16)")
    training.add_argument("--epochs", type=int, default=60, metavar="N", help="passes over the cases (default: 60)")
    training.add_argument("--batch", type=int, default=16, metavar="N", help="cases of a step (default: 16)")
    training.add_argument("--rate", type=float, default=3e-3, metavar="R", help="learning rate (default: 0.003)")
    training.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write classes.csv and confusion.png there")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def main(argv: list[str]) -> int:
    """Learn, name, or both; exit status 0."""
    arguments = _parser().parse_args(argv)
    if (arguments.train is None) == (arguments.model is None):
        raise InputError(
            "give --train FILE to learn from cases, or --model FILE to use what --save kept; one of the two"
        )
    if arguments.file is None and arguments.save is None:
        raise InputError("give a file of cases to name, or --save FILE to keep what was learnt")
    classifier = _learnt(arguments) if arguments.model is None else _loaded(arguments.model)
    if arguments.save is not None:
        classifier.save(arguments.save)
    if arguments.file is None:
        if arguments.json:
            print(json.dumps({"classes": list(classifier.classes)}))
        return 0
    cases = read_cases(arguments.file, arguments.case, arguments.label)
    probabilities_NK = classifier.predict_proba(cases.values)
    named = [classifier.classes[int(index)] for index in probabilities_NK.argmax(axis=1)]
    right = None
    if cases.labels is not None:
        right = float(np.mean([mine == theirs for mine, theirs in zip(named, cases.labels, strict=True)]))
    if arguments.out is not None:
        _write(arguments.out, classifier.classes, cases, named, probabilities_NK.max(axis=1).tolist())
    _say(arguments, classifier.classes, cases, named, right)
    return 0


def _say(
    arguments: argparse.Namespace, classes: tuple[str, ...], cases: Cases, named: list[str], right: float | None
) -> None:
    if arguments.json:
        made = [{"case": case, "class": own} for case, own in zip(cases.names, named, strict=True)]
        print(json.dumps({"cases": len(named), "classes": list(classes), "accuracy": right, "named": made}))
        return
    for case, own in list(zip(cases.names, named, strict=True))[:20]:
        print(f"  {case:<20} {own}")
    if len(named) > 20:
        print(f"  and {len(named) - 20} more; --out writes all")
    if right is not None:
        print(f"{right:.1%} of {len(named)} cases named right")


def _loaded(path: Path) -> ChimeraClassifier:
    if not path.is_file():
        raise InputError(f"{path} is not a file; --model takes what --save wrote")
    return ChimeraClassifier.load(path)


def _learnt(arguments: argparse.Namespace) -> ChimeraClassifier:
    from tqdm import tqdm

    cases = read_cases(arguments.train, arguments.case, arguments.label)
    if cases.labels is None:
        raise InputError(f"{arguments.train.name} has no labels; --train needs the class of every case")
    config = ClassifierConfig(
        layer=ChimeraConfig(width=arguments.width, expand=1, order=4),
        num_epochs=arguments.epochs,
        batch_size=arguments.batch,
        peak_lr=arguments.rate,
        seed=arguments.seed,
    )
    with tqdm(total=config.num_epochs, unit=" epochs", file=sys.stderr, disable=None, leave=False) as bar:

        def report(_epoch: int, loss: float) -> None:
            bar.set_postfix_str(f"loss {loss:.3f}")
            bar.update()

        return ChimeraClassifier(config).fit(cases.values, cases.labels, report)


def _write(folder: Path, classes: tuple[str, ...], cases: Cases, named: list[str], sure: list[float]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "classes.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["case", "class", "probability", *(["label"] if cases.labels is not None else [])])
        for index, case in enumerate(cases.names):
            own = [case, named[index], f"{sure[index]:.4f}"]
            writer.writerow([*own, cases.labels[index]] if cases.labels is not None else own)
    if cases.labels is not None:
        counts_KK, names = count_confusions(cases.labels, named, classes)
        draw_confusions(folder / "confusion.png", counts_KK, names)
