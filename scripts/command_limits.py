"""How well commands, and short texts that sound like them, fit what two speakers say: sets the limits of speech/commands.py.

    fullduplex assets get kokoro-82m && python scripts/command_limits.py

Neither speaker is among the caller's clips. Prints every text that is no command and would be taken for one, then the
counts at several limits. About six minutes on one core.
"""

import itertools

import numpy as np

from fullduplex.base.units import EAR_RATE_HZ, VOICE_RATE_HZ
from fullduplex.numerics.resample import resample
from fullduplex.numerics.signal import Pcm
from fullduplex.recipes.parts import PartsConfig, open_kokoro, open_lexicon, open_parts
from fullduplex.speech.commands import COMMANDS, CommandConfig
from fullduplex.speech.recogniser import Moonshine

OTHERS = """
Mm-hmm. Yeah. Okay. Right. Uh-huh. I see. Sure. Really? Wow. Got it. Great. Cool. Of course. True. Exactly. Oh, nice. Go on.
Makes sense. Yes. Maybe. Good idea. I know. Nice. Interesting. Oh no kidding. Oh wow. Absolutely. Alright. Definitely.
Hello. Hi there. Thanks. No problem. No way. Sorry. Not now. Whole thing.
Weight. Wheat. Water. Late. Way. Shop. Top. Step. Spot. Stock. Stay. Start. Story. Store it. Show it. Stomach. Star. Stone.
Stuff. Stamp. Snack. Soap. Snow. Know. Now. Note. So. Hold. Told on. Hop it. Great one. New York. Exotic. Accuse me.
"""
SPEAKERS, SPEEDS = ("af_heart", "am_fenrir"), (0.85, 1.0, 1.2)
RMS, NOISE_RMS = 0.09, 3e-4


def as_heard(pcm_24k: Pcm, generator: np.random.Generator) -> Pcm:
    """A spoken text as a final reading gets it: some room before and a pause behind, at the level of the clips."""
    sound = resample(pcm_24k, VOICE_RATE_HZ, EAR_RATE_HZ)
    loud = np.flatnonzero(np.abs(sound) > 0.01)
    sound = sound[loud[0] : loud[-1] + 1]
    lead, tail = (int(EAR_RATE_HZ * generator.uniform(*span_s)) for span_s in ((0.28, 0.48), (0.07, 0.2)))
    room = NOISE_RMS * generator.standard_normal(lead + sound.size + tail)
    room[lead : lead + sound.size] += sound * (RMS / np.sqrt(np.mean(np.square(sound))))
    return room.astype(np.float32)


def main() -> None:
    config, generator = CommandConfig(), np.random.default_rng(0)
    others = [text.strip() for text in OTHERS.replace("?", ".").replace("\n", " ").split(".") if text.strip()]
    recogniser = open_parts(PartsConfig(brain="scripted", voice="tones", strict=True)).recogniser
    assert isinstance(recogniser, Moonshine)
    lexicon = open_lexicon()
    rows: list[tuple[bool, float, float]] = []  # a command?, its score, how much better the free reading fits
    for speaker, speed in itertools.product(SPEAKERS, SPEEDS):
        voice = open_kokoro(speaker, lexicon, speed=speed)
        for text in (*COMMANDS, *others):
            sound = as_heard(voice.speak(text).pcm_N, generator)
            free = recogniser.recognise(sound)
            if not free.tokens or sound.size > config.longest_s * EAR_RATE_HZ:
                continue
            read, *commands = recogniser.score(sound, (free.tokens, *COMMANDS))
            best = max(commands, key=lambda command: command.score)
            rows.append((text in COMMANDS, best.score, read.score - best.score))
            if text not in COMMANDS and rows[-1][2] <= config.max_deficit_nats:
                print(f"{speaker}: {text!r}, read as {free.text!r}, is taken for {best.text!r} ({best.score:.1f})")
    num_commands = sum(command for command, _, _ in rows)
    for max_deficit in (1.8, 2.2, 2.6):
        for min_score in (-5.0, -6.0, -7.0):
            taken = [command for command, score, deficit in rows if score >= min_score and deficit <= max_deficit]
            told = f"{sum(taken)} of {num_commands} commands, {len(taken) - sum(taken)} of {len(rows) - num_commands} others"
            print(f"within {max_deficit} nats, at {min_score} or better: {told}")


if __name__ == "__main__":
    main()
