"""`fullduplex tune`: teach a chat model time slices, look at what it learnt, write it for llama.cpp."""

import argparse
import json
import math
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from fullduplex.assets import store
from fullduplex.base.errors import ConfigError
from fullduplex.cli.arguments import add_logging, start_logging
from fullduplex.dialogue.desk import DEFAULT_SYSTEM
from fullduplex.lm.behaviour.figures import examine, shares, wilson
from fullduplex.lm.behaviour.trials import WORDS_OF_SLICE, TrialConfig, Verdict
from fullduplex.lm.tune.ability import chat_perplexity, probe_rates
from fullduplex.lm.tune.examples import LayoutConfig, Tokenize, pack
from fullduplex.lm.tune.llama import Llama
from fullduplex.lm.tune.lora import LoraConfig
from fullduplex.lm.tune.probes import probes
from fullduplex.lm.tune.run import TuneConfig, examples_of, held_out_figures, merged, tune
from fullduplex.lm.tune.slices import read_chats, read_conversations
from fullduplex.lm.tune.tokens import gguf_tokenizer, json_tokenizer
from fullduplex.lm.tune.weights import read_gguf, read_safetensors, write_gguf, write_safetensors
from fullduplex.lm.ultrachat.dialogues import read_dialogues
from fullduplex.lm.ultrachat.facts import read_facts
from fullduplex.recipes.parts import BRAINS, PartsConfig, open_brain
from fullduplex.train.loop import StepReport

__all__ = ["main"]

