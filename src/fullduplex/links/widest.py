"""The widest path: the route whose narrowest edge is as wide as possible.

Dijkstra's search with the minimum of capacities in place of the sum of lengths: O(N log N) for N edges.
"""

import heapq
from dataclasses import dataclass

from fullduplex.links.graph import Graph, check_ends

__all__ = ["Route", "widest_path"]


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
    heads, capacities, arcs = graph.arc_heads(), graph.arc_capacities(), graph.arcs_of_nodes()
    width = [0.0] * graph.num_nodes
    arrived_by = [-1] * graph.num_nodes
    done = [False] * graph.num_nodes
    width[source] = float("inf")
    waiting = [(-width[source], source)]
    while waiting:
        negative, node = heapq.heappop(waiting)
        if node == target:
            break
        if done[node]:
            continue
        done[node] = True
        here = -negative
        for arc in arcs[node]:
            there, through = heads[arc], capacities[arc]
            if through > here:
                through = here
            if through > width[there]:
                width[there] = through
                arrived_by[there] = arc
                heapq.heappush(waiting, (-through, there))
    return _route(width[target], arrived_by, heads, source, target)


def _route(width: float, arrived_by: list[int], heads: list[int], source: int, target: int) -> Route:
    if width == 0:
        return Route(width=0.0, nodes=(), edges=())
    nodes, edges = [target], []
    while nodes[-1] != source:
        arc = arrived_by[nodes[-1]]
        edges.append(arc // 2)
        nodes.append(heads[arc ^ 1])
    return Route(width=width, nodes=tuple(reversed(nodes)), edges=tuple(reversed(edges)))
