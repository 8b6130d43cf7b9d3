"""A protocol run by an independent simulator stays below the bound for the same losses.

requsim 0.4 (MIT) is not a dependency: `pip install requsim` brings it. The protocol: one photon a use on each of two
links, ideal memories and an ideal swap at the station; an inversion would be a bug on one side.
"""

import math
from typing import Any

import numpy as np
import pytest

from fullduplex.links.chains import Station, chain_links, chain_rate, even_chain
from fullduplex.links.channels import PureLoss

PAIRS = 300


def simulated_pairs_per_use(survives: list[float], seed: int) -> tuple[float, float]:
    """End-to-end pairs per use of the chain, and the smallest fidelity among them."""
    events = pytest.importorskip("requsim.events")
    things = pytest.importorskip("requsim.quantum_objects")
    protocol = pytest.importorskip("requsim.tools.protocol")
    world_of = pytest.importorskip("requsim.world").World
    rng = np.random.default_rng(seed)
    bell = np.zeros((4, 4), complex)
    bell[np.ix_([0, 3], [0, 3])] = 0.5

    class SwapWhenReady(protocol.TwoLinkProtocol):
        fidelities: list[float]

        def check(self, message: Any = None) -> None:
            left, right = self._get_left_pairs(), self._get_right_pairs()
            for pair in self._get_long_range_pairs():
                self.fidelities.append(float(np.real(np.trace(bell @ pair.state))))
                for qubit in (pair.qubit1, pair.qubit2):
                    qubit.destroy()
                pair.destroy()
            now = self.world.event_queue.current_time
            swapping = any(isinstance(e, events.EntanglementSwappingEvent) for e in self.world.event_queue.queue)
            if left and right:
                if not swapping:
                    swap = events.EntanglementSwappingEvent(
                        time=now, pairs=[left[0], right[0]], station=self.station_central
                    )
                    self.world.event_queue.add_event(swap)
                return
            if not left and not self._left_pairs_scheduled():
                self.source_A.schedule_event()
            if not right and not self._right_pairs_scheduled():
                self.source_B.schedule_event()

    world = world_of()
    a, middle, b = (things.Station(world, position=position) for position in (0, 1, 2))
    for ends, probability in (((a, middle), survives[0]), ((middle, b), survives[1])):
        things.SchedulingSource(
            world,
            position=ends[0].position,
            target_stations=list(ends),
            time_distribution=lambda source, probability=probability: int(rng.geometric(probability)),
            state_generation=lambda source: bell,
        )
    run = SwapWhenReady(world, communication_speed=math.inf)
    run.fidelities = []
    run.setup()
    run.check()
    while len(run.fidelities) < PAIRS:
        world.event_queue.resolve_next_event()
        run.check()
    return PAIRS / world.event_queue.current_time, min(run.fidelities)


@pytest.mark.parametrize("tau", [1.0, 0.6])
@pytest.mark.parametrize("total_db", [0.5, 6.0, 20.0])
def test_a_chain_in_requsim_stays_below_the_bound(tau: float, total_db: float) -> None:
    chain = even_chain(total_db, 1, Station.of_transmissivity(tau))
    survives = [10 ** (-link.loss_db / 10) for link in chain_links(chain) if isinstance(link, PureLoss)]
    rate, fidelity = simulated_pairs_per_use(survives, seed=3)
    assert fidelity == pytest.approx(1.0)
    assert 0.2 * min(survives) < rate < chain_rate(chain).bits_per_use
