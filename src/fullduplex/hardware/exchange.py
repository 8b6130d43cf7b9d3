"""Seconds that devices spend on each other: all-reduce in a node (a ring, or as measured), all-to-all between nodes."""

import bisect
import math

from fullduplex.hardware.device import Link

__all__ = ["all_reduce_seconds", "all_to_all_seconds", "remote_copies", "ring_all_reduce_seconds"]


def all_reduce_seconds(num_devices: int, message_bytes: float, link: Link) -> float:
    """As measured, if `link` knows; else a ring. Between measured sizes the logarithms lie on straight lines; a smaller
    message takes as long as the smallest, a larger one is paid by the byte of the largest."""
    if not link.all_reduce or num_devices == 1 or message_bytes == 0:
        return ring_all_reduce_seconds(num_devices, message_bytes, link)
    place = bisect.bisect_left(link.all_reduce, message_bytes, key=lambda point: point[0])
    if place == 0:
        return link.all_reduce[0][1]
    if place == len(link.all_reduce):
        size, seconds = link.all_reduce[-1]
        return seconds * message_bytes / size
    (low, low_s), (high, high_s) = link.all_reduce[place - 1 : place + 1]
    share = math.log(message_bytes / low) / math.log(high / low)
    return low_s * (high_s / low_s) ** share


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