_EXAMPLES = """examples:
  fullduplex data distill chats.jsonl --count 400
  fullduplex data build chats.jsonl duplex.jsonl --mix ours
  fullduplex tune run --data duplex.jsonl --out runs/small --steps 300
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
    jobs = parser.add_subparsers(dest="job", required=True, metavar="run|check|examine|ability|export")
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
    run.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    check = jobs.add_parser("check", help="held-out loss and idle decisions of a model, with an adapter or without")
    _add_model(check)
    check.add_argument(
        "--data", type=Path, required=True, metavar="DUPLEX.jsonl", help="dialogues it was not trained on"
    )
    check.add_argument("--adapter", type=Path, metavar="FILE", help="adapter.safetensors of a run")
    check.add_argument("--limit", type=int, metavar="N", help="only the first N dialogues")
    export = jobs.add_parser("export", help="fold an adapter in and write the model")
    _add_model(export)
    export.add_argument("--adapter", type=Path, metavar="FILE", help="adapter.safetensors of a run")
    export.add_argument("--gguf", type=Path, metavar="FILE", help="for llama.cpp; needs a .gguf as --model")
    export.add_argument("--kind", choices=("q8_0", "f16", "f32"), default="q8_0", help="numbers in the .gguf")
    export.add_argument("--safetensors", type=Path, metavar="DIR", help="Hugging Face layout")
    _add_examine(jobs.add_parser("examine", help="does it wait, stop, answer what was asked last, and come back?"))
    ability = jobs.add_parser("ability", help="what tuning cost: perplexity of ordinary chats and small quizzes")
    _add_model(ability)
    ability.add_argument("--chats", type=Path, required=True, metavar="CHAT.jsonl", help="not trained on")
    ability.add_argument("--adapter", type=Path, required=True, metavar="FILE", help="adapter.safetensors of a run")
    return parser


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
    return {"run": _run, "check": _check, "export": _export, "examine": _examine, "ability": _ability}[arguments.job](
        arguments
    )


def _file(name: str) -> Path:
    if name.endswith(".gguf") or Path(name).is_dir():
        return Path(name).expanduser()
    folder = store.path(BRAINS.get(name, name))
    return next(iter(sorted(folder.glob("*.gguf"))), folder)


def _model(file: Path) -> Llama:
    return read_safetensors(file) if file.is_dir() else read_gguf(file)


def _tokenizer(file: Path) -> Tokenize:
    return json_tokenizer(file / "tokenizer.json") if file.is_dir() else gguf_tokenizer(file)


def _config(arguments: argparse.Namespace) -> TuneConfig:
    return TuneConfig(
        num_steps=arguments.steps,
        batch_rows=arguments.batch,
        peak_lr=arguments.lr,
        mode="full" if arguments.full else "lora",
        precision=arguments.precision,
        lora=LoraConfig(rank=arguments.rank, alpha=arguments.alpha, seed=arguments.seed),
        layout=LayoutConfig(row_tokens=arguments.row_tokens, idle_weight=arguments.idle_weight),
        evaluate_every_steps=arguments.evaluate_every,
        seed=arguments.seed,
    )


def _run(arguments: argparse.Namespace) -> int:
    config, file = _config(arguments), _file(arguments.model)
    training = read_conversations(arguments.data, system=arguments.system)
    if arguments.chats:
        training += read_chats(arguments.chats, system=arguments.system)
    held_out = read_conversations(arguments.held_out, system=arguments.system) if arguments.held_out else []
    bar = tqdm(total=config.num_steps, unit=" steps", disable=None)

    def show(step: StepReport) -> None:
        bar.update(step.step - bar.n)
        figures = {"loss": step.loss, **step.figures}
        bar.set_postfix_str(" ".join(f"{name} {value:.3f}" for name, value in figures.items()))

    manifest = tune(
        _model(file),
        _tokenizer(file),
        training,
        held_out,
        config,
        arguments.out,
        resume=arguments.resume,
        report=show,
    )
    bar.close()
    print(json.dumps(manifest) if arguments.json else f"trained on {manifest['tokens']} tokens; see {arguments.out}")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    file = _file(arguments.model)
    tokenize, layout = _tokenizer(file), LayoutConfig()
    conversations = read_conversations(arguments.data, system=arguments.system)[: arguments.limit]
    rows = pack(examples_of(conversations, tokenize, layout), layout, seed=0)
    model = merged(_model(file), arguments.adapter) if arguments.adapter else _model(file)
    figures = held_out_figures(model, rows, tokenize)
    if arguments.json:
        print(json.dumps(figures))
        return 0
    print(f"loss            {figures['loss']:.3f} nats a token (perplexity {math.exp(figures['loss']):.1f})")
    print(f"idle kept       {100 * figures['idle_kept']:.1f} % of {figures['idle_slices']:.0f} slices")
    print(f"speech begun    {100 * figures['speech_begun']:.1f} % of {figures['speech_slices']:.0f} slices")
    return 0


def _export(arguments: argparse.Namespace) -> int:
    if arguments.gguf is None and arguments.safetensors is None:
        raise ConfigError("nothing to write: name --gguf FILE, --safetensors DIR or both")
    file = _file(arguments.model)
    if arguments.gguf is not None and file.is_dir():
        raise ConfigError("--gguf takes tokenizer and metadata from a .gguf model; give one as --model")
    model = merged(_model(file), arguments.adapter) if arguments.adapter else _model(file)
    written: list[str] = []
    if arguments.gguf is not None:
        layout = "pairs" if arguments.adapter else "merged"
        write_gguf(arguments.gguf, model, file, arguments.kind, layout=layout)
        written.append(str(arguments.gguf))
    if arguments.safetensors is not None:
        write_safetensors(arguments.safetensors, model)
        written.append(str(arguments.safetensors))
    print(json.dumps({"written": written}) if arguments.json else f"written: {', '.join(written)}")
    return 0


def _examine(arguments: argparse.Namespace) -> int:
    brain = open_brain(PartsConfig(brain=arguments.brain, threads=arguments.threads, conversations=1))
    chats = list(islice(read_dialogues(arguments.chats), arguments.limit))
    facts = read_facts(arguments.facts)[: arguments.limit] if arguments.facts else []
    config = TrialConfig(slice_s=arguments.slice, seed=arguments.seed)
    verdicts: list[Verdict] = []
    trials = examine(brain, chats, facts, config, system=arguments.system)
    for found in tqdm(trials, total=2 * len(chats) + len(facts), unit=" trials", disable=None):
        verdicts += found
    table = shares(verdicts)
    if arguments.json:
        print(json.dumps({name: {**asdict(share), "rate": share.rate} for name, share in table.items()}))
        return 0
    for name, share in table.items():
        told = f"{100 * share.rate:5.1f} %  ({share.right} of {share.count}; {100 * share.low:.1f} to {100 * share.high:.1f})"
        print(f"{name:<18}{told}")
    return 0


def _ability(arguments: argparse.Namespace) -> int:
    file = _file(arguments.model)
    tokenize, chats = _tokenizer(file), read_chats(arguments.chats, system=arguments.system)
    figures: dict[str, dict[str, float]] = {}
    for name in ("before", "after"):
        model = _model(file) if name == "before" else merged(_model(file), arguments.adapter)
        rates = probe_rates(model, tokenize, probes(), system=arguments.system)
        row = {kind: wilson(*rate).rate for kind, rate in rates.items()}
        figures[name] = {"perplexity": chat_perplexity(model, tokenize, chats), **row}
    if arguments.json:
        print(json.dumps(figures))
        return 0
    print(f"{'':<14}{'before':>10}{'after':>10}")
    for measure, before in figures["before"].items():
        print(f"{measure:<14}{before:>10.3f}{figures['after'][measure]:>10.3f}")
    return 0
