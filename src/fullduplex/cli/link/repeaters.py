"""`fullduplex link`: what quantum repeater chains and networks can carry at most, and how far a secured call reaches."""

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from fullduplex.base.errors import InputError
from fullduplex.cli.link import beam
from fullduplex.cli.places import make_folder
from fullduplex.links.call import Call, reaches, talk_share
from fullduplex.links.chains import Chain, Station, assumption, chain_rate, even_chain, fibre_loss_db, station_limit
from fullduplex.links.channels import fibre
from fullduplex.links.figures import FIGURES, call_over_distance, draw, figure, write_csv
from fullduplex.links.loss import FIBRE_DB_PER_KM, loss_db_from_transmissivity
from fullduplex.links.network import BestRoute, Multipath, Network, multi_path, single_path
from fullduplex.links.placement import break_even_station_db, fewest_stations, place
from fullduplex.links.rates import Rate, Reading, Strategy
from fullduplex.links.topology import read_network

__all__ = ["main"]

_READINGS: tuple[Reading, ...] = ("composed", "edge")
_STRATEGIES: tuple[Strategy, ...] = ("two-way", "one-way")


_WORDS = """words:
  two-way, one-way   whether the stations may send classical messages both ways, or only along with the light
  composed           nothing is corrected inside a station: its losses belong to the links beside it
  edge               the inside of a station is a link of its own, which any protocol may cross
  exact, upper, lower   reached and never passed; never passed; reached"""

_CHAIN = """examples:
  fullduplex link chain --length-km 300 --stations 10 --transmissivity 0.9
  fullduplex link chain --spans-km 80,120,60 --station-db 2 --emit-db 1 --clock-hz 1e9
  fullduplex link chain --length-km 50 --photons 0.01 --json"""

_NETWORK = """the file:
  .csv      a,b,length_km          one link a line; or loss_db for length_km; and, if wanted, db_per_km, mean_photons,
                                   one_direction
  .graphml  the same names as attributes of edges; receive_db and emit_db of nodes

examples:
  fullduplex link network docs/data/nsfnet.csv --from 2 --to 14
  fullduplex link network plant.csv --stations stations.csv --from Oslo --to Prague --strategy one-way"""

