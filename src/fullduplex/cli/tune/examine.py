"""`fullduplex tune examine`: does a brain wait, stop, answer what was asked last, and come back? Needs no torch."""

import argparse
import json
from dataclasses import asdict
from itertools import islice

from tqdm import tqdm

from fullduplex.base.errors import InputError
from fullduplex.cli.arguments import side_questions_from
from fullduplex.lm.behaviour.figures import examine, shares
from fullduplex.lm.behaviour.trials import TrialConfig, Verdict
from fullduplex.lm.llama import LlamaBrain
from fullduplex.lm.ultrachat.dialogues import read_dialogues
from fullduplex.lm.ultrachat.facts import read_facts
from fullduplex.recipes.parts import PartsConfig, model_file, open_brain

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Play every trial and print the shares."""
    if arguments.skip < 0 or (arguments.limit is not None and arguments.limit < 1):
        raise InputError(f"--skip {arguments.skip} --limit {arguments.limit}: expected 0 or more, and 1 or more")
    brain = open_brain(PartsConfig(brain=arguments.brain, threads=arguments.threads, conversations=1))
    end = None if arguments.limit is None else arguments.skip + arguments.limit
    chats = list(islice(read_dialogues(arguments.chats), arguments.skip, end))
    facts = read_facts(arguments.facts)[arguments.skip : end] if arguments.facts else []
    if not chats:
        raise InputError(f"{arguments.chats} holds no chat behind the first {arguments.skip}")
    judge = None if arguments.judge == "none" else LlamaBrain(model_file(arguments.judge), threads=arguments.threads)
    config = TrialConfig(slice_s=arguments.slice, seed=arguments.seed, known=side_questions_from(arguments))
    verdicts: list[Verdict] = []
    trials = examine(brain, chats, facts, config, system=arguments.system, judge=judge)
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
