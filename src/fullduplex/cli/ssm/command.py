"""`fullduplex ssm`: state-space memories, layers and matrices."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from fullduplex.base.errors import FormatError, InputError
from fullduplex.base.units import EAR_RATE_HZ
from fullduplex.cli.ssm.keywords import add_keywords, add_rate
from fullduplex.ssm.hippo.families import KINDS, family

__all__ = ["main"]

_Jobs = Any  # argparse does not name the type of what add_subparsers returns

# What imports torch is imported by the job that needs it: `ssm memory` and `ssm ptd` run without.
_LAYERS = (
    "s4d-lin", "s4d-inv", "s4d-legs", "s4", "s4-legt", "s4-fout", "s4-mixed", "s4-ptd", "s4-ptd-random",
    "s5", "s5-ptd", "s5-ptd-random", "mamba", "mamba2",
)  # fmt: skip
_TASKS = (
    "listops", "listops-long", "pathfinder", "pathfinder-hard", "digits", "mnist1d", "delay", "copying",
    "selective-copying", "recall", "keywords",
)  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fullduplex ssm",
        description="State-space memories, layers and matrices. Each JOB explains itself with --help.",
    )
    jobs = parser.add_subparsers(dest="job", required=True, metavar="JOB")
    _add_memory(jobs)
    _add_train(jobs)
    add_keywords(jobs)
    add_rate(jobs)
    _add_inspect(jobs)
    _add_ptd(jobs)
    _add_bench(jobs)
    return parser


def main(argv: list[str]) -> int:
    """Run one job."""
    arguments = _parser().parse_args(argv)
    return cast("Callable[[argparse.Namespace], int]", arguments.run)(arguments)


def _add_memory(jobs: _Jobs) -> None:
    memory = jobs.add_parser(
        "memory",
        help="what a state still remembers of a recording, as a picture",
        description="A recording goes through a HiPPO memory sample by sample; then the past is read back out of its "
        "state and drawn beside the recording.",
    )
    memory.add_argument("sound", type=Path, metavar="FILE", help="WAV, FLAC or OGG, any rate")
    shown = [kind for kind, entry in KINDS.items() if entry.window or kind in ("legs", "lagt", "glagt")]
    memory.add_argument("--kind", default="legt", choices=shown, help="family (default: legt, a window)")
    memory.add_argument("--span", type=float, default=0.05, metavar="S", help="window, or time to fade (default: 0.05)")
    memory.add_argument("--order", type=int, default=128, metavar="N", help="numbers to keep (default: 128)")
    memory.add_argument("--at", type=float, metavar="S", help="when to ask (default: after the loudest SPAN)")
    memory.add_argument("--out", type=Path, default=Path("memory.png"), metavar="PNG", help="default: memory.png")
    memory.add_argument("--json", action="store_true", help="print one JSON object")
    memory.set_defaults(run=_memory)


def _add_train(jobs: _Jobs) -> None:
    train = jobs.add_parser(
        "train",
        help="train a layer on a task",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Train a stack of one kind of layer on one task, with the papers' settings: AdamW, warm-up and cosine, "
        "state-space\nparameters at a rate of at most 1e-3 without weight decay.\n\n"
        "  fullduplex ssm train --layer s4d-lin --task digits --steps 600 --out run\n"
        "  fullduplex ssm train --layer s4 --task listops-long --data lra/listops --out run --resume\n\n"
        "The folder gets curve.csv, curve.png, result.json, settings.json and model.ckpt. Stopped with Ctrl-C, it goes on "
        "with --resume\nfrom the last checkpoint (every --checkpoint steps), to the same end as if never stopped.",
    )
    train.add_argument("--layer", required=True, choices=_LAYERS, metavar="NAME", help=", ".join(_LAYERS))
    train.add_argument("--task", required=True, choices=_TASKS, metavar="NAME", help=", ".join(_TASKS))
    train.add_argument(
        "--data", type=Path, metavar="DIR", help="files, for listops-long and keywords (made by `ssm keywords`)"
    )
    train.add_argument(
        "--samples", type=int, default=4_000, metavar="N",
        help="of each recording of keywords: its loudest N (default: 4000, 0.25 s at 16 kHz)",
    )  # fmt: skip
    train.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the run is kept")
    train.add_argument("--steps", type=int, default=500, metavar="N", help="optimiser steps in all (default: 500)")
    train.add_argument("--seed", type=int, default=0, help="of weights, batches and generated data (default: 0)")
    train.add_argument("--width", type=int, default=32, metavar="D", help="channels (default: 32)")
    train.add_argument("--order", type=int, default=16, metavar="N", help="state size (default: 16)")
    train.add_argument("--depth", type=int, default=2, metavar="N", help="blocks (default: 2)")
    train.add_argument("--batch", type=int, default=32, metavar="N", help="examples of a step (default: 32)")
    train.add_argument("--lr", type=float, default=1e-2, metavar="R", help="peak of the rate (default: 0.01)")
    train.add_argument(
        "--delta", type=float, nargs=2, default=(1e-3, 1e-1), metavar=("LOW", "HIGH"),
        help="range of the step Delta; 1 / Delta samples is about how far back a channel looks (default: 0.001 0.1)",
    )  # fmt: skip
    train.add_argument("--checkpoint", type=int, default=100, metavar="N", help="steps between two (default: 100)")
    train.add_argument("--threads", type=int, default=1, metavar="N", help="of torch (default: 1)")
    train.add_argument("--resume", action="store_true", help="go on where the folder stands")
    train.add_argument("--json", action="store_true", help="print one JSON object")
    train.set_defaults(run=_train)


def _add_inspect(jobs: _Jobs) -> None:
    inspect = jobs.add_parser(
        "inspect",
        help="kernels, spectrum, gain and memory of a layer, as a picture",
        description="Unroll a layer and draw its kernels, the turn of its modes in one sample, the gain of a tone and how "
        "far back its channels look. A fresh layer by name, or each block of a run of `ssm train`.",
    )
    which = inspect.add_mutually_exclusive_group(required=True)
    which.add_argument("--layer", choices=_LAYERS[:-2], metavar="NAME", help=", ".join(_LAYERS[:-2]))
    which.add_argument("--run", type=Path, dest="folder", metavar="DIR", help="a folder of `ssm train`")
    inspect.add_argument("--block", type=int, default=0, metavar="K", help="which block of a run (default: 0)")
    inspect.add_argument("--width", type=int, default=32, metavar="D", help="channels (default: 32)")
    inspect.add_argument("--order", type=int, default=64, metavar="N", help="state size (default: 64)")
    inspect.add_argument("--delta", type=float, nargs=2, default=(1e-3, 1e-1), metavar=("LOW", "HIGH"))
    inspect.add_argument("--length", type=int, default=1000, metavar="T", help="samples to look back (default: 1000)")
    inspect.add_argument("--seed", type=int, default=0, help="default: 0")
    inspect.add_argument("--out", type=Path, default=Path("layer.png"), metavar="PNG", help="default: layer.png")
    inspect.add_argument("--json", action="store_true", help="print one JSON object")
    inspect.set_defaults(run=_inspect)


def _add_ptd(jobs: _Jobs) -> None:
    ptd = jobs.add_parser(
        "ptd",
        help="diagonalise anybody's matrix safely: perturb it a little first",
        description="Perturb, then diagonalise (arXiv:2310.01698): A + E = V diag(values) V^-1 with a small E and "
        "well-conditioned eigenvectors, also where A is defective. The report says what it cost. Exit status 2 when an "
        "eigenvalue lies farther right than --abscissa. Results are kept, so the same matrix is searched for once.",
    )
    ptd.add_argument("matrix", type=Path, metavar="FILE.npy", help="a square matrix as numpy.save writes it")
    ptd.add_argument("--out", type=Path, metavar="FILE.npz", help="values, v, inverse and e (default: FILE.ptd.npz)")
    ptd.add_argument("--plot", type=Path, metavar="PNG", help="eigenvalues, and how far the transfer function moved")
    ptd.add_argument(
        "--method", default="optimised", choices=("optimised", "random", "exact"), help="default: optimised"
    )
    ptd.add_argument("--gamma", type=float, default=20.0, help="price of E; larger stays closer to A (default: 20)")
    ptd.add_argument("--size", type=float, default=0.03, metavar="SHARE", help="first ||E|| / ||A|| (default: 0.03)")
    ptd.add_argument("--steps", type=int, default=1000, metavar="N", help="of the search (default: 1000)")
    ptd.add_argument("--seed", type=int, default=0, help="default: 0")
    ptd.add_argument("--abscissa", default="0", metavar="X", help="largest real part allowed, or none (default: 0)")
    ptd.add_argument("--json", action="store_true", help="print one JSON object")
    ptd.set_defaults(run=_ptd)


def _add_bench(jobs: _Jobs) -> None:
    bench = jobs.add_parser(
        "bench",
        help="speed of Mamba, Mamba-2 and every kernel beside their peers and the floor of this machine",
        description="Same weights, same process, contenders in turns. Peers that are not installed are named and left out "
        "(pip install 'fullduplex[peers]'). The table goes to standard error, one JSON line to standard output.",
    )
    bench.add_argument("--only", choices=("models", "kernels"), help="half of it")
    bench.add_argument("--width", type=int, default=256, metavar="D", help="features (default: 256)")
    bench.add_argument("--layers", type=int, default=4, metavar="N", help="default: 4")
    bench.add_argument("--steps", type=int, default=1024, metavar="T", help="length of a prompt (default: 1024)")
    bench.add_argument(
        "--training-steps", type=int, default=1024, metavar="T", help="length of a training sequence (default: 1024)"
    )
    bench.add_argument("--repeats", type=int, default=5, metavar="N", help="turns (default: 5)")
    bench.add_argument("--threads", type=int, default=1, metavar="N", help="of torch (default: 1)")
    bench.add_argument("--seed", type=int, default=0, help="of weights and inputs (default: 0)")
    bench.add_argument("--plot", type=Path, metavar="PNG", help="draw the durations")
    bench.add_argument("--json", action="store_true", help="no table")
    bench.set_defaults(run=_bench)


def _memory(arguments: argparse.Namespace) -> int:
    from fullduplex.recipes.sound_files import read_mono
    from fullduplex.ssm.hippo.inspection import draw_inspection, inspect_memory, loudest_end
    from fullduplex.ssm.hippo.memory import Memory
    from fullduplex.ssm.hippo.timescale import decay_s, remember_s

    pcm = read_mono(arguments.sound)
    choose = remember_s if family(arguments.kind).window else decay_s
    timescale = choose(arguments.kind, arguments.span, EAR_RATE_HZ)
    end = loudest_end(pcm, timescale.span_samples) if arguments.at is None else round(arguments.at * EAR_RATE_HZ)
    memory = Memory(timescale, arguments.order)
    seen = inspect_memory(pcm, memory, rate_hz=EAR_RATE_HZ, end_samples=end)
    draw_inspection(arguments.out, seen, title=arguments.sound.name)
    figures = {
        "kind": seen.kind,
        "order": seen.order,
        "span_s": round(seen.span_samples / EAR_RATE_HZ, 6),
        "at_s": round(seen.end_samples / EAR_RATE_HZ, 6),
        "error": seen.error,
        "picture": str(arguments.out),
    }
    if arguments.json:
        print(json.dumps(figures))
        return 0
    print(
        f"{seen.kind}: {seen.order} numbers for {seen.span_samples:.0f} samples ({figures['span_s']} s), asked at "
        f"{figures['at_s']} s: error {seen.error:.3f} of the sound itself; written: {arguments.out}"
    )
    return 0


def _train(arguments: argparse.Namespace) -> int:
    import torch
    from tqdm import tqdm

    from fullduplex.ssm.tasks.run import RunSettings, train_run

    if arguments.threads < 1:
        raise InputError(f"--threads is {arguments.threads}; expected 1 or more")
    torch.set_num_threads(arguments.threads)
    settings = RunSettings(
        layer=arguments.layer,
        task=arguments.task,
        seed=arguments.seed,
        width=arguments.width,
        order=arguments.order,
        depth=arguments.depth,
        batch_size=arguments.batch,
        peak_lr=arguments.lr,
        steps=tuple(arguments.delta),
        num_steps=arguments.steps,
        checkpoint_every_steps=arguments.checkpoint,
        num_samples=arguments.samples,
    )
    with tqdm(total=settings.num_steps, unit="step", disable=None) as bar:

        def show(step: int, loss: float) -> None:
            bar.update(step - bar.n)
            bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)

        found = train_run(arguments.out, settings, data=arguments.data, resume=arguments.resume, report=show)
    if arguments.json:
        print(json.dumps(found))
        return 0
    print(
        f"{found['layer']} on {found['task']} ({found['note']}): {found['score']} {found['test']:.4f} on the test set, "
        f"{found['val']:.4f} on the validation set, {found['chance']:.4f} by guessing\n"
        f"{found['num_parameters']} parameters, {found['num_steps']} steps; written: {arguments.out}"
    )
    return 0


def _inspect(arguments: argparse.Namespace) -> int:
    import torch

    from fullduplex.ssm.layers import LayerConfig, make_block
    from fullduplex.ssm.tasks.run import load_run
    from fullduplex.ssm.view.layer import draw_layer, look_at

    if arguments.folder is None:
        config = LayerConfig(
            name=arguments.layer, width=arguments.width, order=arguments.order, steps=tuple(arguments.delta)
        )
        block = make_block(config, generator=torch.Generator().manual_seed(arguments.seed))
        name = f"{config.name}, N = {config.order}"
    else:
        model = load_run(arguments.folder)
        if not 0 <= arguments.block < len(model.blocks.layers):
            raise InputError(f"--block is {arguments.block}; the run has blocks 0 to {len(model.blocks.layers) - 1}")
        block = model.blocks.layers[arguments.block]
        name = f"{arguments.folder.name}, block {arguments.block}: {model.config.layer.name}"
    view = look_at(getattr(block, "layer", block), arguments.length)
    draw_layer(arguments.out, view, title=name)
    found = {
        "layer": name,
        "num_channels": int(view.kernel_DT.shape[0]),
        "num_modes": int(view.turn_M.size),
        "largest_turn": view.slowest,
        "reach_samples": [float(view.reach_D.min()), float(view.reach_D.max())],
        "loudest_angle": float(view.angles_F[int(view.gain_DF.max(0).argmax())]),
        "picture": str(arguments.out),
    }
    if arguments.json:
        print(json.dumps(found))
        return 0
    low, high = cast("list[float]", found["reach_samples"])
    print(
        f"{name}: {found['num_channels']} channels, {found['num_modes']} modes, the slowest shrinks by {view.slowest:.6f} a "
        f"sample\nnine tenths of a kernel's energy within {low:.0f} to {high:.0f} of {arguments.length} samples; loudest at "
        f"{found['loudest_angle']:.3f} radians a sample; written: {arguments.out}"
    )
    return 0


def _ptd(arguments: argparse.Namespace) -> int:
    import dataclasses

    import numpy as np
    from tqdm import tqdm

    from fullduplex.ssm.ptd.cache import cached_ptd
    from fullduplex.ssm.ptd.perturb import PtdConfig, checked_matrix
    from fullduplex.ssm.ptd.transfer import deviation, tones_between
    from fullduplex.ssm.view.matrix import draw_ptd

    try:
        with arguments.matrix.open("rb") as stream:
            matrix = checked_matrix(np.load(stream, allow_pickle=False))
    except (OSError, EOFError) as error:
        raise FormatError(f"{arguments.matrix} cannot be read ({error}); give a file of numpy.save") from error
    except ValueError as error:
        raise FormatError(f"{arguments.matrix}: {error}") from error
    config = PtdConfig(
        method=arguments.method,
        gamma=arguments.gamma,
        size=arguments.size,
        num_steps=arguments.steps,
        seed=arguments.seed,
        abscissa=_number_or_none(arguments.abscissa),
    )
    with tqdm(total=config.num_steps, unit="step", disable=None, leave=False) as bar:
        found = cached_ptd(matrix, config, report=lambda step, _: cast("None", bar.update(step - bar.n)))
    out = arguments.out or arguments.matrix.with_suffix(".ptd.npz")
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("wb") as stream:
        np.savez(stream, values=found.values_N, v=found.v_NN, inverse=found.inverse_NN, e=found.e_NN)
    if arguments.plot is not None:
        draw_ptd(arguments.plot, matrix, found, title=arguments.matrix.name)
    report, order = found.report, matrix.shape[0]
    flat_N = np.full(order, order**-0.5)
    moved, at = deviation(matrix, found.e_NN, flat_N, tones_between(matrix, found.values_N))
    if arguments.json:
        told = {**dataclasses.asdict(report), "moved": moved, "moved_at": at, "written": str(out)}
        print(json.dumps(told).replace("Infinity", '"inf"'))
        return 0
    print(
        f"{report.order} x {report.order}{', normal already' if report.was_normal else ''}\n"
        f"condition of the eigenvectors {report.condition_before:.3g} -> {report.condition:.3g}\n"
        f"||E|| {report.norm_e:.4g}, {100 * report.relative:.3g} % of ||A|| (Frobenius)\n"
        f"largest real part {report.abscissa_before:.6g} -> {report.abscissa:.6g}\n"
        f"||V diag(values) V^-1 - (A + E)|| / ||A|| {report.residual:.1e}\n"
        f"the state's answer to a tone moved by at most {moved:.3g}, at {at:.4g} radians per unit of time "
        f"(an input of length 1 into every number)\nwritten: {out}{'' if arguments.plot is None else f', {arguments.plot}'}"
    )
    return 0


def _bench(arguments: argparse.Namespace) -> int:
    import sys

    import torch

    from fullduplex.ssm.bench.models import ModelSizes
    from fullduplex.ssm.bench.report import draw_bench, make_record, run_bench, table

    sizes = ModelSizes(
        width=arguments.width,
        num_layers=arguments.layers,
        num_steps=arguments.steps,
        num_training_steps=arguments.training_steps,
        repeats=arguments.repeats,
    )
    if arguments.threads < 1:
        raise InputError(f"--threads is {arguments.threads}; expected 1 or more")
    torch.set_num_threads(arguments.threads)
    result = run_bench(
        sizes,
        models=arguments.only != "kernels",
        kernels=arguments.only != "models",
        seed=arguments.seed,
        progress=lambda name: print(name, file=sys.stderr),
    )
    if not arguments.json:
        print(table(result.comparisons), file=sys.stderr)
    if arguments.plot is not None:
        draw_bench(arguments.plot, result.comparisons)
    print(make_record(result, sizes, arguments.seed).to_json())
    return 0


def _number_or_none(text: str) -> float | None:
    if text == "none":
        return None
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"--abscissa is {text!r}; expected a number or none") from error
