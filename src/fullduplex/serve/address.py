"""Where the server listens and under which addresses it can be called."""

import contextlib
import os
import socket

from fullduplex.base.errors import ConfigError

__all__ = ["LOOPBACK", "hosts_of", "listen", "url"]

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_EVERYWHERE = ("0.0.0.0", "::")


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets, bound and not listening yet, one for each address of `host`, all at the same port. `port` 0: any that is free.

    Raises:
        ConfigError: the host is unknown or none of ours, or the port is taken.
    """
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            bound = socket.socket(family, kind, protocol)
            sockets.append(bound)
            if os.name == "posix":
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound.bind((address[0], port, *address[2:]))
            port = bound.getsockname()[1]
    except (OSError, UnicodeError) as error:  # a name with an empty or too long part cannot be looked up
        for bound in sockets:
            bound.close()
        raise ConfigError(f"cannot listen at {host} port {port} ({error}); choose others with --host, --port") from None
    return sockets


def hosts_of(host: str) -> tuple[str, ...]:
    """Names and addresses under which a server that listens at `host` can be called: one that others reach comes first,
    one that this machine reaches last.
    """
    if host not in _EVERYWHERE:
        return (host,)
    ways = [(socket.AF_INET, "192.0.2.1", "127.0.0.1"), (socket.AF_INET6, "2001:db8::1", "::1")]
    family, far, loopback = ways[host == "::"]
    found: list[str] = []
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as way_out:
        way_out.connect((far, 9))  # asks the routing table; nothing is sent
        found.append(way_out.getsockname()[0])
    return tuple(dict.fromkeys([*found, socket.gethostname(), loopback]))


def url(scheme: str, host: str, port: int) -> str:
    """Such as "https://[::1]:8787/"."""
    return f"{scheme}://[{host}]:{port}/" if ":" in host else f"{scheme}://{host}:{port}/"
