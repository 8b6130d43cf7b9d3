"""Where the server listens and what it is called."""

import socket

import pytest

from fullduplex.base.errors import ConfigError
from fullduplex.serve.address import hosts_of, listen, url


@pytest.fixture
def close():
    opened: list[socket.socket] = []
    yield opened.extend
    for one in opened:
        one.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_any_free_port_is_the_same_for_all_addresses(host: str, close) -> None:
    sockets = listen(host, 0)
    close(sockets)
    ports = {one.getsockname()[1] for one in sockets}
    assert len(ports) == 1 and ports.pop() > 0


def test_a_taken_port_and_a_foreign_address_are_said(close) -> None:
    first = listen("127.0.0.1", 0)
    close(first)
    first[0].listen()
    port = first[0].getsockname()[1]
    with pytest.raises(ConfigError, match=f"port {port}"):
        listen("127.0.0.1", port)
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1"):
        listen("192.0.2.1", 0)
    for unknown in ("no such host", "a..b", "a" * 64):
        with pytest.raises(ConfigError, match="--host"):
            listen(unknown, 0)


def test_names_begin_with_what_others_reach_and_end_with_what_is_always_reached() -> None:
    assert hosts_of("example.org") == ("example.org",)
    everywhere = hosts_of("0.0.0.0")
    assert everywhere[-1] == "127.0.0.1" and socket.gethostname() in everywhere
    assert hosts_of("::")[-1] == "::1"


def test_addresses_of_the_sixth_version_have_brackets() -> None:
    assert url("https", "::1", 8787) == "https://[::1]:8787/"
    assert url("ws", "127.0.0.1", 1) == "ws://127.0.0.1:1/"
