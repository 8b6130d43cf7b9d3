"""How many duplex dialogues a minute one core makes, and how much of that is reading and writing JSON.

Prints one JSON line. Chats of two to five exchanges (answers of 80 to 400 words, about the size of UltraChat's) are made by
seed, in memory; the build reads, slices and serialises them with the paper's mix. The peer is the least any builder must
do: read the same lines and write what was built again, with nothing in between.

    python benchmarks/duplex/data.py
"""

import json
import random
import tempfile
import time
from pathlib import Path

from fullduplex.base.record import Record, hash_bytes
from fullduplex.lm.ultrachat.build import BuildConfig, write_build
from fullduplex.lm.ultrachat.dialogues import read_dialogues
from fullduplex.lm.ultrachat.report import BuildReport

WORDS = (
    "the of and a to in is that it was for on are with as his they at be this from have or by one had not but what all "
    "were when we there can an your which their said if do will each about how up out them then she many some so these "
    "would other into has more her two like him see time could no make than first been its who now people over down only "
    "way find use may water long little very after words called just where most know because something international"
).split()
NUM_CHATS = 3_000


def text(draw: random.Random, count: int) -> str:
    """Sentences of common words."""
    words = [draw.choice(WORDS) for _ in range(count)]
    return " ".join(f"{word}." if not number % 12 else word for number, word in enumerate(words, 1))


def write_chats(file: Path, seed: int) -> None:
    """The source."""
    draw = random.Random(seed)
    with file.open("w", encoding="utf-8") as out:
        for _ in range(NUM_CHATS):
            messages = []
            for _ in range(draw.randint(2, 5)):
                messages.append({"role": "user", "content": text(draw, draw.randint(8, 30))})
                messages.append({"role": "assistant", "content": text(draw, draw.randint(80, 400))})
            out.write(json.dumps({"messages": messages}) + "\n")


def main() -> None:
    """Measure and print the record."""
    with tempfile.TemporaryDirectory() as place:
        source, out = Path(place) / "chat.jsonl", Path(place) / "duplex.jsonl"
        write_chats(source, seed=0)
        began = time.process_time()
        count = sum(1 for _ in write_build(out, read_dialogues(source), BuildConfig()))
        build_s = time.process_time() - began
        began = time.process_time()
        with source.open(encoding="utf-8") as lines:
            for line in lines:
                json.loads(line)
        read_s = time.process_time() - began
        with out.open(encoding="utf-8") as lines:
            plain = [json.loads(line) for line in lines]
        began = time.process_time()
        with (Path(place) / "copy.jsonl").open("w", encoding="utf-8") as copy:
            for entry in plain:
                copy.write(json.dumps(entry, ensure_ascii=False) + "\n")
        json_s = time.process_time() - began + read_s
        report = BuildReport()
        for built in write_build(Path(place) / "again.jsonl", read_dialogues(source), BuildConfig()):
            report.add(built)
        pairs = sum(row.pairs for row in report.kinds.values())
        figures = {
            "dialogues": count,
            "dialogues_per_min_core": round(60 * count / build_s),
            "pairs_per_dialogue": round(pairs / count, 1),
            "tokens_per_dialogue": round(sum(row.tokens for row in report.kinds.values()) / count, 1),
            "json_alone_per_min_core": round(60 * count / json_s),
            "build_over_json_alone": round(build_s / json_s, 2),
        }
        digest = hash_bytes([source.read_bytes()])
    record = Record(name="duplex_data", seed=0, data_hash=digest, figures=figures, seconds_s=build_s)
    print(record.to_json())


if __name__ == "__main__":
    main()
