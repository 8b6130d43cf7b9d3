"""`fullduplex tune student`: a state-space model that has learnt from a tuned one."""

import argparse
import json
import math
from pathlib import Path

from tqdm import tqdm

from fullduplex.lm.student.model import StudentConfig
from fullduplex.lm.student.run import DistilConfig, distil
from fullduplex.lm.tune.examples import LayoutConfig
from fullduplex.lm.tune.slices import read_chats, read_conversations
from fullduplex.lm.tune.tokens import gguf_tokenizer
from fullduplex.lm.tune.weights import read_gguf
from fullduplex.recipes.parts import model_file
from fullduplex.train.loop import StepReport

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Distil and print the held-out figures of both."""
    name: str = arguments.teacher
    file = Path(name).expanduser() if name.endswith(".gguf") else model_file(name)
    config = DistilConfig(
        layer_steps=arguments.layer_steps,
        answer_steps=arguments.steps,
        batch_tokens=arguments.batch_tokens,
        layout=LayoutConfig(row_tokens=arguments.row_tokens),
        student=StudentConfig(rank=arguments.rank, alpha=2.0 * arguments.rank, seed=arguments.seed),
        seed=arguments.seed,
        teacher=name,
    )
    training = read_conversations(arguments.data, system=arguments.system)
    if arguments.chats:
        training += read_chats(arguments.chats, system=arguments.system)
    held_out = read_conversations(arguments.held_out, system=arguments.system) if arguments.held_out else []
    bars = {
        stage: tqdm(total=steps, unit=" steps", desc=stage, disable=None)
        for stage, steps in (("layers", config.layer_steps), ("answers", config.answer_steps))
    }

    def show(stage: str, step: StepReport) -> None:
        bars[stage].update(step.step - bars[stage].n)
        bars[stage].set_postfix_str(f"loss {step.loss:.3f}")

    manifest = distil(
        read_gguf(file),
        gguf_tokenizer(file),
        training,
        held_out,
        config,
        arguments.out,
        resume=arguments.resume,
        report=show,
    )
    for bar in bars.values():
        bar.close()
    if arguments.json:
        print(json.dumps(manifest))
        return 0
    print(f"learnt from {manifest['tokens']} tokens; see {arguments.out}")
    for who, figures in manifest.get("held_out", {}).items():
        print(
            f"{who:<9}perplexity {math.exp(figures['loss']):7.1f}   idle kept {100 * figures['idle_kept']:5.1f} %   "
            f"speech begun {100 * figures['speech_begun']:5.1f} %"
        )
    return 0
