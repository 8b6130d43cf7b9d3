"""A shouted command is found although it was misread; other short words are left alone."""

from collections.abc import Sequence

import numpy as np
import pytest

from fullduplex.base.errors import ConfigError, InputError
from fullduplex.evaluate.clips import clip_names, load_clip
from fullduplex.numerics.signal import Pcm
from fullduplex.speech.commands import COMMANDS, CommandConfig, prefer_command
from fullduplex.speech.recogniser import Hypothesis, Moonshine

CONFIG = CommandConfig()
SOUND = np.full(8_000, 0.1, np.float32)


class Table:
    """Scores by text."""

    def __init__(self, free: float, **scores: float) -> None:
        self.free, self.scores, self.asked = free, scores, 0

    def score(self, pcm: Pcm, candidates: Sequence[str | tuple[int, ...]]) -> list[Hypothesis]:
        self.asked += 1
        return [
            Hypothesis(c, (7,), self.scores.get(c.strip(".").lower(), -20.0))
            if isinstance(c, str)
            else Hypothesis("read", c, self.free)
            for c in candidates
        ]


@pytest.mark.parametrize(
    ("free", "stop", "text"),
    [(-4.0, -4.3, "Stop."), (-1.0, -4.3, "Stomper."), (-7.0, -7.5, "Stomper."), (-9.0, -4.9, "Stop.")],
)
def test_a_command_must_fit_well_and_almost_as_well_as_what_was_read(free: float, stop: float, text: str) -> None:
    chosen = prefer_command(Table(free, stop=stop), SOUND, Hypothesis("Stomper.", (1, 2)), CONFIG)
    assert chosen.text == text


def test_long_sounds_commands_and_silence_cost_nothing() -> None:
    table = Table(-1.0)
    long_sound = np.tile(SOUND, 4)
    for pcm, free in [
        (long_sound, Hypothesis("Stomper.", (1,))),
        (SOUND, Hypothesis("Stop.", (1,))),
        (SOUND, Hypothesis("")),
        (SOUND, Hypothesis("Please stomp on it.", (1, 2, 3, 4))),
    ]:
        assert prefer_command(table, pcm, free, CONFIG) is free
    assert table.asked == 0


@pytest.mark.parametrize("commands", [(), ("Stop.", " ")])
def test_no_commands_are_refused(commands: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="commands"):
        CommandConfig(commands=commands)


def _heard(pcm: Pcm, lead_s: float) -> Pcm:
    """As the session cuts it: some room before, two frames after."""
    room = 3e-4 * np.random.default_rng(0).standard_normal(pcm.size + int((lead_s + 0.1) * 16_000))
    room[int(lead_s * 16_000) :][: pcm.size] += pcm
    return room.astype(np.float32)


@pytest.mark.parametrize("name", ["interruption-03-f2", "interruption-03-m3"])
def test_stop_is_understood_from_speakers_the_limits_were_not_set_on(moonshine: Moonshine, name: str) -> None:
    sound = _heard(load_clip(name).pcm, 0.38)
    chosen = prefer_command(moonshine, sound, moonshine.recognise(sound), CONFIG)
    assert "stop" in chosen.text.lower()


def test_no_backchannel_becomes_a_command(moonshine: Moonshine) -> None:
    for name in clip_names("backchannel"):
        sound = _heard(load_clip(name).pcm, 0.38)
        chosen = prefer_command(moonshine, sound, moonshine.recognise(sound), CONFIG)
        assert chosen.text not in COMMANDS, name


def test_a_batch_scores_as_each_text_alone(moonshine: Moonshine) -> None:
    """The export's activations are quantised by pass: scores move by up to about 1.2 nats, never the order here."""
    sound = _heard(load_clip("interruption-03-f2").pcm, 0.2)
    texts = ("Stop.", "Wait, wait.", "The moon is far away.")
    together = moonshine.score(sound, texts)
    alone = [moonshine.score(sound, (text,))[0] for text in texts]
    assert [h.text for h in together] == list(texts)
    assert np.allclose([h.score for h in together], [h.score for h in alone], atol=2.5)
    assert together[0].score > together[1].score > together[2].score


def test_scoring_refuses_nothing_and_bad_tokens(moonshine: Moonshine) -> None:
    with pytest.raises(InputError, match="candidate"):
        moonshine.score(SOUND, ())
    with pytest.raises(InputError, match="token"):
        moonshine.score(SOUND, ((10**9,),))
    assert moonshine.score(np.zeros(16_000, np.float32), ("Stop.",))[0].score == -np.inf
