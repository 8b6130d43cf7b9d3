"""What users say when they break in: as many sentences of each kind as the paper has (appendix A), in words of our own.

An empty string is a user who says nothing first. The paper's own sentences can be given instead, as `Phrases`.
"""

from dataclasses import dataclass

from fullduplex.base.errors import InputError

__all__ = ["BACKCHANNELS", "NOISES", "Phrases"]

_STOP_AND_ASK = (
    "",
    "Hang on, this cannot wait.",
    "Just a second, let me say something.",
    "Sorry to cut in, there is something else I need.",
    "Can I stop you there for a moment?",
    "Pardon me, something more important has come up.",
    "Let me jump in here.",
    "One quick thing before you go on.",
)
_STOP = (
    "Thanks, but I would like some quiet now.",
    "Please stop, I need to concentrate.",
    "That's enough, be quiet please.",
)
_AGAIN = (
    "I think I said that badly. What I wanted to know was this:",
    "We may be talking about different things. Let me put it again:",
    "I was hoping for something more precise about this:",
    "That is not quite what I was after. My question is:",
    "Let me ask that in another way:",
    "That does not sound right to me. Once more:",
    "This does not fit what I have read. Can we go over it again?",
    "I am afraid that is not correct. Please look at it again:",
    "No, that is wrong. Try again:",
    "Thank you for trying, but you have misunderstood me. I asked:",
    "Let me make my point clearer, so that we mean the same thing:",
    "There is a misunderstanding here. I mean:",
    "No.",
    "Oh no.",
    "No, you have got that wrong.",
)
_ANOTHER = (
    "",
    "Interesting, and that brings me to something else.",
    "I have been thinking about another thing.",
    "Nice. Now a completely different question.",
    "I read about something the other day.",
    "By the way, on another subject.",
    "That reminds me of something.",
    "Could we talk about something else for a bit?",
    "There is something I have been wondering about.",
    "Here is a thought that just came to me.",
    "New subject.",
    "Let's move on to another question.",
    "Forget that for now.",
    "Let's switch to something different.",
    "On a different note.",
    "Speaking of which, here is another one.",
    "Leaving that aside.",
    "Never mind that, tell me this.",
)
_BACK = (
    "Now, back to where I was.",
    "As I was saying,",
    "To continue,",
    "Going on from there,",
    "So, to return to it,",
)

# Sounds that keep the other speaker going, and sounds that mean nothing: ours, not the paper's.
BACKCHANNELS = ("mm-hm", "uh-huh", "yeah", "right", "okay", "I see", "oh wow", "sure", "got it", "go on")
NOISES = ("(cough)", "(noise)", "uh", "um", "(laughter)", "hmm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrases:
    """Sentences by use. The paper has 11 to stop with, 15 to ask again with, 18 to change the subject with."""

    stop_and_ask: tuple[str, ...] = _STOP_AND_ASK
    stop: tuple[str, ...] = _STOP
    again: tuple[str, ...] = _AGAIN
    another: tuple[str, ...] = _ANOTHER
    back: tuple[str, ...] = _BACK

    def __post_init__(self) -> None:
        for name in ("stop_and_ask", "stop", "again", "another", "back"):
            if not getattr(self, name):
                raise InputError(f"no phrases to {name}; expected at least one")
        if "" in self.stop:
            raise InputError("a phrase to stop with must have words")
