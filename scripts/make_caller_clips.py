"""Render the fixed caller clips of the simulator with Kokoro voices (none of them is the machine's own voice).

    python scripts/make_caller_clips.py src/fullduplex/evaluate/clips

Writes one 16 kHz FLAC per line and `clips.toml`, which names text, speaker and kind. The clips are committed, so that
every machine hears the same caller; run this only to change the lines. Needs the asset kokoro-82m.
"""

import sys
from pathlib import Path

import numpy as np
import soundfile

from fullduplex.base.units import EAR_RATE_HZ, VOICE_RATE_HZ
from fullduplex.numerics.resample import resample
from fullduplex.recipes.parts import open_kokoro, open_lexicon
from fullduplex.speech.english.lexicon import Lexicon

SPEAKERS = ("af_bella", "am_michael", "bf_emma", "bm_george")

QUESTIONS = [
    "What is the capital of France?",
    "Can you tell me something interesting about the moon?",
    "How do I boil an egg?",
    "Tell me a short story about a dog.",
    "Why is the sky blue?",
    "My name is Anna, and I live in Berlin.",
    "What should I cook for dinner tonight?",
    "Explain how a bicycle works.",
    "What is the largest animal in the world?",
    "Could you give me some advice on sleeping better?",
    "How many days are there in a year?",
    "What do plants need to grow?",
    "Tell me about the history of Rome.",
    "I feel a little tired today.",
    "What is your favourite season?",
    "How far away is the sun?",
    "Please describe a rainbow to me.",
    "Who wrote Romeo and Juliet?",
    "What can I do on a rainy day?",
    "How does a fridge keep food cold?",
]
PAUSED = [  # said in two pieces with a pause between them: one turn
    ("I would like to know", "how far away the sun is."),
    ("Could you tell me", "what the weather is like in spring?"),
    ("Yesterday I went to the market and", "I bought some apples."),
    ("My favourite food is", "pasta with tomato sauce."),
    ("Can you explain", "why birds fly south in winter?"),
    ("I was thinking about", "learning to play the piano."),
    ("If I have three apples and", "I eat one, how many are left?"),
    ("What is the name of the", "biggest city in Japan?"),
]
INTERRUPTIONS = [
    "No, stop, that is not what I meant.",
    "Wait, wait.",
    "Stop.",
    "Actually, tell me about cats instead.",
    "Hold on a second.",
    "Sorry, what did you say?",
    "Can we talk about something else?",
    "No, I meant the capital of Spain.",
    "Let me ask you another question.",
    "That is enough, thank you.",
]
BACKCHANNELS = ["Mm-hm.", "Uh-huh.", "Yeah.", "Right.", "Okay.", "I see.", "Oh, wow."]
HUMS = {"mm": "m", "hm": "hˈm", "uh": "ˈʌ", "huh": "hˈʌ"}  # the dictionary spells the hums of people out
SIDE_TALK = ["Honey, have you seen my keys?", "The train leaves at nine from platform four, I think."]


class Humming:
    """The lexicon, with hums as people make them."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon

    def pronounce(self, word: str, before: str = "", after: str = "") -> str:
        return HUMS.get(word.lower()) or self._lexicon.pronounce(word, before, after)


def trimmed(pcm: np.ndarray) -> np.ndarray:
    """Without silence at either end (below -45 dBFS in 10 ms)."""
    hop = EAR_RATE_HZ // 100
    level = np.sqrt(np.mean(np.square(pcm[: pcm.size // hop * hop].reshape(-1, hop)), axis=1))
    loud = np.flatnonzero(level > 10 ** (-45 / 20))
    return pcm[loud[0] * hop : (loud[-1] + 1) * hop]


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lexicon = Humming(open_lexicon())
    voices = {name: open_kokoro(name, lexicon) for name in SPEAKERS}
    lines: list[tuple[str, str, str, str]] = []
    for i, text in enumerate(QUESTIONS):
        lines.append((f"question-{i + 1:02d}", "turn", text, SPEAKERS[i % 4]))
    for i, (first, second) in enumerate(PAUSED):
        lines.append((f"paused-{i + 1:02d}a", "first_half", first, SPEAKERS[i % 4]))
        lines.append((f"paused-{i + 1:02d}b", "second_half", second, SPEAKERS[i % 4]))
    for i, text in enumerate(INTERRUPTIONS):
        for k in (i % 4, (i + 1) % 4):
            lines.append((f"interruption-{i + 1:02d}-{SPEAKERS[k][1]}{k}", "interruption", text, SPEAKERS[k]))
    for i, text in enumerate(BACKCHANNELS):
        for k in range(4):
            lines.append((f"backchannel-{i + 1:02d}-{SPEAKERS[k][1]}{k}", "backchannel", text, SPEAKERS[k]))
    for i, text in enumerate(SIDE_TALK):
        lines.append((f"side-{i + 1:02d}", "side_talk", text, SPEAKERS[i * 2 + 1]))
    entries = ["# Written by scripts/make_caller_clips.py; Kokoro-82M v1.0 (Apache-2.0) speaks.\n"]
    for name, kind, text, speaker in lines:
        speech = voices[speaker].speak(text)
        pcm = trimmed(resample(speech.pcm_N, VOICE_RATE_HZ, EAR_RATE_HZ))
        soundfile.write(folder / f"{name}.flac", pcm, EAR_RATE_HZ, subtype="PCM_16")
        entries.append(f'[{name}]\nkind = "{kind}"\ntext = "{text}"\nspeaker = "{speaker}"\n')
        print(f"{name}  {pcm.size / EAR_RATE_HZ:.2f} s  {text}")
    (folder / "clips.toml").write_text("\n".join(entries), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
