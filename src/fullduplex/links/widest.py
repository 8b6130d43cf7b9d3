"""The widest path: the route whose narrowest edge is as wide as possible.

Dijkstra's search with the minimum of capacities in place of the sum of lengths: O(N log N) for N edges. If the ends are
joined by the widest fifth of the edges, no narrower edge can be part of the answer, and those are not even looked at.
"""

import heapq
import math
from dataclasses import dataclass

import numpy as np

from fullduplex.links.graph import Graph, check_ends

__all__ = ["Route", "widest_path"]

_WIDEST_SHARE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A path and its width; without a path the width is 0 and there are no nodes."""

    width: float
    nodes: tuple[int, ...]
    edges: tuple[int, ...]


def widest_path(graph: Graph, source: int, target: int) -> Route:
    """The path from source to target with the largest smallest capacity; capacity 0 is no edge.

    Raises: InputError when an end is no node or both are the same.
    """
    check_ends(graph, source, target)
    capacities = np.concatenate([graph.forward_N, graph.backward_N])
    rank = math.ceil((1 - _WIDEST_SHARE) * capacities.size)
    if rank < capacities.size:
        least = float(np.partition(capacities, rank)[rank])
        found = _search(graph, source, target, least)
        if found.width > 0 or least == 0:
            return found
    return _search(graph, source, target, 0.0)


def _search(graph: Graph, source: int, target: int, least: float) -> Route:
    """The widest path over arcs of at least this capacity, and more than 0."""
    tails = np.stack([graph.tail_N, graph.head_N], axis=1).ravel()
    capacity = np.stack([graph.forward_N, graph.backward_N], axis=1).ravel()
    kept = np.flatnonzero((capacity >= least) & (capacity > 0))
    arcs = kept[np.argsort(tails[kept], kind="stable")]
    first = np.searchsorted(tails[arcs], np.arange(graph.num_nodes + 1)).tolist()
    heads = np.stack([graph.head_N, graph.tail_N], axis=1).ravel()[arcs].tolist()
    capacities = capacity[arcs].tolist()
    width = [0.0] * graph.num_nodes
    arrived_by = [-1] * graph.num_nodes
    width[source] = math.inf
    waiting = [(-math.inf, source)]
    while waiting:
        negative, node = heapq.heappop(waiting)
        here = -negative
        if node == target:
            break
        if here < width[node]:
            continue  # it was reached by a wider way since
        for place in range(first[node], first[node + 1]):
            through = capacities[place]
            if through > here:
                through = here
            there = heads[place]
            if through > width[there]:
                width[there] = through
                arrived_by[there] = place
                heapq.heappush(waiting, (-through, there))
    if width[target] == 0:
        return Route(width=0.0, nodes=(), edges=())
    nodes, edges = [target], []
    while nodes[-1] != source:
        arc = int(arcs[arrived_by[nodes[-1]]])
        edges.append(arc // 2)
        nodes.append(int(tails[arc]))
    return Route(width=width[target], nodes=tuple(reversed(nodes)), edges=tuple(reversed(edges)))