_PLAN = """example: how far can a call of 24 kbit/s each way go that nobody can ever decrypt?
  fullduplex link plan --kbit-s 24 --clock-hz 1e9 --station-db 2 --stations 0,1,2,5,10 --length-km 1000 --out figures"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fullduplex link",
        description="Limits of quantum links with lossy repeater stations (arXiv:2110.10168): what no protocol can pass. "
        "A calculator, not a simulator: rates are bits per use of the link, and bits per second once a clock is given.",
        epilog=f"{_WORDS}\n\n`fullduplex link COMMAND --help` has examples.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="chain|network|plan|figure|beam")

    def command(name: str, what: str, epilog: str) -> argparse.ArgumentParser:
        raw = argparse.RawDescriptionHelpFormatter
        return commands.add_parser(name, help=what, description=what, epilog=epilog, formatter_class=raw)

    _add_chain(command("chain", "one line of stations between two ends", f"{_WORDS}\n\n{_CHAIN}"))
    _add_network(
        command("network", "best route and all routes through a CSV or GraphML network", f"{_NETWORK}\n\n{_WORDS}")
    )
    _add_plan(command("plan", "how far a one-time-pad voice call reaches; how many stations it needs", _PLAN))
    commands.add_parser("beam", help="align a holographic surface with a fixed number of pilots", add_help=False)
    figures = command(
        "figure", "the paper's statements as CSV and PNG", "example:\n  fullduplex link figure all --out figures"
    )
    figures.add_argument("name", choices=(*FIGURES, "all"))
    figures.add_argument("--out", type=Path, default=Path("figures"), metavar="DIR", help="default: figures")
    return parser


def _add_chain(parser: argparse.ArgumentParser) -> None:
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--length-km", type=float, metavar="KM", help="fibre from end to end, cut into equal spans")
    size.add_argument("--loss-db", type=float, metavar="DB", help="loss from end to end instead of a length")
    size.add_argument("--spans-km", type=_numbers, metavar="KM,KM,…", help="unequal spans; sets the number of stations")
    parser.add_argument("--stations", type=int, default=0, metavar="N", help="between the ends (default: 0)")
    parser.add_argument("--photons", type=float, default=0.0, metavar="N", help="thermal photons in each span's fibre")
    _add_station(parser)
    _add_clock(parser)
    _add_output(parser)


def _add_network(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help=".csv with columns a,b,length_km or loss_db; or .graphml")
    parser.add_argument("--from", dest="source", required=True, metavar="NAME")
    parser.add_argument("--to", dest="target", required=True, metavar="NAME")
    parser.add_argument("--stations", type=Path, metavar="CSV", help="columns name,receive_db,emit_db")
    parser.add_argument("--strategy", choices=_STRATEGIES, default="two-way", help="default: two-way")
    _add_clock(parser)
    _add_output(parser)


def _add_clock(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clock-hz", type=float, metavar="HZ", help="uses in a second, for bits per second")


def _add_plan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kbit-s", type=float, default=24.0, metavar="R", help="speech, one direction (default: 24)")
    parser.add_argument("--clock-hz", type=float, default=1e9, metavar="HZ", help="uses in a second (default: 1e9)")
    parser.add_argument("--directions", type=int, choices=(1, 2), default=2, help="default: 2, a call")
    parser.add_argument("--stations", type=_counts, default=(0, 1, 2, 5, 10), metavar="N,N,…", help="numbers to try")
    parser.add_argument("--length-km", type=float, metavar="KM", help="also: what it takes to reach this far")
    parser.add_argument("--strategy", choices=_STRATEGIES, default="two-way", help="default: two-way")
    parser.add_argument("--out", type=Path, metavar="DIR", help="also write plan.csv and plan.png there")
    _add_station(parser)
    _add_output(parser)


def _add_station(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("stations")
    loss = group.add_mutually_exclusive_group()
    loss.add_argument("--station-db", type=float, default=0.0, metavar="DB", help="lost on arrival at a station")
    loss.add_argument("--transmissivity", type=float, metavar="T", help="the same as an efficiency, 0 to 1")
    group.add_argument("--emit-db", type=float, default=0.0, metavar="DB", help="lost on leaving a station")


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--db-per-km", type=float, default=FIBRE_DB_PER_KM, metavar="DB", help="fibre (default: 0.2)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(item) for item in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}; expected numbers with commas between, such as 80,120.5") from None


def _counts(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(item) for item in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r}; expected whole numbers with commas between, such as 0,1,5"
        ) from None


def main(argv: list[str]) -> int:
    """Run one of the subcommands; exit status 0."""
    if argv[:1] == ["beam"]:
        return beam.main(argv[1:])
    arguments = _parser().parse_args(argv)
    if getattr(arguments, "out", None) is not None:
        make_folder(arguments.out)
    run = {"chain": _chain, "network": _network, "plan": _plan, "figure": _figure}
    return run[arguments.command](arguments)


def _station(arguments: argparse.Namespace) -> Station:
    receive_db = arguments.station_db
    if arguments.transmissivity is not None:
        receive_db = loss_db_from_transmissivity(arguments.transmissivity)
    return Station(receive_db=receive_db, emit_db=arguments.emit_db)


def _chain(arguments: argparse.Namespace) -> int:
    station = _station(arguments)
    chain = _make_chain(arguments, station)
    rates: list[tuple[str, Rate]] = []
    for strategy in _STRATEGIES:
        for reading in _READINGS:
            upper = chain_rate(chain, strategy=strategy, reading=reading)
            rates.append((reading, upper))
            if upper.kind != "exact":
                rates.append((reading, chain_rate(chain, strategy=strategy, reading=reading, side="lower")))
    limits = [station_limit(station.loss_db, strategy) for strategy in _STRATEGIES] if chain.stations else []
    if arguments.json:
        found = {
            "stations": len(chain.stations),
            "rates": [{"reading": reading, **_rate_json(rate, arguments.clock_hz)} for reading, rate in rates],
            "limits": [_rate_json(rate, arguments.clock_hz) for rate in limits],
        }
        print(json.dumps(found))
        return 0
    print(f"{len(chain.stations)} stations, {len(chain.spans)} spans")
    for reading, rate in rates:
        print(f"{reading:<9} {rate}{_per_second(rate, arguments.clock_hz)}")
    for rate in limits:
        print(f"limit     {rate}{_per_second(rate, arguments.clock_hz)}")
    return 0


def _make_chain(arguments: argparse.Namespace, station: Station) -> Chain:
    if arguments.loss_db is not None:
        if arguments.photons:
            raise InputError("--photons goes with fibre; give --length-km or --spans-km instead of --loss-db")
        return even_chain(arguments.loss_db, arguments.stations, station)
    spans_km = arguments.spans_km
    if spans_km is None:
        count = len(even_chain(0.0, arguments.stations).spans)
        spans_km = (arguments.length_km / count,) * count
    elif arguments.stations not in (0, len(spans_km) - 1):
        raise InputError(f"--stations is {arguments.stations}; {len(spans_km)} spans have {len(spans_km) - 1} stations")
    spans = tuple(fibre(km, db_per_km=arguments.db_per_km, mean_photons=arguments.photons) for km in spans_km)
    return Chain(spans=spans, stations=(station,) * (len(spans) - 1))


def _network(arguments: argparse.Namespace) -> int:
    network = read_network(arguments.file, stations=arguments.stations, db_per_km=arguments.db_per_km)
    ends, strategy = (arguments.source, arguments.target), arguments.strategy
    found: list[tuple[Reading, BestRoute, Multipath]] = []
    for reading in _READINGS:
        route = single_path(network, *ends, strategy=strategy, reading=reading)
        flow = multi_path(network, *ends, strategy=strategy, reading=reading)
        found.append((reading, route, flow))
        if route.rate.kind != "exact" or flow.rate.kind != "exact":
            route = single_path(network, *ends, strategy=strategy, reading=reading, side="lower")
            flow = multi_path(network, *ends, strategy=strategy, reading=reading, side="lower")
            found.append((reading, route, flow))
    clock_hz = arguments.clock_hz
    if arguments.json:
        told: dict[str, dict[str, object]] = {}
        for reading, route, flow in found:
            side = "lower" if "lower" in (route.rate.kind, flow.rate.kind) else "upper"
            inside = (
                told.setdefault(reading, {})
                if side == "upper"
                else cast("dict[str, object]", told[reading].setdefault(side, {}))
            )
            inside.update(_network_json(network, route, flow, clock_hz))
        print(json.dumps(told))
        return 0
    for reading, route, flow in found:
        print(f"{reading}: best route  {route.rate}{_per_second(route.rate, clock_hz)}")
        print(f"  {' - '.join(route.nodes) or 'no route'}")
        print(f"{reading}: all routes  {flow.rate}{_per_second(flow.rate, clock_hz)}")
        cut = ", ".join(_cut(network, flow)) or "nothing"
        print(f"  cut by {cut}" + ("" if flow.rate.kind == "lower" else ": no protocol of this class passes it"))
    return 0


def _cut(network: Network, flow: Multipath) -> list[str]:
    names = [f"{network.links[number].a}-{network.links[number].b}" for number in flow.cut_links]
    names += [f"inside {name}" for name in flow.cut_stations]
    return [f"{name} ({bits:.6g})" for name, bits in zip(names, flow.cut_bits, strict=True)]


def _network_json(network: Network, route: BestRoute, flow: Multipath, clock_hz: float | None) -> dict[str, object]:
    return {
        "single_path": {**_rate_json(route.rate, clock_hz), "route": list(route.nodes)},
        "multi_path": {
            **_rate_json(flow.rate, clock_hz),
            "cut_links": [[network.links[number].a, network.links[number].b] for number in flow.cut_links],
            "cut_stations": list(flow.cut_stations),
            "cut_bits": [_plain(bits) for bits in flow.cut_bits],
        },
    }


def _plan(arguments: argparse.Namespace) -> int:
    station = _station(arguments)
    call = Call(bits_per_s=1000 * arguments.kbit_s, clock_hz=arguments.clock_hz, directions=arguments.directions)
    rows = reaches(call, arguments.stations, station, strategy=arguments.strategy, db_per_km=arguments.db_per_km)
    there = _there(arguments, call, station)
    if arguments.out is not None:
        curves = call_over_distance(
            call, arguments.stations, station, strategy=arguments.strategy, db_per_km=arguments.db_per_km
        )
        write_csv(curves, arguments.out / "plan.csv")
        draw(curves, arguments.out / "plan.png")
    if arguments.json:
        table = [{"stations": row.num_stations, "longest_km": row.longest_km} for row in rows]
        lossy = station.loss_db > 0
        says = {"kind": "upper", "strategy": arguments.strategy, "assumes": assumption("composed", lossy)}
        print(json.dumps({**says, "key_bits_per_use": call.key_bits_per_use, "reach": table, **there}))
        return 0
    print(
        f"a call of {arguments.kbit_s:g} kbit/s x {call.directions} needs {call.key_bits_per_s:g} bits of key a second: "
        f"{call.key_bits_per_use:.4g} bits/use at {call.clock_hz:g} Hz"
    )
    print(
        f"stations lose {station.loss_db:.4g} dB each; fibre {arguments.db_per_km:g} dB/km; {arguments.strategy}; "
        "nothing is corrected inside a station"
    )
    print(f"{'stations':>9} {'no farther than':>16}")
    for row in rows:
        reach = "not at all" if row.longest_km is None else f"{row.longest_km:.1f} km"
        print(f"{row.num_stations:>9} {reach:>16}")
    _print_there(arguments, there)
    if arguments.out is not None:
        print(f"wrote {arguments.out / 'plan.png'} and plan.csv")
    return 0


def _there(arguments: argparse.Namespace, call: Call, station: Station) -> dict[str, object]:
    if arguments.length_km is None:
        return {}
    total_db = fibre_loss_db(arguments.length_km, arguments.db_per_km)
    shares: list[dict[str, object]] = []
    for count in arguments.stations:
        rate = chain_rate(even_chain(total_db, count, station), strategy=arguments.strategy)
        break_even = break_even_station_db(total_db, count) if count else None
        shares.append(
            {"stations": count, "call_s_per_s": _plain(talk_share(call, rate)), "break_even_station_db": break_even}
        )
    fewest = fewest_stations(call.key_bits_per_use, total_db, station, strategy=arguments.strategy)
    spans_km = None
    if fewest is not None:
        placed = place(total_db, (station,) * fewest)
        spans_km = [span_db / arguments.db_per_km for span_db in placed.spans_db]
    return {
        "length_km": arguments.length_km,
        "fewest_stations": fewest,
        "best_spans_km": spans_km,
        "at_this_length": shares,
    }


def _print_there(arguments: argparse.Namespace, there: dict[str, object]) -> None:
    if not there:
        return
    fewest = there["fewest_stations"]
    answer = "no number of such stations is enough" if fewest is None else f"at least {fewest} equally spaced stations"
    print(f"\n{arguments.length_km:g} km: {answer}")
    if isinstance(fewest, int) and fewest > 0:
        spans_km = cast("list[float]", there["best_spans_km"])
        print(f"  best placed with spans of {', '.join(f'{km:.1f}' for km in spans_km[:8])}{', …' * (fewest > 7)} km")
    print(f"{'stations':>9} {'call per second of key':>24} {'helps if a station loses less than':>36}")
    rows = cast("list[dict[str, float | None]]", there["at_this_length"])
    for row in rows:
        loss = "-" if row["break_even_station_db"] is None else f"{row['break_even_station_db']:.2f} dB"
        print(f"{row['stations']:>9} {float(row['call_s_per_s'] or 0):>22.4g} s {loss:>36}")


def _figure(arguments: argparse.Namespace) -> int:
    names: Sequence[str] = tuple(FIGURES) if arguments.name == "all" else (arguments.name,)
    for name in names:
        curves = figure(name)
        write_csv(curves, arguments.out / f"{name}.csv")
        draw(curves, arguments.out / f"{name}.png")
        print(f"{arguments.out / name}.csv and .png: {curves.title}")
    return 0


def _per_second(rate: Rate, clock_hz: float | None) -> str:
    return "" if clock_hz is None else f"  = {rate.per_second(clock_hz):.6g} bits/s"


def _plain(value: float) -> float | str:
    """JSON has no infinity."""
    return value if math.isfinite(value) else "inf"


def _rate_json(rate: Rate, clock_hz: float | None) -> dict[str, object]:
    found: dict[str, object] = {
        "bits_per_use": _plain(rate.bits_per_use),
        "kind": rate.kind,
        "strategy": rate.strategy,
        "assumes": rate.assumes,
    }
    if clock_hz is not None:
        found["bits_per_s"] = _plain(rate.per_second(clock_hz))
    return found
