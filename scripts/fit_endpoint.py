"""Fit the end-of-turn fusion: sound, words, silence and punctuation to one probability.

    python scripts/fit_endpoint.py --out docs/data/endpoint_fit.json

Sentences of scripts/endpoint_sentences.txt are spoken by Kokoro speakers that are not the simulator's callers; each is
finished, and unfinished where a speaker may stop to think. The models that run in a conversation judge every one. An
unfinished pause lasts a log-normal time (median 0.6 s); at each silence of a grid, pauses that have lasted so far are
examples. Logistic regression, weights by silence; sentences are split in five folds for the error rates that are printed.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from fullduplex.base.chat import Message
from fullduplex.base.units import EAR_RATE_HZ, VOICE_RATE_HZ
from fullduplex.dialogue.desk import DEFAULT_SYSTEM
from fullduplex.numerics.resample import resample
from fullduplex.recipes.parts import PartsConfig, open_kokoro, open_lexicon, open_parts

SPEAKERS = ("af_heart", "am_fenrir")
GRID_S = (0.16, 0.22, 0.3, 0.4, 0.55, 0.75, 1.0, 1.4)
PAUSE_S = 0.1


def examples(limit: int) -> list[tuple[str, bool, int]]:
    lines = Path(__file__).with_name("endpoint_sentences.txt").read_text(encoding="utf-8").splitlines()
    rows: list[tuple[str, bool, int]] = []
    for i, line in enumerate(line for line in lines if line and not line.startswith("#")):
        first, _, rest = line.partition("|")
        rows.append((" ".join(line.replace("|", " ").split()), True, i))
        if rest:
            rows.append((first.strip().rstrip(","), False, i))
    return rows[:limit]


def logits(row: dict[str, object]) -> tuple[float, float]:
    """As the policy clips them: sound at 2 %, words at 0.01 % (what the language model rules out matters)."""
    sound, words = np.array([row["sound"], row["words"]], float)
    return float(logit(sound, 0.02)), float(logit(words, 1e-4))


def logit(p: np.ndarray, floor: float) -> np.ndarray:
    p = np.clip(p, floor, 1 - floor)
    return np.log(p / (1 - p))


def judge(rows: list[tuple[str, bool, int]], brain_name: str) -> list[dict[str, object]]:
    parts = open_parts(PartsConfig(brain=brain_name, strict=True))
    lexicon = open_lexicon()
    voices = [open_kokoro(name, lexicon) for name in SPEAKERS]
    assert parts.recogniser is not None and parts.turn_end is not None
    silence = np.zeros(round(PAUSE_S * EAR_RATE_HZ), np.float32)
    judged: list[dict[str, object]] = []
    for k, (text, done, sentence) in enumerate(rows):
        pcm = resample(voices[k % 2].speak(text).pcm_N, VOICE_RATE_HZ, EAR_RATE_HZ)
        sound = parts.turn_end.judge(np.concatenate([pcm, silence]))
        heard = parts.recogniser.recognise(np.concatenate([silence, pcm, silence])).text.strip(" \"'")
        messages = (Message("system", DEFAULT_SYSTEM), Message("user", heard or "uh"))
        words = parts.brain.end_probability(messages, key="fit")
        judged.append(
            {
                "sentence": sentence,
                "text": text,
                "heard": heard,
                "done": done,
                "sound": float(sound),
                "words": float(words if words is not None else 0.5),
                "punctuated": heard.endswith((".", "?", "!")),
            }
        )
    return judged


def table(judged: list[dict[str, object]], seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (1, logit sound, logit words, log silence, punctuated), targets, sentence of each row."""
    generator = np.random.default_rng(seed)
    features, targets, groups = [], [], []
    for row in judged:
        pause_s = np.inf if row["done"] else 0.6 * np.exp(0.5 * generator.standard_normal())
        for s in GRID_S:
            if s < pause_s:
                sound, words = logits(row)
                features.append([1.0, sound, words, np.log(s / 0.2), float(bool(row["punctuated"]))])
                targets.append(float(bool(row["done"])))
                groups.append(row["sentence"])
    return np.array(features), np.array(targets), np.array(groups)


def fit(x: np.ndarray, y: np.ndarray, ridge: float = 0.5) -> np.ndarray:
    """Newton's method for ridge-penalised logistic regression (the bias is free)."""
    w = np.zeros(x.shape[1])
    penalty = ridge * np.diag([0.0] + [1.0] * (x.shape[1] - 1))
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ w))
        hessian = (x * (p * (1 - p))[:, None]).T @ x + penalty
        w = w - np.linalg.solve(hessian, x.T @ (p - y) + penalty @ w)
    return w


def first_crossing(row: dict[str, object], w: np.ndarray, threshold: float) -> float:
    """Silence at which the turn would be ended."""
    sound, words = logits(row)
    for s in np.arange(0.16, 2.0, 0.02):
        score = w @ np.array([1.0, sound, words, np.log(s / 0.2), float(bool(row["punctuated"]))])
        if 1 / (1 + np.exp(-score)) >= threshold:
            return float(s)
    return 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--brain", default="small")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--judged", type=Path, help="an earlier report: fit again without running the models")
    parser.add_argument("--limit", type=int, default=10_000)
    arguments = parser.parse_args()
    if arguments.judged is None:
        judged = judge(examples(arguments.limit), arguments.brain)
    else:
        judged = json.loads(arguments.judged.read_text(encoding="utf-8"))["judged"]
    x, y, groups = table(judged, arguments.seed)
    w = fit(x, y)
    names = ("bias", "sound", "words", "silence", "punctuated")
    report: dict[str, object] = {
        "weights": dict(zip(names, np.round(w, 3).tolist(), strict=True)),
        "brain": arguments.brain,
    }
    generator = np.random.default_rng(arguments.seed + 1)
    held: dict[float, list[tuple[bool, float, float]]] = {t: [] for t in (0.5, 0.6, 0.7, 0.8, 0.85, 0.9)}
    for fold in range(5):
        wf = fit(x[groups % 5 != fold], y[groups % 5 != fold])
        for row in judged:
            if int(str(row["sentence"])) % 5 == fold:
                pause_s = 0.6 * np.exp(0.5 * generator.standard_normal())
                for threshold, rows in held.items():
                    rows.append((bool(row["done"]), first_crossing(row, wf, threshold), pause_s))
    report["held_out"] = {
        str(t): {
            "cut_in_rate_of_pauses": round(float(np.mean([cut < pause for done, cut, pause in rows if not done])), 3),
            "wait_s_median": round(float(np.median([cut for done, cut, _ in rows if done])), 3),
            "wait_s_p95": round(float(np.quantile([cut for done, cut, _ in rows if done], 0.95)), 3),
        }
        for t, rows in held.items()
    }
    report["judged"] = judged
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps({k: v for k, v in report.items() if k != "judged"}, indent=1))


if __name__ == "__main__":
    main()
