"""`fullduplex serve` and `fullduplex talk`: the real-time server, with or without opening the page."""

import argparse
import logging
import ssl
import sys
import webbrowser
from dataclasses import replace
from functools import partial
from pathlib import Path

from aiohttp import web

from fullduplex.assets import fetch, store
from fullduplex.assets.catalogue import builtin_catalogue
from fullduplex.base.errors import ConfigError, FullduplexError
from fullduplex.base.files import cache_folder
from fullduplex.cli.arguments import add_logging, add_parts, parts_from, start_logging
from fullduplex.cli.assets import Meter
from fullduplex.dialogue.desk import SessionConfig
from fullduplex.recipes.parts import BRAINS, open_parts
from fullduplex.recipes.talk import ECHOES, POLICIES, TalkConfig, make_echo, make_pool, make_ports, make_session
from fullduplex.serve.address import LOOPBACK, hosts_of, listen, url
from fullduplex.serve.app import Line, make_app, run
from fullduplex.serve.gate import ServeConfig
from fullduplex.serve.realtime.settings import Offer
from fullduplex.serve.record import check_folder
from fullduplex.serve.tls import fingerprint, self_signed, tls_context

__all__ = ["serve", "talk"]


def _parser(name: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"fullduplex {name}", description=description)
    network = parser.add_argument_group("network")
    network.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    network.add_argument("--port", type=int, default=8787, help="default: 8787; 0 is any free port")
    network.add_argument("--api-key", default="", metavar="KEY", help="clients must present it")
    network.add_argument(
        "--allow-origin", action="append", default=[], metavar="URL", help="web pages that may connect"
    )
    network.add_argument("--max-sessions", type=int, default=8, metavar="N", help="conversations at once (default: 8)")
    network.add_argument("--max-minutes", type=float, default=60, metavar="M", help="length of one (default: 60)")
    network.add_argument("--idle-minutes", type=float, default=5, metavar="M", help="silent clients leave (default: 5)")
    network.add_argument("--certificate", type=Path, metavar="FILE", help="PEM certificate: serve over https and wss")
    network.add_argument(
        "--certificate-key", type=Path, metavar="FILE", help="its private key (default: in the same file)"
    )
    network.add_argument(
        "--self-signed",
        action="store_true",
        help="serve over https with a certificate made here: a phone gives its microphone to no page without https",
    )
    parser.add_argument(
        "--record", type=Path, metavar="DIR", help="keep every conversation: stereo FLAC and JSONL events"
    )
    parser.add_argument("--policy", default="turns", choices=POLICIES, help="who speaks when (default: turns)")
    parser.add_argument(
        "--slice", type=float, default=1.0, metavar="S", help="slice length of the tdm policy, 0.32-2 s"
    )
    parser.add_argument(
        "--aec", default="own", choices=ECHOES, help="what removes the machine's own sound (default: own; see the page)"
    )
    parser.add_argument("--instructions", default="", metavar="TEXT", help="the system message")
    parser.add_argument("--memory", type=int, default=320, metavar="WORDS", help="how much the brain is shown (320)")
    add_parts(parser)
    add_logging(parser)
    return parser


def serve(argv: list[str]) -> int:
    """Run the server until it is told to stop."""
    text = "The real-time server: OpenAI Realtime protocol at /v1/realtime, the page at /, /healthz and /metrics."
    return _serve(_parser("serve", text).parse_args(argv), open_page=False)


def talk(argv: list[str]) -> int:
    """Run the server for the person at this machine, and open the page."""
    parser = _parser(
        "talk", "Talk with the machine in the browser: runs the server on this machine and opens its page."
    )
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.set_defaults(brain=None)
    arguments = parser.parse_args(argv)
    if arguments.brain is None:
        _offer_better_brain(arguments)
    elif arguments.brain in BRAINS and store.find(BRAINS[arguments.brain]) is None:
        _offer_to_get(arguments, arguments.brain, "That brain is not on this machine.")
    return _serve(arguments, open_page=not arguments.no_browser)


def _offer_better_brain(arguments: argparse.Namespace) -> None:
    """Where none was named: the small brain is for tests and weak machines; a person will judge us by the answers."""
    arguments.brain = "small"
    name = BRAINS["good"]
    if store.find(name) is not None:
        arguments.brain = "good"
        print(f"brain: {name} (installed; --brain small for the quick one)" if arguments.verbose else f"brain: {name}")
        return
    _offer_to_get(arguments, "good", "The small brain is quick and often wrong.")


