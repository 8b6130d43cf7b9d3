"""A small Mamba learns to continue a rhythm of bytes, then writes on token by token from a state of constant size.

python examples/mamba.py
"""

import torch

from fullduplex.nn.mamba.layout import Checkpoint
from fullduplex.nn.mamba.mamba1 import MambaConfig
from fullduplex.nn.state import fork, state_size_bytes
from fullduplex.ssm.language import continue_text, next_token_loss
from fullduplex.ssm.pretrained import new_mamba

torch.set_num_threads(1)
torch.manual_seed(0)
generator = torch.Generator().manual_seed(0)
text = b"one and two and three and four and " * 40
ids_T = torch.tensor(list(text))
checkpoint = Checkpoint(layer=MambaConfig(width=48, order=8), num_layers=2, vocabulary=256)
model = new_mamba(checkpoint, generator=generator)
optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.0)

for turn in range(121):
    starts = torch.randint(0, len(text) - 65, (8,), generator=generator).tolist()
    loss = next_token_loss(model, torch.stack([ids_T[start : start + 65] for start in starts]))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    if turn % 40 == 0:
        print(f"after {turn:3d} updates: {loss.item():.3f} nats a byte")

prompt = torch.tensor([list(b"one and two and thr")])
written, state = continue_text(model, prompt, 24)
print("it writes:", bytes(prompt[0].tolist()) + bytes(written[0].tolist()))

# The state is a value: keep it, go on in two ways, and nothing that one future does reaches the other.
kept = fork(state)
with torch.no_grad():
    for turn_of_phrase in (b" one", b" fou"):
        logits_BTV, _ = model.scan(torch.tensor([list(turn_of_phrase)]), kept)
        best = int(logits_BTV[0, -1].argmax())
        print(f"after {turn_of_phrase!r} it expects {bytes([best])!r}")
print(
    f"its state has {state_size_bytes(state)} bytes after {prompt.shape[1] + written.shape[1]} bytes of text, "
    "and would after a million"
)
