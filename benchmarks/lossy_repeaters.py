"""How fast routes and flows are found beside NetworkX, and whether the two readings keep their order.

Prints one JSON line. Networks of 10,000 nodes and 50,000 links with exponential capacities, three of them: the widest path,
and the maximum flow beside every algorithm of NetworkX, values only, each once; then grids of 100 x 100, where flows have
many ways round. "best_over_ours" is the fastest of NetworkX over the median of ours, the least of the three networks. Last,
100,000 random networks: for one route "composed" must never pass "edge".

    python benchmarks/lossy_repeaters.py
"""

import statistics
import time
from collections.abc import Callable
from functools import partial

import networkx
import numpy as np

from fullduplex.base.record import Record
from fullduplex.links.chains import Station
from fullduplex.links.channels import PureLoss
from fullduplex.links.flow import max_flow
from fullduplex.links.graph import Graph, make_graph
from fullduplex.links.network import Link, Network, multi_path, single_path
from fullduplex.links.widest import widest_path

NUM_NODES, NUM_LINKS, GRID, NUM_NETWORKS, SEEDS = 10_000, 50_000, 100, 100_000, 3
PEERS = ("preflow_push", "shortest_augmenting_path", "boykov_kolmogorov", "dinitz")


def median_s(run: Callable[[], object], repeats: int = 5) -> float:
    """Median processor time of `run`: a busy neighbour counts little."""
    durations_s: list[float] = []
    for _ in range(repeats):
        start_s = time.process_time()
        run()
        durations_s.append(time.process_time() - start_s)
    return statistics.median(durations_s)


def as_networkx(graph: Graph) -> networkx.Graph:
    """The same network, parallel edges merged."""
    twin = networkx.Graph()
    twin.add_nodes_from(range(graph.num_nodes))
    for tail, head, bits in zip(graph.tail_N.tolist(), graph.head_N.tolist(), graph.forward_N.tolist(), strict=True):
        if tail != head:
            more = twin.get_edge_data(tail, head, {"capacity": 0.0})["capacity"]
            twin.add_edge(tail, head, capacity=more + bits)
    return twin


def random_links(seed: int) -> tuple[Graph, int, int]:
    """A network without structure, and two ends."""
    rng = np.random.default_rng(seed)
    tails, heads = rng.integers(0, NUM_NODES, (2, NUM_LINKS))
    bits = rng.exponential(size=NUM_LINKS)
    return make_graph(NUM_NODES, tails, heads, bits, bits), 0, 1


def grid(seed: int) -> tuple[Graph, int, int]:
    """A square grid, and two ends 90 links apart."""
    nodes = np.arange(GRID * GRID).reshape(GRID, GRID)
    tails = np.concatenate([nodes[:, :-1].ravel(), nodes[:-1].ravel()])
    heads = np.concatenate([nodes[:, 1:].ravel(), nodes[1:].ravel()])
    bits = np.random.default_rng(seed).exponential(size=tails.size)
    middle = GRID * GRID // 2
    return make_graph(GRID * GRID, tails, heads, bits, bits), middle + 5, middle + 95


def beside_networkx(name: str, make: Callable[[int], tuple[Graph, int, int]]) -> dict[str, float]:
    """Of all seeds the longest times, the least ratios and the largest disagreement of the values."""
    widest_s, ours_s, difference = 0.0, 0.0, 0.0
    over: dict[str, list[float]] = {peer: [] for peer in (*PEERS, "best")}
    for seed in range(SEEDS):
        graph, source, target = make(seed)
        # Ours first: the million small objects of the peer's graph would be walked by our garbage collections.
        widest_s = max(widest_s, median_s(partial(widest_path, graph, source, target)))
        own_s = median_s(partial(max_flow, graph, source, target))
        ours_s, value, twin = max(ours_s, own_s), max_flow(graph, source, target).value, as_networkx(graph)
        for peer in PEERS:
            flow_func = getattr(networkx.algorithms.flow, peer)
            start_s = time.process_time()
            theirs = networkx.maximum_flow_value(twin, source, target, flow_func=flow_func)
            over[peer].append((time.process_time() - start_s) / own_s)
            difference = max(difference, abs(theirs - value) / value)
        over["best"].append(min(over[peer][-1] for peer in PEERS))
    figures = {f"{name}_widest_path_s": widest_s, f"{name}_max_flow_s": ours_s}
    figures |= {f"{name}_{peer}_over_ours": min(ratios) for peer, ratios in over.items()}
    figures[f"{name}_relative_difference"] = difference
    return {key: float(f"{figure:.3g}") for key, figure in figures.items()}


def random_network(rng: np.random.Generator) -> Network:
    """Two to seven nodes, links of up to 30 dB, stations that lose on either side."""
    num_nodes = int(rng.integers(2, 8))
    pairs = rng.integers(0, num_nodes, (int(rng.integers(1, 3 * num_nodes)), 2)).tolist()
    losses_db = rng.uniform(0, 30, len(pairs)).tolist()
    halves_db = rng.uniform(0, 8, (num_nodes, 2)).tolist()
    return Network(
        links=tuple(
            Link(a=str(a), b=str(b), channel=PureLoss(loss_db=loss_db))
            for (a, b), loss_db in zip(pairs, losses_db, strict=True)
        ),
        stations={str(node): Station(receive_db=into, emit_db=out) for node, (into, out) in enumerate(halves_db)},
    )


def main() -> None:
    """Measure and print the record."""
    start_s = time.perf_counter()
    rng = np.random.default_rng(0)
    figures = beside_networkx("random", random_links) | beside_networkx("grid", grid)
    broken_order = more_by_many_routes = 0
    for _ in range(NUM_NETWORKS):
        network = random_network(rng)
        composed = single_path(network, "0", "1").rate.bits_per_use
        edge = single_path(network, "0", "1", reading="edge").rate.bits_per_use
        broken_order += composed > edge * (1 + 1e-12)
    for _ in range(NUM_NETWORKS // 50):
        network = random_network(rng)
        composed = multi_path(network, "0", "1").rate.bits_per_use
        more_by_many_routes += composed > multi_path(network, "0", "1", reading="edge").rate.bits_per_use * (1 + 1e-12)
    record = Record(
        name="lossy_repeaters",
        seed=0,
        data_hash="",
        figures={
            **figures,
            "networks": NUM_NETWORKS,
            "one_route_composed_above_edge": broken_order,
            "many_routes_composed_above_edge_share": more_by_many_routes / (NUM_NETWORKS // 50),
        },
        seconds_s=round(time.perf_counter() - start_s, 2),
        config={"networkx": networkx.__version__, "num_nodes": NUM_NODES, "num_links": NUM_LINKS, "grid": GRID},
    )
    print(record.to_json())


if __name__ == "__main__":
    main()