def _offer_to_get(arguments: argparse.Namespace, brain: str, why: str) -> None:
    """Ask, where somebody can answer, whether to fetch a brain; use it once it is there."""
    if not sys.stdin.isatty():
        return
    name = BRAINS[brain]
    megabytes = builtin_catalogue().download_bytes((name,)) / 1e6
    question = f"{why} Get {name} ({megabytes:.0f} MB)? [Y/n] "
    try:
        answer = input(question)
    except EOFError:  # Ctrl-D: no answer is no
        print()
        return
    if answer.strip().lower() in ("", "y", "yes"):
        meter = Meter(quiet=False)
        try:
            fetch.get([name], report=meter)
            arguments.brain = brain
        except FullduplexError as error:
            print(f"that did not work, so we talk with the small one: {error}", file=sys.stderr)
        finally:
            meter.close()


def _encryption(arguments: argparse.Namespace) -> tuple[ssl.SSLContext | None, str]:
    """How to encrypt, if at all, and what to tell the person who starts the server. Raises: ConfigError, MissingExtraError."""
    if arguments.certificate and arguments.self_signed:
        raise ConfigError("--certificate and --self-signed exclude each other: give one")
    if arguments.certificate_key and not arguments.certificate:
        raise ConfigError("--certificate-key is the key of a --certificate, and none is given")
    if arguments.self_signed:
        made = self_signed(cache_folder("tls"), hosts_of(arguments.host))
        told = f"\nthe browser warns once of a certificate it does not know; its SHA-256 should be {fingerprint(made)}"
        return tls_context(made), told
    if arguments.certificate:
        return tls_context(arguments.certificate, arguments.certificate_key), ""
    return None, ""


def _warn(arguments: argparse.Namespace, *, encrypted: bool) -> None:
    """What a person should know who lets others in."""
    if not arguments.api_key:
        print("warning: anyone who reaches this address may talk; consider --api-key", file=sys.stderr)
    if not encrypted:
        print(
            "note: browsers on other machines give the page neither microphone nor sound over http; "
            "for them use --self-signed, --certificate or a proxy with https",
            file=sys.stderr,
        )


def _serve(arguments: argparse.Namespace, *, open_page: bool) -> int:
    start_logging(arguments)
    logging.getLogger("aiohttp").setLevel(logging.WARNING)
    config = _talk_config(arguments)
    network = ServeConfig(
        host=arguments.host,
        port=arguments.port,
        api_key=arguments.api_key,
        allowed_origins=tuple(arguments.allow_origin),
        max_sessions=arguments.max_sessions,
        max_session_s=60 * arguments.max_minutes,
        idle_s=60 * arguments.idle_minutes,
        record_dir=arguments.record,
    )
    if network.record_dir is not None:
        check_folder(network.record_dir)
    tls, about_tls = _encryption(arguments)
    if arguments.host not in LOOPBACK:
        _warn(arguments, encrypted=tls is not None)
    sockets = listen(network.host, network.port)  # before the models, so that a taken port is said at once
    port = sockets[0].getsockname()[1]
    pages = [url("https" if tls else "http", host, port) for host in hosts_of(network.host)]
    endpoint = url("wss" if tls else "ws", hosts_of(network.host)[0], port) + "v1/realtime"
    try:
        app, chosen = _open(arguments, network, config)
        for bound in sockets:
            bound.listen()  # who calls as soon as the address is printed is not turned away
        print("parts: " + ", ".join(f"{stage} {name}" for stage, name in chosen.items()))
        print(f"talk at {', '.join(pages)}   (OpenAI Realtime clients: {endpoint}; Ctrl-C ends){about_tls}", flush=True)
        show_page = partial(webbrowser.open, pages[-1]) if open_page else None
        run(app, sockets=sockets, tls=tls, on_ready=show_page)
    finally:
        for bound in sockets:
            bound.close()
    return 0


def _talk_config(arguments: argparse.Namespace) -> TalkConfig:
    session = SessionConfig(memory_words=arguments.memory)
    if arguments.instructions:
        session = replace(session, system=arguments.instructions)
    return TalkConfig(policy=arguments.policy, slice_s=arguments.slice, session=session)


def _open(
    arguments: argparse.Namespace, network: ServeConfig, config: TalkConfig
) -> tuple[web.Application, dict[str, str]]:
    """The application with its models open, and which they are."""
    print("opening the models …", flush=True)
    parts = open_parts(parts_from(arguments, conversations=arguments.max_sessions, live=True))
    make_echo(kind=arguments.aec)  # compiled now, not while the first caller waits

    def make_line(key: str) -> Line:
        return Line(
            session=make_session(parts, config), run=make_ports(parts, key=key).run, echo=make_echo(kind=arguments.aec)
        )

    chosen = parts.chosen
    offer = Offer(model=chosen["brain"], voice=chosen["voice"], recogniser=chosen["recogniser"])
    return make_app(network, make_line, make_pool(parts), offer=offer), {**chosen, "echo": arguments.aec}
