"""A chat becomes time slices: the same dialogue undisturbed, broken into, and picked up again.

python examples/duplex_data.py
"""

from fullduplex.base.slices import slice_messages
from fullduplex.lm.ultrachat.build import OURS_MIX, BuildConfig, build
from fullduplex.lm.ultrachat.dialogues import dialogue_from
from fullduplex.lm.ultrachat.report import BuildReport

FRIDGE = (
    "A fridge moves heat from the inside to the outside. A liquid evaporates in thin pipes behind the wall and takes "
    "heat with it; a pump then squeezes the vapour until it is hot enough to give that heat away at the back."
)
CHATS = [
    {"data": ["How does a fridge keep my food cold through the whole summer?", FRIDGE, "Is that loud?", "Not very."]},
    {"data": ["What do plants need?", "Plants need light, water, air and a few minerals out of the soil. " * 3]},
    {
        "data": [
            "Why is the sky blue?",
            "Because air scatters short waves of light more than it scatters long ones. " * 3,
        ]
    },
    {
        "data": [
            "Who wrote Hamlet?",
            "William Shakespeare did, around the year 1600, for his own company in London. " * 2,
        ]
    },
    {
        "data": [
            "How far is the sun?",
            "About one hundred and fifty million kilometres, or eight minutes of light. " * 2,
        ]
    },
]
source = [dialogue_from(chat, str(number)) for number, chat in enumerate(CHATS)]

shown: set[str] = set()
for built in build(source, BuildConfig(mix=OURS_MIX, copies=12, seed=3)):
    kind = built.sliced.kind
    if kind in shown or kind in ("interweave", "reset"):
        continue
    shown.add(kind)
    print(f"\n{kind}")
    marks = {at: what for what, at in built.sliced.marks}
    for number, (user, machine) in enumerate(built.sliced.pairs[:14]):
        print(f"  {user or '-':<36} | {machine.strip() or '-':<58} {marks.get(number, '')}".rstrip())

# What a model reads and writes: one message of each side a slice.
first = next(iter(build(source, BuildConfig(mix={"basic": 1}))))
print("\n" + " / ".join(f"{message.role[0]}: {message.text}" for message in slice_messages(first.sliced.pairs[:3])))

report = BuildReport().addall(build(source, BuildConfig(copies=40)))
print(f"\n{report.num_dialogues} dialogues; shares here and in the paper:")
for kind, row in report.figures().items():
    if row["dialogues"]:
        print(f"  {kind:<14} {row['share']:.3f} {row['share_paper']:.3f}, {row['pairs']:.0f} slices")
