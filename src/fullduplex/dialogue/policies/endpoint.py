"""Has the user finished? Sound, words and silence fused into one probability.

P(finished) = sigmoid(w . features), features: logit of the acoustic judge, logit of the language model's own
end-of-message probability, log of the silence in units of 0.2 s, and whether the transcript ends in final punctuation.
A judge that has not answered or does not exist counts as undecided (logit 0 with its own indicator weight 0).

The weights were fitted by `scripts/fit_endpoint.py` (see docs/systems/turns.md for the data and the error rates); the
policy ends the turn when the probability passes `threshold`: one number, the trade between cut-ins and waiting.
"""

import math
from dataclasses import dataclass

__all__ = ["FITTED", "EndpointConfig", "EndpointEvidence", "end_probability"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointEvidence:
    """`sound`, `words`: probabilities or None; `silence_s` since the last speech; `punctuated`: ends in . ? or !"""

    sound: float | None
    words: float | None
    silence_s: float
    punctuated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointConfig:
    """Weights, and the threshold that trades cut-ins against waiting."""

    threshold: float = 0.6
    bias: float = 1.593
    sound: float = 0.588
    words: float = 0.839
    silence: float = 1.143
    punctuated: float = -0.117
    min_silence_s: float = 0.15
    max_silence_s: float = 2.0


# Each brain scores words on a scale of its own. Others use the first.
FITTED: dict[str, EndpointConfig] = {
    "small": EndpointConfig(),
    "good": EndpointConfig(threshold=0.7, bias=1.387, sound=0.623, words=0.8, silence=0.924, punctuated=0.267),
}


def _logit(probability: float, floor: float) -> float:
    clipped = min(max(probability, floor), 1.0 - floor)
    return math.log(clipped / (1.0 - clipped))


def end_probability(evidence: EndpointEvidence, config: EndpointConfig) -> float:
    """P(finished) in [0, 1]; 0 before `min_silence_s`, 1 after `max_silence_s`."""
    if evidence.silence_s < config.min_silence_s:
        return 0.0
    if evidence.silence_s >= config.max_silence_s:
        return 1.0
    score = config.bias + config.silence * math.log(evidence.silence_s / 0.2)
    if evidence.sound is not None:
        score += config.sound * _logit(evidence.sound, 0.02)
    if evidence.words is not None:
        score += config.words * _logit(evidence.words, 1e-4)
    if evidence.punctuated:
        score += config.punctuated
    return 1.0 / (1.0 + math.exp(-score))
