"""All named state-space layers side by side on small tasks: a run is one JSON line, and is not made twice.

    python scripts/ssm_study.py --out study.jsonl            everything, resumable; about 40 minutes on one core
    python scripts/ssm_study.py --out study.jsonl --summary docs/data/ssm_study.json --figure docs/img/robustness.png

Parts: `delay` (which frozen memory can say what it heard 1000 samples ago; its reading fitted by ridge regression),
`digits`, `listops`, `keywords` (16 kHz, then 8 kHz without training, then other speakers), and `robust` (digits with a
tone added, of a tenth of their range and of three tenths: where is each layer hurt?).
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from fullduplex.base.record import Record, append_record, read_records
from fullduplex.recipes.keywords import make_keywords
from fullduplex.ssm.hippo.dense import discretise_dense
from fullduplex.ssm.hippo.families import transition
from fullduplex.ssm.layers import LayerConfig
from fullduplex.ssm.modes import modes
from fullduplex.ssm.ptd.spikes import discrete_modes, spike_angle
from fullduplex.ssm.tasks.fit import FitConfig, Fitted, fit, score
from fullduplex.ssm.tasks.keywords import read_examples, read_keywords, resampled
from fullduplex.ssm.tasks.table import make_task
from fullduplex.ssm.tasks.task import Examples, Task

SEEDS = (0, 1, 2)
LAYERS = ("s4d-lin", "s4d-inv", "s4d-legs", "s4", "s4-ptd", "s5", "s5-ptd", "mamba", "mamba2")
ROBUST = ("s4", "s4d-legs", "s4-ptd", "s4-ptd-random")
RATE_HZ, NUM_SAMPLES, LAG_SAMPLES, ORDER, RIDGE = 4_000, 4_000, 1_000, 256, 1e-8
TONE_SHARES, TONE_STEP, TONE_ORDER = (0.1, 0.3), 0.02, 16
COLOURS = ("0.3", "tab:red", "tab:blue", "tab:green")
Figures = dict[str, float]


def band_noise(seed: int, band_hz: float) -> np.ndarray:
    """White up to `band_hz`, silent above; root mean square 1/2."""
    draw = np.random.default_rng(seed)
    lines_hz = np.fft.rfftfreq(NUM_SAMPLES, 1 / RATE_HZ)
    lines = draw.standard_normal(lines_hz.size) + 1j * draw.standard_normal(lines_hz.size)
    noise = np.fft.irfft(lines * (lines_hz <= band_hz), n=NUM_SAMPLES)
    return noise / noise.std() / 2


def states(kind: str, step: float, signal: np.ndarray) -> np.ndarray:
    """What a frozen memory holds after every sample, as real numbers."""
    if kind.startswith("s4d-"):
        a_M, b_M = discrete_modes(*modes(kind.removeprefix("s4d-"), ORDER), step, "zoh")
        rows, z_M = np.zeros((signal.size, ORDER)), np.zeros(a_M.size, dtype=complex)
        for t, sample in enumerate(signal):
            z_M = a_M * z_M + b_M * sample
            rows[t] = np.concatenate([z_M.real, z_M.imag])
        return rows
    system = discretise_dense(transition(kind, ORDER), step)
    rows, x_N = np.zeros((signal.size, ORDER)), np.zeros(ORDER)
    for t, sample in enumerate(signal):
        x_N = system.a_NN @ x_N + system.b_N * sample
        rows[t] = x_N
    return rows


def delay_error(kind: str, step: float, band_hz: float, seed: int) -> float:
    """Error over signal of the best reading of a frozen memory, fitted on three pieces and judged on a fourth."""
    heard = [band_noise(100 * seed + piece, band_hz) for piece in range(4)]
    held = [states(kind, step, signal)[LAG_SAMPLES:] for signal in heard]
    wanted = [signal[:-LAG_SAMPLES] for signal in heard]
    x_TN, y_T = np.concatenate(held[:3]), np.concatenate(wanted[:3])
    scale_N = np.maximum(x_TN.std(0), 1e-12)
    gram = (x_TN / scale_N).T @ (x_TN / scale_N)
    read = np.linalg.solve(gram + RIDGE * np.trace(gram) / ORDER * np.eye(ORDER), (x_TN / scale_N).T @ y_T) / scale_N
    return float(np.sqrt(np.mean((held[3] @ read - wanted[3]) ** 2)) / wanted[3].std())


def learn(task: Task, layer: str, seed: int, **options: object) -> Fitted:
    """One model of the study: two blocks of 32 channels, N = 16 unless said otherwise."""
    sizes = {"width": 32, "order": 16, "steps": (1e-2, 1e-1), **{k: v for k, v in options.items() if k in SIZES}}
    rest = {"depth": 2, "peak_lr": 1e-2, "batch_size": 32, **{k: v for k, v in options.items() if k not in SIZES}}
    return fit(task, FitConfig(layer=LayerConfig(name=layer, **sizes), seed=seed, **rest))


SIZES = ("width", "order", "steps")


def figures_of(fitted: Fitted) -> Figures:
    """What every trained model reports."""
    return {"val": fitted.val, "test": fitted.test, "num_parameters": float(fitted.num_parameters)}


def with_tone(examples: Examples, angle: float, share: float) -> Examples:
    """A tone of a share of the range of the inputs (-1 to 1) on every example, each in a phase of its own."""
    draw = np.random.default_rng(7)
    phase_N1 = draw.uniform(0, 2 * np.pi, (examples.x.shape[0], 1))
    tone_NT = share * 2 * np.sin(angle * np.arange(examples.x.shape[1]) + phase_N1)
    x = (examples.x + tone_NT[..., None]).astype(np.float32)
    return Examples(x=x, y=examples.y, lengths_N=examples.lengths_N)


def run_robust(layer: str, seed: int) -> Figures:
    """Digits learnt clean, read with a tone at each of 20 angles and at the spike of S4D-LegS at the start."""
    task = make_task("digits", seed=0)
    fitted = learn(task, layer, seed, num_steps=600, order=TONE_ORDER, steps=(TONE_STEP, TONE_STEP))
    found = figures_of(fitted)
    spike = spike_angle(TONE_ORDER, TONE_STEP, "zoh")
    for share in TONE_SHARES:
        for angle in (*np.linspace(0.1, 3.1, 20), spike):
            name = f"tone_{share:g}_spike" if angle == spike else f"tone_{share:g}_{angle:.3f}"
            found[name] = score(fitted.model, with_tone(task.test, float(angle), share), task.goal)
    return found


def run_keywords(layer: str, seed: int, folder: Path) -> Figures:
    """Raw samples, 250 ms at 16 kHz."""
    task = read_keywords(folder, num_samples=4_000)
    fitted = learn(task, layer, seed, num_steps=120, width=16, steps=(1e-3, 1e-1), batch_size=8)
    words = sorted(path.name for path in (folder / "train").iterdir())
    others = read_examples(folder / "others" / "test", words, num_samples=4_000)
    found = figures_of(fitted) | {"other_speakers": score(fitted.model, others, task.goal)}
    slow = resampled(task.test, 16_000, 8_000)
    found["test_8khz_unadapted"] = score(fitted.model, slow, task.goal)
    if not layer.startswith("mamba"):
        found["test_8khz"] = score(fitted.model.at_rate(2), slow, task.goal)
    return found


def jobs(keywords: Path) -> Iterator[tuple[str, str, int, Callable[[], Figures]]]:
    """Every run: part, subject, seed, and how to make it."""
    for seed in SEEDS:
        for band_hz in (200.0, 1000.0):
            for kind in ("legs", "legt", "fout", "s4d-lin", "s4d-legs"):
                yield (
                    "delay",
                    f"{kind} {band_hz:.0f} Hz",
                    seed,
                    lambda k=kind, b=band_hz, s=seed: {
                        f"step_{step:g}": delay_error(k, step, b, s) for step in (1e-3, 2e-3)
                    },
                )
        for layer in LAYERS:
            yield (
                "digits",
                layer,
                seed,
                lambda n=layer, s=seed: figures_of(learn(make_task("digits", seed=0), n, s, num_steps=600)),
            )
        for layer in ROBUST:
            yield "robust", layer, seed, lambda n=layer, s=seed: run_robust(n, s)
        for layer in LAYERS:
            yield (
                "listops",
                layer,
                seed,
                lambda n=layer, s=seed: figures_of(learn(make_task("listops", seed=0), n, s, num_steps=350)),
            )
        for layer in LAYERS:
            yield "keywords", layer, seed, lambda n=layer, s=seed: run_keywords(n, s, keywords)


def run(out: Path, keywords: Path, parts: tuple[str, ...]) -> None:
    """Make what is missing."""
    done = {(r.config["part"], r.config["subject"], r.seed) for r in read_records(out)} if out.exists() else set()
    todo = [job for job in jobs(keywords) if job[0] in parts and job[:3] not in done]
    if any(part == "keywords" for part, *_ in todo) and not (keywords / "others").exists():
        make_keywords(keywords)
    for part, subject, seed, make in (bar := tqdm(todo, unit="run")):
        bar.set_postfix_str(f"{part} {subject} {seed}")
        start_s = time.perf_counter()
        figures = {name: round(value, 5) for name, value in make().items()}
        config: dict[str, object] = {"part": part, "subject": subject}
        seconds_s = round(time.perf_counter() - start_s, 1)
        append_record(
            out, Record(name="ssm_study", seed=seed, data_hash="", figures=figures, seconds_s=seconds_s, config=config)
        )


def summarise(out: Path) -> dict[str, dict[str, dict[str, list[float]]]]:
    """part -> subject -> figure -> [mean, standard deviation, runs]."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for record in read_records(out):
        part, subject = str(record.config["part"]), str(record.config["subject"])
        place = found.setdefault(part, {}).setdefault(subject, {})
        for name, value in {**record.figures, "seconds_s": record.seconds_s}.items():
            place.setdefault(name, []).append(value)
    return {
        part: {
            subject: {
                name: [round(statistics.fmean(v), 4), round(statistics.stdev(v), 4) if len(v) > 1 else 0.0, len(v)]
                for name, v in figures.items()
            }
            for subject, figures in subjects.items()
        }
        for part, subjects in found.items()
    }


