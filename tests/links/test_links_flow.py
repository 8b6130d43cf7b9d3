"""Widest path and maximum flow: against every cut, every simple path, and NetworkX."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullduplex.base.errors import InputError
from fullduplex.links.flow import Flow, max_flow, max_flow_ref
from fullduplex.links.graph import Graph, make_graph
from fullduplex.links.widest import widest_path


def random_graph(rng: np.random.Generator, num_nodes: int, num_edges: int, *, one_way: bool = False) -> Graph:
    """Capacities over ten orders of magnitude; parallel edges and self loops occur."""
    forward = 10 ** rng.uniform(-9, 1, num_edges)
    backward = np.zeros(num_edges) if one_way else 10 ** rng.uniform(-9, 1, num_edges)
    tails, heads = rng.integers(0, num_nodes, (2, num_edges))
    return make_graph(num_nodes, tails, heads, forward, backward)


def least_cut(graph: Graph, source: int, target: int) -> float:
    """The capacity of the best of all 2^(n - 2) cuts."""
    inner = [node for node in range(graph.num_nodes) if node not in (source, target)]
    sides = np.zeros((2 ** len(inner), graph.num_nodes), bool)
    sides[:, source] = True
    for bit, node in enumerate(inner):
        sides[:, node] = (np.arange(len(sides)) >> bit) & 1
    tail, head = sides[:, graph.tail_N], sides[:, graph.head_N]
    return float(((tail & ~head) * graph.forward_N + (head & ~tail) * graph.backward_N).sum(axis=1).min())


def widest_by_enumeration(graph: Graph, source: int, target: int) -> float:
    """The best smallest capacity over all simple paths."""
    best = 0.0
    hop = np.zeros((graph.num_nodes, graph.num_nodes))
    for tail, head, there, back in zip(graph.tail_N, graph.head_N, graph.forward_N, graph.backward_N, strict=True):
        hop[tail, head] = max(hop[tail, head], there)
        hop[head, tail] = max(hop[head, tail], back)
    inner = [node for node in range(graph.num_nodes) if node not in (source, target)]
    for length in range(len(inner) + 1):
        for middle in itertools.permutations(inner, length):
            nodes = (source, *middle, target)
            best = max(best, min(hop[a, b] for a, b in itertools.pairwise(nodes)))
    return best


def check_flow(graph: Graph, found: Flow, source: int, target: int) -> None:
    """Within capacities, kept at every inner node, equal to the cut, and the cut separates."""
    scale = max(1e-300, float(graph.forward_N.max(initial=0)), float(graph.backward_N.max(initial=0)))
    assert (found.flow_N <= graph.forward_N + 1e-12 * scale).all()
    assert (-found.flow_N <= graph.backward_N + 1e-12 * scale).all()
    net = np.zeros(graph.num_nodes)
    np.add.at(net, graph.tail_N, found.flow_N)
    np.subtract.at(net, graph.head_N, found.flow_N)
    assert net[source] == pytest.approx(found.value, rel=1e-9, abs=1e-12 * scale)
    net[[source, target]] = 0
    np.testing.assert_allclose(net, 0, atol=1e-12 * scale)
    assert found.source_side[source] and not found.source_side[target]
    side = np.asarray(found.source_side)
    crossing = [graph.forward_N[edge] if side[graph.tail_N[edge]] else graph.backward_N[edge] for edge in found.cut]
    assert math.fsum(crossing) == pytest.approx(found.value, rel=1e-9, abs=0)


@pytest.mark.parametrize("num_nodes", range(2, 13))
@pytest.mark.parametrize("one_way", [False, True])
def test_the_flow_is_the_least_of_all_cuts(num_nodes: int, one_way: bool) -> None:
    rng = np.random.default_rng(num_nodes)
    for _ in range(12):
        graph = random_graph(rng, num_nodes, int(rng.integers(1, 3 * num_nodes)), one_way=one_way)
        found = max_flow(graph, 0, num_nodes - 1)
        assert found.value == pytest.approx(least_cut(graph, 0, num_nodes - 1), rel=1e-9, abs=1e-300)
        check_flow(graph, found, 0, num_nodes - 1)


def test_every_graph_on_five_nodes_and_every_cut_of_it() -> None:
    """All 1024 sets of edges, with capacities that are sums of no two sets of the others."""
    pairs = list(itertools.combinations(range(5), 2))
    for chosen in range(2 ** len(pairs)):
        kept = [number for number in range(len(pairs)) if chosen >> number & 1]
        tails, heads = ([pairs[number][end] for number in kept] for end in (0, 1))
        bits = [1.0 + 2.0**-number for number in kept]
        graph = make_graph(5, tails, heads, bits, bits)
        assert max_flow(graph, 0, 4).value == least_cut(graph, 0, 4)


edges = st.tuples(
    st.integers(0, 7), st.integers(0, 7), *[st.one_of(st.just(0.0), st.just(1.0), st.floats(1e-300, 1e3))] * 2
)


@given(st.lists(edges, max_size=24))
def test_the_fast_search_and_its_slow_twin_agree(listed: list[tuple[int, int, float, float]]) -> None:
    """To 1e-9 of the value, on capacities from 1e-300 to 1000; each with its own certificate."""
    tails, heads, there, back = ([edge[part] for edge in listed] for part in range(4))
    graph = make_graph(8, tails, heads, there, back)  # pyright: ignore[reportArgumentType]
    fast, slow = max_flow(graph, 0, 7), max_flow_ref(graph, 0, 7)
    assert fast.value == pytest.approx(slow.value, rel=1e-9, abs=0)
    for found in (fast, slow):
        check_flow(graph, found, 0, 7)


@given(st.lists(edges, min_size=1, max_size=24), st.integers(0, 23), st.floats(0, 10))
def test_more_capacity_never_carries_less(listed: list[tuple[int, int, float, float]], which: int, more: float) -> None:
    tails, heads, there, back = ([edge[part] for edge in listed] for part in range(4))
    before = make_graph(8, tails, heads, there, back)  # pyright: ignore[reportArgumentType]
    there[which % len(listed)] += more
    after = make_graph(8, tails, heads, there, back)  # pyright: ignore[reportArgumentType]
    assert max_flow(after, 0, 7).value >= max_flow(before, 0, 7).value * (1 - 1e-12)
    assert max_flow(after, 0, 7).value <= max_flow(before, 0, 7).value * (1 + 1e-12) + more * (1 + 1e-12)
    assert widest_path(after, 0, 7).width >= widest_path(before, 0, 7).width
    assert widest_path(before, 0, 7).width <= max_flow(before, 0, 7).value * (1 + 1e-12)


@pytest.mark.parametrize("num_nodes", range(2, 8))
def test_the_widest_path_is_the_best_of_all_simple_paths(num_nodes: int) -> None:
    rng = np.random.default_rng(100 + num_nodes)
    for one_way in (False, True) * 6:
        graph = random_graph(rng, num_nodes, int(rng.integers(1, 3 * num_nodes)), one_way=one_way)
        found = widest_path(graph, 0, num_nodes - 1)
        assert found.width == widest_by_enumeration(graph, 0, num_nodes - 1)
        if found.width:
            assert found.nodes[0] == 0 and found.nodes[-1] == num_nodes - 1
            for (a, b), edge in zip(itertools.pairwise(found.nodes), found.edges, strict=True):
                ends = (int(graph.tail_N[edge]), int(graph.head_N[edge]))
                assert (a, b) in (ends, ends[::-1])
        else:
            assert found.nodes == found.edges == ()


@given(st.lists(edges, max_size=40))
def test_no_wider_path_exists_and_the_path_is_as_wide_as_said(listed: list[tuple[int, int, float, float]]) -> None:
    """Certificate: edges wider than the answer do not join the ends, and the edges of the answer have its width."""
    tails, heads, there, back = ([edge[part] for edge in listed] for part in range(4))
    graph = make_graph(8, tails, heads, there, back)  # pyright: ignore[reportArgumentType]
    found = widest_path(graph, 0, 7)
    reached = {0}
    for _ in range(8):
        reached |= {b for a, b, bits, _ in listed if a in reached and bits > found.width}
        reached |= {a for a, b, _, bits in listed if b in reached and bits > found.width}
    assert 7 not in reached
    carried = [there[e] if tails[e] == a else back[e] for a, e in zip(found.nodes, found.edges, strict=False)]
    assert min(carried, default=0.0) == found.width


def test_networkx_agrees() -> None:
    networkx = pytest.importorskip("networkx")
    rng = np.random.default_rng(5)
    for one_way in (False, True):
        graph = random_graph(rng, 300, 1200, one_way=one_way)
        oracle = networkx.DiGraph()
        oracle.add_nodes_from(range(300))
        for tail, head, there, back in zip(
            graph.tail_N.tolist(), graph.head_N.tolist(), graph.forward_N, graph.backward_N, strict=True
        ):
            for a, b, bits in ((tail, head, there), (head, tail, back)):
                if a != b and bits > 0:
                    more = oracle.get_edge_data(a, b, {"capacity": 0.0})["capacity"]
                    oracle.add_edge(a, b, capacity=more + float(bits))
        for source, target in ((0, 1), (7, 250), (33, 44)):
            expected = networkx.maximum_flow_value(oracle, source, target)
            found = max_flow(graph, source, target)
            assert found.value == pytest.approx(expected, rel=1e-9)
            check_flow(graph, found, source, target)


def test_a_grid_with_many_ways_round() -> None:
    """Between opposite corners of a grid of ones the corner's two edges are the cut."""
    side = 30
    nodes = np.arange(side * side).reshape(side, side)
    tails = np.concatenate([nodes[:, :-1].ravel(), nodes[:-1].ravel()])
    heads = np.concatenate([nodes[:, 1:].ravel(), nodes[1:].ravel()])
    ones = np.ones(tails.size)
    graph = make_graph(side * side, tails, heads, ones, ones)
    found = max_flow(graph, 0, side * side - 1)
    assert found.value == 2.0
    check_flow(graph, found, 0, side * side - 1)
    uneven = np.random.default_rng(3).exponential(size=tails.size)
    graph = make_graph(side * side, tails, heads, uneven, uneven)
    found = max_flow(graph, side * 15 + 3, side * 15 + 26)
    assert found.value == pytest.approx(max_flow_ref(graph, side * 15 + 3, side * 15 + 26).value, rel=1e-12)
    check_flow(graph, found, side * 15 + 3, side * 15 + 26)


