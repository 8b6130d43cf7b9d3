"""Networks from files and from NetworkX: CSV, GraphML, or any graph with edge and node attributes.

A link needs `length_km` or `loss_db`; it may have `db_per_km`, `mean_photons` and `one_direction`. A station may have
`receive_db` and `emit_db`. The names are the same in all three forms, and an unknown CSV column is refused.
"""

import csv
import difflib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from fullduplex.base.errors import FormatError, InputError
from fullduplex.links.chains import Station, fibre_loss_db
from fullduplex.links.channels import PureLoss, ThermalLoss
from fullduplex.links.loss import FIBRE_DB_PER_KM
from fullduplex.links.network import Link, Network

__all__ = ["network_from_csv", "network_from_graphml", "network_from_networkx", "read_network"]

_LINK_COLUMNS = ("a", "b", "length_km", "loss_db", "db_per_km", "mean_photons", "one_direction")
_STATION_COLUMNS = ("name", "receive_db", "emit_db")
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0", "")
_GRAPHML = "{http://graphml.graphdrawing.org/xmlns}"


def read_network(path: Path, *, stations: Path | None = None, db_per_km: float = FIBRE_DB_PER_KM) -> Network:
    """The network in a `.csv` or `.graphml` file; for CSV, `stations` may name a second file.

    Raises:
        FormatError: the file is not text in the form its name promises; the message names the line or the edge.
        InputError: another ending, or a file that is not there.
    """
    kinds = {".csv", ".graphml", ".xml"}
    if path.suffix.lower() not in kinds:
        raise InputError(f"{path.name} ends in {path.suffix!r}; expected one of {', '.join(sorted(kinds))}")
    text = _read(path)
    if path.suffix.lower() != ".csv":
        if stations is not None:
            raise InputError("a GraphML file holds its stations itself; leave out the stations file")
        return network_from_graphml(text, name=path.name, db_per_km=db_per_km)
    station_text = "" if stations is None else _read(stations)
    return network_from_csv(text, station_text, name=path.name, db_per_km=db_per_km)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path.name} is not UTF-8 text: {error}") from error
    except OSError as error:
        raise InputError(f"{path.name} cannot be read: {error.strerror}") from error


def network_from_csv(
    links: str, stations: str = "", *, name: str = "links", db_per_km: float = FIBRE_DB_PER_KM
) -> Network:
    """A network from the text of a links table and, if there is one, of a stations table; both with a header line.

    Raises: FormatError for a missing or unknown column, a short line, or a value that is no number.
    """
    link_rows = _rows(links, name, _LINK_COLUMNS, ("a", "b"))
    station_rows = _rows(stations, "stations", _STATION_COLUMNS, ("name",)) if stations else []
    found: dict[str, Station] = {}
    for where, row in station_rows:
        if row["name"] in found:
            raise FormatError(f"{where}: station {row['name']!r} is listed twice; keep one line")
        found[str(row["name"])] = _station(row, where)
    built = tuple(_link(str(row["a"]), str(row["b"]), row, where, db_per_km) for where, row in link_rows)
    return _checked(Network(links=built, stations=found), name)


