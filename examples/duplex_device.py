"""How many people can talk to one device at once? A growing cache against a constant state, and units in memory."""

from fullduplex.hardware.device import System
from fullduplex.hardware.presets import load_presets
from fullduplex.hardware.serving.sessions import DuplexLoad, capacity
from fullduplex.hardware.stage import Stage, stage_cost
from fullduplex.hardware.workload import active_experts

presets = load_presets()
gpu = System(device=presets.find_device("gpu"))
duplex = System(device=presets.find_device("duplex"))

print("sessions that a GPU holds, a token in every 80 ms frame:")
for name in ("llama3-8b", "mamba2-2.7b"):
    for minutes in (1, 10, 60):
        room = capacity(presets.find_model(name), gpu, DuplexLoad(conversation_s=60.0 * minutes))
        print(f"  {name:<12} after {minutes:>2} min: {room.sessions:>4}, limited by {room.limited_by}")

print("with 12 ms instead of 80 ms, time is short and processing in memory helps:")
for label, system in (("gpu", gpu), ("duplex", duplex)):
    room = capacity(presets.find_model("llama3-8b"), system, DuplexLoad(deadline_s=0.012))
    print(f"  {label:<12} {room.sessions:>4} sessions, limited by {room.limited_by}")

mixtral = presets.find_model("mixtral")
print(f"Mixtral, 32 requests: {active_experts(8, 2, 32):.3f} of 8 experts are read in a stage, not 2")
for label, system in (("gpu", gpu), ("duplex", duplex)):
    cost = stage_cost(mixtral, system.replaced(num_devices=4), Stage.of_lengths(32, 4096))
    slowest = max(cost.parts_s, key=cost.parts_s.__getitem__)
    print(f"  4 x {label:<8} {cost.seconds * 1e3:6.2f} ms and {cost.energy_j:5.2f} J a stage; most of it {slowest}")