def test_tiny_capacities_beside_large_ones_count() -> None:
    graph = make_graph(4, [0, 1, 0, 2], [1, 3, 2, 3], [1.0, 1e-300, 1e-200, 1.0], [0.0] * 4)
    found = max_flow(graph, 0, 3)
    assert found.value == pytest.approx(1e-200, rel=1e-12)
    assert found.cut == (1, 2)
    assert widest_path(graph, 0, 3).width == 1e-200


def test_parallel_edges_add_up_and_self_loops_do_nothing() -> None:
    graph = make_graph(2, [0, 0, 1, 0], [1, 1, 1, 0], [1.0, 2.0, 9.0, 9.0], [0.0] * 4)
    assert max_flow(graph, 0, 1).value == 3.0
    assert max_flow(graph, 0, 1).flow_N.tolist() == [1.0, 2.0, 0.0, 0.0]
    assert widest_path(graph, 0, 1).width == 2.0
    assert widest_path(graph, 0, 1).edges == (1,)


def test_no_way_is_zero_and_not_an_error() -> None:
    graph = make_graph(4, [0, 2], [1, 3], [1.0, 1.0], [1.0, 1.0])
    found = max_flow(graph, 0, 3)
    assert (found.value, found.cut) == (0.0, ())
    assert found.source_side == (True, True, False, False) or not found.source_side[3]
    assert widest_path(graph, 0, 3).width == 0.0
    empty = make_graph(2, [], [], [], [])
    assert max_flow(empty, 0, 1).value == 0.0
    assert widest_path(empty, 0, 1).nodes == ()
    backwards = make_graph(2, [1], [0], [1.0], [0.0])
    assert max_flow(backwards, 0, 1).value == widest_path(backwards, 0, 1).width == 0.0