def _rows(
    text: str, name: str, known: tuple[str, ...], needed: tuple[str, ...]
) -> list[tuple[str, Mapping[str, object]]]:
    reader = csv.DictReader(io.StringIO(text), strict=True, skipinitialspace=True)
    try:
        columns = [column.strip() for column in reader.fieldnames or ()]
        reader.fieldnames = columns
        for column in columns:
            if column not in known:
                near = difflib.get_close_matches(column, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known columns: {', '.join(known)}"
                raise FormatError(f"{name} has a column {column!r}; {hint}")
        missing = [column for column in needed if column not in columns]
        if missing:
            raise FormatError(
                f"{name} has no column {', '.join(missing)}; expected a header line with {', '.join(known)}"
            )
        return [(f"{name} line {reader.line_num}", _full(row, f"{name} line {reader.line_num}")) for row in reader]
    except csv.Error as error:
        raise FormatError(f"{name} line {reader.line_num} is not CSV: {error}") from error


def _full(row: dict[str, Any], where: str) -> Mapping[str, object]:
    if None in row or None in row.values():
        raise FormatError(f"{where} has more or fewer values than the header has columns")
    return {key: value.strip() for key, value in row.items()}


def network_from_graphml(text: str, *, name: str = "graph", db_per_km: float = FIBRE_DB_PER_KM) -> Network:
    """A network from GraphML; a directed graph gives links of one direction.

    Raises: FormatError for text that is not GraphML or holds document type declarations, and for unusable values.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        # Entities can make a small file expand without end; GraphML needs none.
        raise FormatError(f"{name} declares a document type; expected plain GraphML: remove the declaration")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise FormatError(f"{name} is not XML: {error}") from error
    graph = root.find(f"{_GRAPHML}graph")
    if graph is None:
        raise FormatError(f"{name} holds no <graph> in the GraphML namespace; expected a GraphML file")
    keys = _keys(root)
    directed = graph.get("edgedefault") == "directed"
    stations: dict[str, Station] = {}
    for node in graph.iter(f"{_GRAPHML}node"):
        label = str(node.get("id"))
        if label in stations:
            raise FormatError(f"{name} node {label} is listed twice; keep one")
        stations[label] = _station(_data(node, keys, "node"), f"{name} node {label}")
    links: list[Link] = []
    for number, edge in enumerate(graph.iter(f"{_GRAPHML}edge")):
        where = f"{name} edge {number}"
        row = {"one_direction": edge.get("directed", str(directed)), **_data(edge, keys, "edge")}
        a, b = str(edge.get("source")), str(edge.get("target"))
        if a not in stations or b not in stations:
            raise FormatError(f"{where} joins {a!r} and {b!r}; expected names of nodes of the file")
        links.append(_link(a, b, row, where, db_per_km))
    return _checked(Network(links=tuple(links), stations=stations), name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    """A declared attribute: of nodes, edges or all, and the value of whoever has none of its own."""

    name: str
    owner: str
    default: str | None


def _keys(root: ElementTree.Element) -> dict[str, _Key]:
    return {
        str(key.get("id")): _Key(
            name=str(key.get("attr.name", key.get("id"))),
            owner=key.get("for", "all"),
            default=key.findtext(f"{_GRAPHML}default"),
        )
        for key in root.iter(f"{_GRAPHML}key")
    }


def _data(element: ElementTree.Element, keys: Mapping[str, _Key], owner: str) -> dict[str, object]:
    found: dict[str, object] = {
        key.name: key.default.strip()
        for key in keys.values()
        if key.default is not None and key.owner in (owner, "all")
    }
    for item in element.iter(f"{_GRAPHML}data"):
        label = str(item.get("key"))
        found[keys[label].name if label in keys else label] = (item.text or "").strip()
    return found


def network_from_networkx(graph: Any, *, db_per_km: float = FIBRE_DB_PER_KM) -> Network:
    """A network from a NetworkX graph of any kind; a directed graph gives links of one direction.

    Args:
        graph: edges with `length_km` or `loss_db`, nodes with `receive_db` and `emit_db` where they lose light.

    Raises: FormatError for an edge without length or loss, or values that are no numbers. InputError for another object.
    """
    missing = [part for part in ("is_directed", "nodes", "edges", "number_of_nodes") if not hasattr(graph, part)]
    if missing:
        raise InputError(f"graph is a {type(graph).__name__} without {missing[0]}; expected a NetworkX graph")
    directed = bool(graph.is_directed())
    stations = {str(node): _station(data, f"node {node}") for node, data in graph.nodes(data=True)}
    if len(stations) != graph.number_of_nodes():
        raise FormatError("two nodes have the same name when written as text; expected distinct names")
    links = tuple(
        _link(str(a), str(b), {"one_direction": str(directed), **data}, f"edge {a}-{b}", db_per_km)
        for a, b, data in graph.edges(data=True)
    )
    return _checked(Network(links=links, stations=stations), "graph")


def _checked(network: Network, name: str) -> Network:
    if not network.links:
        raise FormatError(f"{name} has no links; expected at least one")
    return network


def _station(row: Mapping[str, object], where: str) -> Station:
    try:
        return Station(receive_db=_number(row, "receive_db", 0.0, where), emit_db=_number(row, "emit_db", 0.0, where))
    except FormatError:
        raise
    except InputError as error:
        raise FormatError(f"{where}: {error}") from error


def _link(a: str, b: str, row: Mapping[str, object], where: str, db_per_km: float) -> Link:
    if not a or not b:
        raise FormatError(f"{where}: an end has no name; expected two station names")
    given = [key for key in ("length_km", "loss_db") if row.get(key) not in (None, "")]
    if len(given) != 1:
        raise FormatError(
            f"{where}: {' and '.join(given) or 'neither'} given; expected length_km or loss_db, one of them"
        )
    try:
        if given == ["loss_db"]:
            loss_db = _number(row, "loss_db", 0.0, where)
        else:
            per_km = _number(row, "db_per_km", db_per_km, where)
            loss_db = fibre_loss_db(_number(row, "length_km", 0.0, where), per_km)
        photons = _number(row, "mean_photons", 0.0, where)
        channel = ThermalLoss(loss_db=loss_db, mean_photons=photons) if photons else PureLoss(loss_db=loss_db)
    except FormatError:
        raise
    except InputError as error:
        raise FormatError(f"{where}: {error}") from error
    word = str(row.get("one_direction", "")).strip().lower()
    if word not in (*_TRUE, *_FALSE):
        raise FormatError(f"{where}: one_direction is {word!r}; expected true or false")
    return Link(a=a, b=b, channel=channel, one_direction=word in _TRUE)


def _number(row: Mapping[str, object], key: str, default: float, where: str) -> float:
    value = row.get(key)
    if value is None or value == "":
        return default
    try:
        return float(str(value))
    except ValueError:
        raise FormatError(f"{where}: {key} is {value!r}; expected a number") from None
