"""Seconds that devices spend on each other: ring all-reduce in a node, all-to-all between nodes."""

import math

from fullduplex.hardware.device import Link

__all__ = ["all_to_all_seconds", "remote_copies", "ring_all_reduce_seconds"]


def ring_all_reduce_seconds(num_devices: int, message_bytes: float, link: Link) -> float:
    """2 (P - 1) hops, each a latency and 1/P of the message; 0 for one device or nothing to send."""
    if num_devices == 1 or message_bytes == 0:
        return 0.0
    return 2 * (num_devices - 1) * (link.hop_s + message_bytes / num_devices / link.bytes_per_s)


def remote_copies(num_experts: int, top_k: int, num_nodes: int) -> float:
    """Expected other nodes a token is sent to when its experts are drawn evenly and a token travels once to a node."""
    local = num_experts / num_nodes
    if num_nodes == 1:
        return 0.0
    if local < 1:  # an expert spans several nodes: each of them gets the token
        return min(num_nodes - 1.0, top_k / local * (1 - 1 / num_nodes))
    missed = math.comb(num_experts - int(local), top_k) / math.comb(num_experts, top_k)
    return (num_nodes - 1) * (1 - missed)


def all_to_all_seconds(message_bytes: float, num_nodes: int, link: Link) -> float:
    """One direction (dispatch or combine) with `message_bytes` leaving each device."""
    if num_nodes == 1 or message_bytes == 0:
        return 0.0
    return (num_nodes - 1) * link.hop_s + message_bytes / link.bytes_per_s