def test_infinite_edges() -> None:
    inf = math.inf
    graph = make_graph(3, [0, 1, 0], [1, 2, 2], [inf, inf, 1.0], [inf, inf, 1.0])
    assert max_flow(graph, 0, 2).value == inf
    assert widest_path(graph, 0, 2).width == inf
    finite = make_graph(3, [0, 1, 0], [1, 2, 2], [inf, 5.0, 1.0], [inf, 0.0, 0.0])
    found = max_flow(finite, 0, 2)
    assert found.value == 6.0
    assert found.cut == (1, 2)
    assert max_flow(make_graph(3, [0, 1], [1, 2], [inf, 0.0], [inf, 0.0]), 0, 2).value == 0.0


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: make_graph(2, [0], [1], [math.nan], [0.0]), "nan"),
        (lambda: make_graph(2, [0], [1], [-1.0], [0.0]), "-1"),
        (lambda: make_graph(2, [0], [2], [1.0], [0.0]), "outside"),
        (lambda: make_graph(2, [-1], [1], [1.0], [0.0]), "outside"),
        (lambda: make_graph(2, [0, 1], [1], [1.0], [0.0]), "shapes"),
        (lambda: make_graph(0, [], [], [], []), "0 nodes"),
        (lambda: max_flow(make_graph(2, [0], [1], [1.0], [0.0]), 0, 0), "same node"),
        (lambda: widest_path(make_graph(2, [0], [1], [1.0], [0.0]), 0, 2), "target is node 2"),
        (lambda: max_flow(make_graph(2, [0], [1], [1.0], [0.0]), -1, 1), "source is node -1"),
    ],
)
def test_bad_graphs_are_refused(make: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        make()  # pyright: ignore[reportCallIssue]
