"""What a build holds, beside what Duplex-UltraChat holds (2406.15718, table 1 and section 3)."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import nan

from fullduplex.lm.ultrachat.build import PAPER_MIX, Built
from fullduplex.lm.ultrachat.cut import Pieces, rough_pieces
from fullduplex.lm.ultrachat.kinds import KINDS, Kind

__all__ = ["PAPER_PAIRS", "PAPER_TOKENS", "BuildReport", "KindReport"]

# Average slice pairs and tokens of a dialogue, by kind.
PAPER_PAIRS: dict[Kind, float] = {
    "basic": 153.9,
    "interweave": 427.7,
    "terminate": 89.3,
    "regenerate": 171.2,
    "reset": 194.7,
    "back_on_topic": 199.1,
}
PAPER_TOKENS: dict[Kind, float] = {
    "basic": 2342.2,
    "interweave": 6819.6,
    "terminate": 1318.0,
    "regenerate": 2590.4,
    "reset": 2906.5,
    "back_on_topic": 2495.6,
}


@dataclass(slots=True, kw_only=True)
class KindReport:
    """Sums over the dialogues of one kind. `wanted`: how often it was drawn."""

    dialogues: int = 0
    wanted: int = 0
    pairs: int = 0
    tokens: int = 0
    interruptions: int = 0


@dataclass(slots=True, kw_only=True)
class BuildReport:
    """Everything counted in one pass.

    `tokens` counts the words of both sides and one token for each idle slice and each end of a slice, as the paper's
    serialisation has them; `pieces` counts them. `count_tokens` off makes it faster.
    """

    pieces: Pieces = rough_pieces
    count_tokens: bool = True
    kinds: dict[Kind, KindReport] = field(default_factory=lambda: {kind: KindReport() for kind in KINDS})
    user_words: Counter[int] = field(default_factory=Counter[int])
    answer_tokens: Counter[int] = field(default_factory=Counter[int])
    idle_user: int = 0
    idle_machine: int = 0

    def add(self, built: Built) -> None:
        """Count one dialogue."""
        sliced = built.sliced
        row = self.kinds[sliced.kind]
        row.dialogues += 1
        self.kinds[built.wanted].wanted += 1
        row.pairs += len(sliced.pairs)
        row.interruptions += sum(what == "interrupt" for what, _ in sliced.marks)
        for user, machine in sliced.pairs:
            if user:
                self.user_words[len(user.split())] += 1
            else:
                self.idle_user += 1
            self.idle_machine += not machine
            if self.count_tokens:
                row.tokens += self._tokens(user, machine)

    def _tokens(self, user: str, machine: str) -> int:
        said = len(self.pieces(machine)) if machine else 0
        if machine:
            self.answer_tokens[said] += 1
        return (len(self.pieces(user)) if user else 1) + (said or 1) + 1

    def addall(self, builds: Iterable[Built]) -> "BuildReport":
        """Count many."""
        for built in builds:
            self.add(built)
        return self

    @property
    def num_dialogues(self) -> int:
        """Of all kinds."""
        return sum(row.dialogues for row in self.kinds.values())

    def figures(self) -> dict[str, dict[str, float]]:
        """By kind: counts, shares and means here, and the paper's; NaN where there is none."""
        total, paper_total = self.num_dialogues, sum(PAPER_MIX.values())
        out: dict[str, dict[str, float]] = {}
        for kind, row in self.kinds.items():
            count = row.dialogues
            out[kind] = {
                "dialogues": count,
                "drawn": row.wanted,
                "share": count / total if total else nan,
                "share_paper": PAPER_MIX.get(kind, nan) / paper_total,
                "pairs": row.pairs / count if count else nan,
                "pairs_paper": PAPER_PAIRS.get(kind, nan),
                "tokens": row.tokens / count if count and self.count_tokens else nan,
                "tokens_paper": PAPER_TOKENS.get(kind, nan),
                "interruptions": row.interruptions / count if count else nan,
            }
        return out

    def slices(self) -> dict[str, float]:
        """Mean words of a user slice (the paper: 4 to 6), mean tokens of a machine slice (10), shares of idle slices."""
        spoken, said = sum(self.user_words.values()), sum(self.answer_tokens.values())
        pairs = spoken + self.idle_user
        return {
            "user_words_mean": sum(n * k for n, k in self.user_words.items()) / spoken if spoken else nan,
            "answer_tokens_mean": sum(n * k for n, k in self.answer_tokens.items()) / said if said else nan,
            "user_idle_share": self.idle_user / pairs if pairs else nan,
            "machine_idle_share": self.idle_machine / pairs if pairs else nan,
        }
