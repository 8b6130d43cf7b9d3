"""`fullduplex data`: duplex training data out of chats, and chats out of chat models."""

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import cast, get_args

from tqdm import tqdm

from fullduplex.base.errors import InputError
from fullduplex.base.slices import IDLE
from fullduplex.cli.arguments import add_parts, add_side_questions, parts_from, side_questions_from
from fullduplex.lm.ultrachat.build import OURS_MIX, PAPER_MIX, BuildConfig, Built, read_built, write_build
from fullduplex.lm.ultrachat.cut import CutConfig, rough_pieces, tokenizer_pieces
from fullduplex.lm.ultrachat.dialogues import read_dialogues
from fullduplex.lm.ultrachat.distill import DistillConfig, distill, read_prompts
from fullduplex.lm.ultrachat.facts import fact_dialogues
from fullduplex.lm.ultrachat.kinds import KINDS, Kind, KindConfig
from fullduplex.lm.ultrachat.prompts import Part, num_prompts, prompts
from fullduplex.lm.ultrachat.report import BuildReport
from fullduplex.lm.ultrachat.rewrite import BrainRewriter, TemplateRewriter
from fullduplex.recipes.parts import open_brain
from fullduplex.recipes.yardstick.report import plain

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fullduplex data",
        description="Duplex-UltraChat's recipe (arXiv:2406.15718) for any chat data: dialogues cut into time slices, with "
        "users who break in, change their mind or the subject. Templates alone by default; a model can write instead.",
    )
    jobs = parser.add_subparsers(dest="job", required=True, metavar="build|stats|show|distill|facts")
    build = jobs.add_parser(
        "build",
        help="chat JSONL to duplex JSONL",
        description="One chat a line: messages (role, content), conversations (from, value) or data (texts in turn).",
    )
    build.add_argument("source", type=Path, metavar="CHAT.jsonl")
    build.add_argument("out", type=Path, metavar="DUPLEX.jsonl")
    build.add_argument("--mix", default="paper", metavar="MIX", help=f"paper, ours, or {KINDS[0]}=2,{KINDS[1]}=1,…")
    build.add_argument("--copies", type=int, default=1, metavar="N", help="dialogues out for one in (default: 1)")
    build.add_argument("--limit", type=int, metavar="N", help="stop after N dialogues")
    build.add_argument("--seed", type=int, default=0, help="all chance comes from it (default: 0)")
    build.add_argument("--words", default="4,6", metavar="LOW,HIGH", help="words of a user slice (default: 4,6)")
    build.add_argument("--tokens", type=int, default=10, metavar="N", help="tokens of a machine slice (default: 10)")
    build.add_argument("--tokenizer", type=Path, metavar="JSON", help="a model's tokenizer.json (default: an estimate)")
    build.add_argument("--hesitate", type=float, default=0.0, metavar="P", help="chance of a pause between user slices")
    add_side_questions(build)
    build.add_argument("--layout", choices=("pairs", "messages"), default="pairs", help="default: pairs")
    build.add_argument("--rewrite", choices=("templates", "brain"), default="templates", help="who writes transitions")
    build.add_argument("--resume", action="store_true", help="go on where the file ends")
    build.add_argument("--skip-bad", action="store_true", help="pass over broken lines; each is reported")
    build.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    add_parts(build)
    stats = jobs.add_parser("stats", help="count a build, beside the paper's table")
    stats.add_argument("file", type=Path, metavar="DUPLEX.jsonl")
    stats.add_argument("--json", action="store_true", help="print one JSON object")
    show = jobs.add_parser("show", help="read dialogues slice by slice")
    show.add_argument("file", type=Path, metavar="DUPLEX.jsonl")
    show.add_argument("--kind", choices=KINDS, help="only of this kind")
    show.add_argument("--skip", type=int, default=0, metavar="N", help="pass over N of them")
    show.add_argument("--count", type=int, default=1, metavar="N", help="how many (default: 1)")
    _add_distill(jobs.add_parser("distill", help="ask a chat model and keep the dialogues"))
    facts = jobs.add_parser("facts", help="dialogues whose right answers are known to the word: no model needed")
    facts.add_argument("out", type=Path, metavar="CHAT.jsonl")
    facts.add_argument("--count", type=int, default=100, metavar="N", help="default: 100")
    facts.add_argument(
        "--part", choices=get_args(Part), default="all", help="training and held-out share no word asked for"
    )
    facts.add_argument("--seed", type=int, default=0, help="default: 0")
    facts.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _add_distill(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, metavar="CHAT.jsonl")
    parser.add_argument("--prompts", type=Path, metavar="FILE", help='one a line, or JSONL with "prompt"')
    parser.add_argument(
        "--count", type=int, default=100, metavar="N", help=f"how many of the built-in {num_prompts()} (default: 100)"
    )
    parser.add_argument(
        "--part",
        choices=get_args(Part),
        default="all",
        help="subjects: training and held-out share none (default: all)",
    )
    parser.add_argument(
        "--lead", type=float, default=0.0, metavar="P", help="share of prompts with a sentence before them (default: 0)"
    )
    parser.add_argument("--rounds", default="1,3", metavar="LOW,HIGH", help="exchanges of a dialogue (default: 1,3)")
    parser.add_argument("--max-tokens", type=int, default=160, metavar="N", help="of an answer (default: 160)")
    parser.add_argument("--temperature", type=float, default=0.7, metavar="T", help="default: 0.7")
    parser.add_argument("--seed", type=int, default=0, help="prompts, rounds and sampling (default: 0)")
    parser.add_argument("--resume", action="store_true", help="go on where the file ends")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_parts(parser)


