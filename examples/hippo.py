"""Keep the last tenth of a second of a sound in 64 numbers, and read it back.

python examples/hippo.py
"""

import numpy as np

from fullduplex.ssm.hippo.inspection import inspect_memory
from fullduplex.ssm.hippo.memory import GrowingMemory, Memory
from fullduplex.ssm.hippo.timescale import decay_s, remember_s

RATE_HZ = 8_000
time_s = np.arange(RATE_HZ) / RATE_HZ
sound = np.sin(2 * np.pi * 60 * time_s) * np.sin(2 * np.pi * 3 * time_s) + 0.3 * np.sin(2 * np.pi * 95 * time_s + 1)

for timescale in (remember_s("legt", 0.1, RATE_HZ), remember_s("fout", 0.1, RATE_HZ), decay_s("legs", 0.1, RATE_HZ)):
    memory = Memory(timescale, 64)
    seen = inspect_memory(sound, memory, rate_hz=RATE_HZ)
    print(f"{timescale.kind}: step {timescale.step:.2e}, error over the last 0.1 s: {seen.error:.3f}")

# The state is a value: cut the sound anywhere, keep the state, go on.
memory = Memory(remember_s("legt", 0.1, RATE_HZ), 64)
heard = memory.scan(sound[:5000], memory.init())
later = memory.scan(sound[5000:], heard)
print(f"the newest sample was {sound[-1]:+.3f} and is recalled as {memory.recall(later, [0])[0]:+.3f}")
print(f"50 ms ago it was {sound[-401]:+.3f} and is recalled as {memory.recall(later, [400])[0]:+.3f}")

# All of the past at equal weight, with no timescale to choose.
growing = GrowingMemory(32)
slow = np.sin(2 * np.pi * 2 * time_s[::20])
whole = growing.scan(slow, growing.init())
missed = growing.recall(whole, np.arange(slow.size)) - slow[::-1]
print(f"a whole second in 32 numbers: error at most {np.abs(missed[5:-5]).max():.3f}")
