"""The jobs of `fullduplex tune` that need torch: run, check, export, ability."""

import argparse
import json
import math
from pathlib import Path

from tqdm import tqdm

from fullduplex.assets import store
from fullduplex.base.errors import ConfigError
from fullduplex.lm.behaviour.figures import wilson
from fullduplex.lm.tune.ability import chat_perplexity, probe_rates
from fullduplex.lm.tune.average import average_adapters
from fullduplex.lm.tune.examples import LayoutConfig, Tokenize, pack
from fullduplex.lm.tune.llama import Llama
from fullduplex.lm.tune.lora import LoraConfig
from fullduplex.lm.tune.probes import probes
from fullduplex.lm.tune.run import TuneConfig, examples_of, held_out_figures, merged, tune
from fullduplex.lm.tune.slices import read_chats, read_conversations
from fullduplex.lm.tune.tokens import gguf_tokenizer, json_tokenizer
from fullduplex.lm.tune.weights import read_gguf, read_safetensors, write_gguf, write_safetensors
from fullduplex.recipes.parts import BRAINS
from fullduplex.train.loop import StepReport

__all__ = ["ability", "average", "check", "export", "run"]


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
        start=arguments.start,
    )


def run(arguments: argparse.Namespace) -> int:
    """Train."""
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


def check(arguments: argparse.Namespace) -> int:
    """Held-out loss and idle decisions."""
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


def average(arguments: argparse.Namespace) -> int:
    """One adapter from several."""
    apart = average_adapters(arguments.adapters, arguments.out)
    if arguments.json:
        print(json.dumps({"written": str(arguments.out), "adapters": len(arguments.adapters), "apart": apart}))
        return 0
    print(f"written: {arguments.out}, the mean of {len(arguments.adapters)} adapters")
    print(f"what it changes is {100 * apart:.1f} % away from the mean of what they change")
    return 0


def export(arguments: argparse.Namespace) -> int:
    """Write the merged model."""
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


def ability(arguments: argparse.Namespace) -> int:
    """What tuning cost."""
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