def draw(summary: dict[str, dict[str, dict[str, list[float]]]], file: Path) -> None:
    """Accuracy against the frequency of the tone."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    panes = figure.subplots(1, len(TONE_SHARES), sharey=True)
    for axes, share in zip(panes, TONE_SHARES, strict=True):
        for colour, (layer, figures) in zip(COLOURS, summary["robust"].items(), strict=False):
            start = f"tone_{share:g}_"
            angles = sorted({n.removeprefix(start) for n in figures if n.startswith(start)} - {"spike"}, key=float)
            mean, spread = np.array([figures[start + angle][:2] for angle in angles]).T
            turns = np.array([float(angle) for angle in angles])
            axes.plot(turns, mean, color=colour, label=f"{layer}, clean {figures['test'][0]:.3f}")
            axes.fill_between(turns, mean - spread, mean + spread, color=colour, alpha=0.12, lw=0)
        axes.axvline(spike_angle(TONE_ORDER, TONE_STEP, "zoh"), color="0.5", lw=0.8, ls="--")
        axes.set_title(f"a tone of {share:.0%} of the range", fontsize=11)
        axes.set_xlabel("frequency, radians a sample; dashed: spike of S4D-LegS before training")
        axes.spines[["top", "right"]].set_visible(False)
    panes[0].set_ylabel("accuracy on digits")
    panes[0].legend(frameon=False, loc="lower right")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=90)


def main() -> None:
    """Parse and call."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="JSONL")
    parser.add_argument(
        "--keywords", type=Path, default=Path("keywords"), metavar="DIR", help="recordings, made if missing"
    )
    names = ("delay", "digits", "robust", "listops", "keywords")
    parser.add_argument("--parts", nargs="*", choices=names, default=names)
    parser.add_argument("--summary", type=Path, metavar="JSON", help="only sum up what is there")
    parser.add_argument("--figure", type=Path, metavar="PNG")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.summary is None:
        run(arguments.out, arguments.keywords, tuple(arguments.parts))
        return
    summary = summarise(arguments.out)
    arguments.summary.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    if arguments.figure is not None:
        draw(summary, arguments.figure)


if __name__ == "__main__":
    main()
