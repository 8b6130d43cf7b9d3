"""`fullduplex tune`: teach a chat model time slices, look at what it learnt, write it for llama.cpp."""

import argparse
from importlib import import_module
from pathlib import Path

from fullduplex.cli.arguments import add_logging, add_side_questions, start_logging
from fullduplex.dialogue.desk import DEFAULT_SYSTEM
from fullduplex.lm.behaviour.trials import WORDS_OF_SLICE
from fullduplex.recipes.parts import BRAINS

__all__ = ["main"]

_EXAMPLES = """examples:
  fullduplex data distill chats.jsonl --count 400
  fullduplex data build chats.jsonl duplex.jsonl --mix ours
  fullduplex tune run --data duplex.jsonl --out runs/small --steps 300
  fullduplex tune average runs/a/adapter.safetensors runs/b/adapter.safetensors --out mean.safetensors
  fullduplex tune check --data held-out.jsonl --adapter runs/small/adapter.safetensors
  fullduplex tune export --adapter runs/small/adapter.safetensors --gguf small-duplex.gguf
  fullduplex talk --policy tdm --brain small-duplex.gguf"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fullduplex tune",
        description="Fine-tune a Llama-architecture chat model on time-sliced dialogues (arXiv:2406.15718), so that it "
        "hears while it speaks: low-rank factors by default, all weights with --full.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    jobs = parser.add_subparsers(dest="job", required=True, metavar="run|check|average|examine|ability|export|student")
    run = jobs.add_parser("run", help="train", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    _add_model(run)
    run.add_argument("--data", type=Path, required=True, metavar="DUPLEX.jsonl", help="from: fullduplex data build")
    run.add_argument(
        "--chats",
        type=Path,
        metavar="CHAT.jsonl",
        help="ordinary chats mixed in, so that the model keeps its abilities",
    )
    run.add_argument(
        "--held-out", type=Path, metavar="DUPLEX.jsonl", help="looked at during training, never trained on"
    )
    run.add_argument("--out", type=Path, required=True, metavar="DIR", help="checkpoint, log, adapter, manifest")
    run.add_argument("--steps", type=int, default=300, metavar="N", help="optimiser steps")
    run.add_argument("--batch", type=int, default=4, metavar="ROWS", help="rows of a step")
    run.add_argument("--row-tokens", type=int, default=1024, metavar="N", help="tokens of a row")
    run.add_argument("--lr", type=float, default=1e-3, help="peak learning rate (Warmup-Stable-Decay)")
    run.add_argument("--idle-weight", type=float, default=0.5, help="what <idle> counts in the loss, 0 to 1")
    run.add_argument("--rank", type=int, default=16, metavar="R", help="rank of the factors")
    run.add_argument("--alpha", type=float, default=32.0, help="scale of the factors is alpha / rank")
    run.add_argument("--full", action="store_true", help="train all weights instead of factors")
    run.add_argument("--precision", choices=("bfloat16", "float32"), default="bfloat16", help="of the frozen weights")
    run.add_argument("--evaluate-every", type=int, default=50, metavar="STEPS", help="0: never")
    run.add_argument("--seed", type=int, default=0, help="order of the data, factors")
    run.add_argument("--start", type=Path, metavar="FILE", help="adapter.safetensors to begin with instead of none")
    run.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    check = jobs.add_parser("check", help="held-out loss and idle decisions of a model, with an adapter or without")
    _add_model(check)
    check.add_argument(
        "--data", type=Path, required=True, metavar="DUPLEX.jsonl", help="dialogues it was not trained on"
    )
    check.add_argument("--adapter", type=Path, metavar="FILE", help="adapter.safetensors of a run")
    check.add_argument("--limit", type=int, metavar="N", help="only the first N dialogues")
    average = jobs.add_parser("average", help="one adapter from several that began as the same one (run --start)")
    average.add_argument("adapters", type=Path, nargs="+", metavar="FILE", help="adapter.safetensors of the runs")
    average.add_argument("--out", type=Path, required=True, metavar="FILE", help="the adapter to write")
    average.add_argument("--json", action="store_true", help="print JSON instead of text")
    add_logging(average)
    export = jobs.add_parser("export", help="fold an adapter in and write the model")
    _add_model(export)
    export.add_argument("--adapter", type=Path, metavar="FILE", help="adapter.safetensors of a run")
    export.add_argument("--gguf", type=Path, metavar="FILE", help="for llama.cpp; needs a .gguf as --model")
    export.add_argument("--kind", choices=("q8_0", "f16", "f32"), default="q8_0", help="numbers in the .gguf")
    export.add_argument("--safetensors", type=Path, metavar="DIR", help="Hugging Face layout")
    _add_examine(jobs.add_parser("examine", help="does it wait, stop, answer what was asked last, and come back?"))
    _add_student(jobs.add_parser("student", help="distil a state-space model (Mamba-2 in place of attention)"))
    ability = jobs.add_parser("ability", help="what tuning cost: perplexity of ordinary chats and small quizzes")
    _add_model(ability)
    ability.add_argument("--chats", type=Path, required=True, metavar="CHAT.jsonl", help="not trained on")
    ability.add_argument("--adapter", type=Path, required=True, metavar="FILE", help="adapter.safetensors of a run")
    return parser


def _add_student(student: argparse.ArgumentParser) -> None:
    student.add_argument(
        "--teacher", default="small-duplex", metavar="NAME", help="a name or a .gguf (default: small-duplex)"
    )
    student.add_argument("--data", type=Path, required=True, metavar="DUPLEX.jsonl", help="from: fullduplex data build")
    student.add_argument("--chats", type=Path, metavar="CHAT.jsonl", help="ordinary chats mixed in")
    student.add_argument(
        "--held-out", type=Path, metavar="DUPLEX.jsonl", help="looked at at the end, never learnt from"
    )
    student.add_argument("--out", type=Path, required=True, metavar="DIR", help="checkpoints, log, student, manifest")
    student.add_argument("--layer-steps", type=int, default=200, metavar="N", help="each layer alone (default: 200)")
    student.add_argument("--steps", type=int, default=200, metavar="N", help="the whole (default: 200)")
    student.add_argument("--batch-tokens", type=int, default=2048, metavar="N", help="tokens of a step (default: 2048)")
    student.add_argument("--row-tokens", type=int, default=512, metavar="N", help="longest conversation (default: 512)")
    student.add_argument("--rank", type=int, default=24, metavar="R", help="of the low-rank changes (default: 24)")
    student.add_argument("--system", default=DEFAULT_SYSTEM, metavar="TEXT", help="system message of every dialogue")
    student.add_argument("--seed", type=int, default=0, help="order of the data, factors (default: 0)")
    student.add_argument("--resume", action="store_true", help="go on from what is in --out")
    student.add_argument("--json", action="store_true", help="print JSON instead of text")
    add_logging(student)


def _add_examine(examine: argparse.ArgumentParser) -> None:
    examine.add_argument(
        "--brain", default="small-duplex", metavar="NAME", help="a name or a .gguf (default: small-duplex)"
    )
    examine.add_argument("--chats", type=Path, required=True, metavar="CHAT.jsonl", help="not trained on")
    examine.add_argument(
        "--facts", type=Path, metavar="FACTS.jsonl", help="from: fullduplex data facts --part held-out"
    )
    examine.add_argument(
        "--slice", type=float, default=2.0, choices=sorted(WORDS_OF_SLICE), help="seconds (default: 2)"
    )
    add_side_questions(examine)
    examine.add_argument(
        "--judge",
        default="small",
        metavar="NAME",
        help="an untuned model that says whether it came back to the topic; none: by shared words alone (default: small)",
    )
    examine.add_argument(
        "--skip", type=int, default=0, metavar="N", help="leave out the first N chats and dialogues of facts"
    )
    examine.add_argument("--limit", type=int, metavar="N", help="only the first N chats and N dialogues of facts")
    examine.add_argument("--threads", type=int, default=1, metavar="N", help="default: 1")
    examine.add_argument("--system", default=DEFAULT_SYSTEM, metavar="TEXT", help="system message")
    examine.add_argument("--seed", type=int, default=0, help="where answers are broken into (default: 0)")
    examine.add_argument("--json", action="store_true", help="print JSON")
    add_logging(examine)


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        default="small",
        metavar="NAME",
        help=f"{', '.join(BRAINS)}, an asset name, a .gguf file or a Hugging Face folder, of architecture llama",
    )
    parser.add_argument("--system", default=DEFAULT_SYSTEM, metavar="TEXT", help="system message of every dialogue")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    add_logging(parser)


def main(argv: list[str]) -> int:
    """Run one job; exit status 0."""
    arguments = _parser().parse_args(argv)
    start_logging(arguments)
    if arguments.job == "examine":
        module, function = import_module("fullduplex.cli.tune.examine"), "run"
    elif arguments.job == "student":
        module, function = import_module("fullduplex.cli.tune.student"), "run"
    else:
        module, function = import_module("fullduplex.cli.tune.training"), arguments.job
    return int(getattr(module, function)(arguments))