def main(argv: list[str]) -> int:
    """Run one job; exit status 0."""
    arguments = _parser().parse_args(argv)
    return {"build": _build, "stats": _stats, "show": _show, "distill": _distill, "facts": _facts}[arguments.job](
        arguments
    )


def _range(text: str, name: str) -> tuple[int, int]:
    try:
        low, high = (int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{name} is {text!r}; expected two whole numbers, as 4,6") from error
    return low, high


def _mix(text: str) -> dict[Kind, float]:
    if text in ("paper", "ours"):
        return PAPER_MIX if text == "paper" else OURS_MIX
    mix: dict[Kind, float] = {}
    for part in text.split(","):
        name, _, share = part.partition("=")
        try:
            mix[cast("Kind", name)] = float(share)
        except ValueError as error:
            raise InputError(f"--mix has {part!r}; expected paper, ours or kind=share,…") from error
    return mix


def _config(arguments: argparse.Namespace) -> BuildConfig:
    pieces = tokenizer_pieces(arguments.tokenizer) if arguments.tokenizer else rough_pieces
    brain = open_brain(parts_from(arguments)) if arguments.rewrite == "brain" else None
    kinds = KindConfig(
        cut=CutConfig(user_words=_range(arguments.words, "--words"), answer_tokens=arguments.tokens),
        rewriter=BrainRewriter(brain) if brain is not None else TemplateRewriter(side_questions_from(arguments)),
        pieces=pieces,
        hesitation=arguments.hesitate,
    )
    return BuildConfig(mix=_mix(arguments.mix), kinds=kinds, copies=arguments.copies, seed=arguments.seed)


def _build(arguments: argparse.Namespace) -> int:
    config = _config(arguments)
    skipped: list[int] = []

    def note(number: int, what: str) -> None:
        skipped.append(number)
        print(f"{arguments.source} line {number} skipped: {what}", file=sys.stderr)

    source = read_dialogues(arguments.source, skip_bad=arguments.skip_bad, note=note)
    written = write_build(
        arguments.out, source, config, layout=arguments.layout, resume=arguments.resume, limit=arguments.limit
    )
    report = BuildReport(pieces=config.kinds.pieces)
    report.addall(cast("Iterable[Built]", tqdm(written, unit=" dialogues", disable=None)))
    if not arguments.json:
        print(f"{report.num_dialogues} dialogues written to {arguments.out}; {len(skipped)} broken lines skipped")
    return _print(report, as_json=arguments.json, skipped=skipped)


def _stats(arguments: argparse.Namespace) -> int:
    found = cast("Iterable[Built]", tqdm(read_built(arguments.file), unit=" dialogues", disable=None))
    return _print(BuildReport().addall(found), as_json=arguments.json, skipped=[])


def _print(report: BuildReport, *, as_json: bool, skipped: list[int]) -> int:
    figures, slices = report.figures(), report.slices()
    if as_json:
        print(
            json.dumps(
                plain({"dialogues": report.num_dialogues, "kinds": figures, "slices": slices, "skipped": skipped})
            )
        )
        return 0
    print(f"{'kind':<15}{'dialogues':>10}{'share':>8}{'paper':>8}{'pairs':>9}{'paper':>8}{'tokens':>9}{'paper':>9}")
    for kind, row in figures.items():
        print(
            f"{kind:<15}{row['dialogues']:>10.0f}{_cell(100 * row['share'], 7)}%{_cell(100 * row['share_paper'], 7)}%"
            f"{_cell(row['pairs'], 9)}{_cell(row['pairs_paper'], 8)}{_cell(row['tokens'], 9)}{_cell(row['tokens_paper'], 9)}"
        )
    short = sum(max(row["drawn"] - row["dialogues"], 0) for row in figures.values())
    print(
        f"a user slice has {slices['user_words_mean']:.2f} words, a machine slice {slices['answer_tokens_mean']:.2f} tokens; "
        f"{short:.0f} dialogues were too short for the kind drawn and became basic"
    )
    return 0


def _cell(value: float, width: int) -> str:
    return f"{'-' if value != value else format(value, '.1f'):>{width}}"


def _show(arguments: argparse.Namespace) -> int:
    chosen = (b for b in read_built(arguments.file) if arguments.kind in (None, b.sliced.kind))
    shown = list(islice(chosen, arguments.skip, arguments.skip + arguments.count))
    if not shown:
        raise InputError(f"{arguments.file} has no such dialogue; see: fullduplex data stats {arguments.file}")
    for built in shown:
        sliced = built.sliced
        marks: dict[int, list[str]] = {}
        for what, at in sliced.marks:
            marks.setdefault(at, []).append(what)
        print(f"dialogue {built.number}: {sliced.kind}, of source lines {', '.join(sliced.sources)}")
        print(f"{'':>5} {'user':<48} {'machine':<60}")
        for number, (user, machine) in enumerate(sliced.pairs):
            line = f"{number:>5} {user or IDLE:<48} {json.dumps(machine, ensure_ascii=False) if machine else IDLE:<60}"
            print(f"{line} {', '.join(marks.get(number, []))}".rstrip())
    return 0


def _built_in(arguments: argparse.Namespace) -> list[str]:
    return prompts(arguments.count, seed=arguments.seed, part=arguments.part, lead=arguments.lead)


def _distill(arguments: argparse.Namespace) -> int:
    asked = read_prompts(arguments.prompts) if arguments.prompts else _built_in(arguments)
    base = DistillConfig()
    sampling = replace(base.sampling, max_tokens=arguments.max_tokens, temperature=arguments.temperature)
    rounds = _range(arguments.rounds, "--rounds")
    config = DistillConfig(rounds=rounds, sampling=sampling, seed=arguments.seed)
    brain = open_brain(parts_from(arguments))
    count = 0
    done = distill(arguments.out, brain, asked, config, resume=arguments.resume)
    for _ in tqdm(done, unit=" dialogues", total=len(asked), disable=None):
        count += 1
    if arguments.json:
        print(json.dumps({"dialogues": count, "of": len(asked), "file": str(arguments.out)}))
    else:
        print(f"{count} dialogues written to {arguments.out}")
    return 0


def _facts(arguments: argparse.Namespace) -> int:
    if arguments.out.exists():
        raise InputError(f"{arguments.out} exists; choose another name")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    made = fact_dialogues(arguments.count, seed=arguments.seed, part=arguments.part)
    with arguments.out.open("w", encoding="utf-8") as out:
        for number, dialogue in enumerate(made):
            line = {"id": number, "messages": dialogue.messages(), "slots": dialogue.slots}
            out.write(json.dumps(line, ensure_ascii=False) + "\n")
    told = {"dialogues": arguments.count, "file": str(arguments.out)}
    print(json.dumps(told) if arguments.json else f"{arguments.count} dialogues written to {arguments.out}")
    return 0
