"""Networks from CSV, GraphML and NetworkX: round trips and every kind of broken file."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullduplex.base.errors import FormatError, InputError
from fullduplex.links.chains import Station
from fullduplex.links.channels import PureLoss, ThermalLoss
from fullduplex.links.topology import network_from_csv, network_from_graphml, network_from_networkx, read_network

LINKS = "a,b,length_km,one_direction\nx,y,50,\ny,z,25,yes\n"
STATIONS = "name,receive_db,emit_db\ny,1.5,0.5\n"


def test_csv_with_stations() -> None:
    network = network_from_csv(LINKS, STATIONS)
    assert network.nodes == ("x", "y", "z")
    assert [link.channel for link in network.links] == [PureLoss(loss_db=10.0), PureLoss(loss_db=5.0)]
    assert [link.one_direction for link in network.links] == [False, True]
    assert network.stations == {"y": Station(receive_db=1.5, emit_db=0.5)}


def test_csv_with_loss_attenuation_photons_and_spaces() -> None:
    network = network_from_csv("a, b, loss_db, mean_photons\nx, y, 3, 0.1\nx, z, inf, 0\n", db_per_km=0.5)
    assert network.links[0].channel == ThermalLoss(loss_db=3.0, mean_photons=0.1)
    assert network.links[1].channel == PureLoss(loss_db=math.inf)
    mixed = network_from_csv("a,b,length_km,db_per_km\nx,y,10,0.3\nx,z,10,\n", db_per_km=0.5)
    assert [link.channel for link in mixed.links] == [PureLoss(loss_db=3.0), PureLoss(loss_db=5.0)]


@pytest.mark.parametrize(
    ("links", "stations", "says"),
    [
        ("", "", "no column a, b"),
        ("a,b,length_km\n", "", "no links"),
        ("a,b,lenght_km\nx,y,1\n", "", "did you mean 'length_km'"),
        ("a,b,colour\nx,y,1\n", "", "column 'colour'"),
        ("a,length_km\nx,1\n", "", "no column b"),
        ("a,b,length_km\nx,y\n", "", "line 2 has more or fewer"),
        ("a,b,length_km\nx,y,1,2\n", "", "line 2 has more or fewer"),
        ("a,b,length_km\nx,y,far\n", "", "line 2: length_km is 'far'"),
        ("a,b,length_km\nx,y,nan\n", "", "length_km is nan"),
        ("a,b,length_km\nx,y,-3\n", "", "line 2: length_km is -3"),
        ("a,b,length_km\nx,y,\n", "", "neither given"),
        ("a,b,length_km,loss_db\nx,y,1,2\n", "", "length_km and loss_db given"),
        ("a,b,loss_db\nx,y,-2\n", "", "loss_db is -2"),
        ("a,b,loss_db,mean_photons\nx,y,2,-1\n", "", "mean_photons"),
        ("a,b,length_km\n,y,1\n", "", "no name"),
        ("a,b,length_km,one_direction\nx,y,1,perhaps\n", "", "one_direction is 'perhaps'"),
        ('a,b,length_km\n"x,y,1\n', "", "not CSV"),
        (LINKS, "name,receive_db\ny,1\ny,2\n", "listed twice"),
        (LINKS, "name,receive_db\ny,-1\n", "receive_db is -1"),
        (LINKS, "receive_db\n1\n", "no column name"),
    ],
)
def test_broken_csv_is_refused_with_its_line(links: str, stations: str, says: str) -> None:
    with pytest.raises(FormatError, match=says):
        network_from_csv(links, stations)


GRAPHML = """<?xml version="1.0"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
  <key id="d0" for="edge" attr.name="length_km" attr.type="double"/>
  <key id="d1" for="node" attr.name="receive_db" attr.type="double"/>
  <key id="d2" for="node" attr.name="city" attr.type="string"/>
  <graph edgedefault="{kind}">
    <node id="x"/><node id="y"><data key="d1">1.5</data><data key="d2">Oslo</data></node>
    <edge source="x" target="y"><data key="d0">{length}</data></edge>
  </graph>
</graphml>
"""


def test_graphml() -> None:
    network = network_from_graphml(GRAPHML.format(kind="undirected", length="50"))
    assert network.links[0].channel == PureLoss(loss_db=10.0)
    assert not network.links[0].one_direction
    assert network.stations["y"] == Station(receive_db=1.5)
    assert network_from_graphml(GRAPHML.format(kind="directed", length="50")).links[0].one_direction


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not XML"),
        (GRAPHML[:300], "not XML"),
        ("<graphml/>", "no <graph>"),
        ('<!DOCTYPE x [<!ENTITY a "b">]>' + GRAPHML, "document type"),
        (GRAPHML.format(kind="directed", length="far"), "edge 0: length_km is 'far'"),
        (GRAPHML.format(kind="directed", length=""), "neither given"),
        (GRAPHML.format(kind="directed", length="1").replace('target="y"', 'target="q"'), "expected names of nodes"),
        (GRAPHML.format(kind="directed", length="1").replace("1.5", "-1.5"), "node y: receive_db"),
        (GRAPHML.format(kind="directed", length="1").replace('<node id="x"/>', '<node id="y"/>'), "y is listed twice"),
        (
            GRAPHML.format(kind="directed", length="1").replace("<edge ", '<edge directed="maybe" '),
            "one_direction is 'maybe'",
        ),
    ],
)
def test_broken_graphml_is_refused(text: str, says: str) -> None:
    with pytest.raises(FormatError, match=says):
        network_from_graphml(text)


def test_graphml_defaults_and_edges_with_a_direction_of_their_own() -> None:
    text = GRAPHML.format(kind="undirected", length="50")
    text = text.replace("<edge ", '<edge directed="true" ')
    text = text.replace(
        '<key id="d1" for="node" attr.name="receive_db" attr.type="double"/>',
        '<key id="d1" for="node" attr.name="receive_db" attr.type="double"><default>3</default></key>'
        '<key id="d4" for="edge" attr.name="db_per_km" attr.type="double"><default> 0.3 </default></key>',
    )
    network = network_from_graphml(text)
    assert network.links[0].one_direction
    assert network.links[0].channel == PureLoss(loss_db=15.0)
    assert network.stations == {"x": Station(receive_db=3.0), "y": Station(receive_db=1.5)}


@given(st.data())
def test_whatever_is_in_a_file_it_is_read_or_refused(data: st.DataObject) -> None:
    """Files cut off, with parts repeated or replaced by junk, and junk alone: a network or a typed error."""
    whole = data.draw(st.sampled_from([LINKS, GRAPHML.format(kind="directed", length="50"), ""]))
    start, stop = sorted(data.draw(st.tuples(st.integers(0, len(whole)), st.integers(0, len(whole)))))
    junk = data.draw(
        st.one_of(st.text(max_size=20), st.sampled_from([whole[start:stop] * 2, "nan", "-1", "1e999", "\0"]))
    )
    text = whole[:start] + junk + whole[stop:]
    for read in (network_from_csv, network_from_graphml):
        try:
            network = read(text)
        except FormatError as error:
            assert str(error)
        else:
            assert network.links


def test_networkx_refuses_what_is_no_graph() -> None:
    with pytest.raises(InputError, match="graph is a list"):
        network_from_networkx([("a", "b")])


def test_networkx_graphs_of_every_kind_and_their_graphml(tmp_path: Path) -> None:
    networkx = pytest.importorskip("networkx")
    for kind in (networkx.Graph, networkx.DiGraph, networkx.MultiGraph):
        graph = kind()
        graph.add_node("x")
        graph.add_node("y", receive_db=1.0)
        graph.add_edge("x", "y", length_km=50.0)
        if graph.is_multigraph():
            graph.add_edge("x", "y", loss_db=3.0)
        network = network_from_networkx(graph)
        assert len(network.links) == graph.number_of_edges()
        assert network.links[0].one_direction == graph.is_directed()
        networkx.write_graphml(graph, tmp_path / "g.graphml")
        again = read_network(tmp_path / "g.graphml")
        assert again == network
    bare = networkx.path_graph(3)
    with pytest.raises(FormatError, match="edge 0-1: neither"):
        network_from_networkx(bare)


def test_files(tmp_path: Path) -> None:
    links, stations = tmp_path / "links.csv", tmp_path / "stations.csv"
    links.write_text("﻿" + LINKS, encoding="utf-8")  # spreadsheets begin a file with a byte order mark
    stations.write_text(STATIONS, encoding="utf-8")
    assert read_network(links, stations=stations) == network_from_csv(LINKS, STATIONS)
    graph = tmp_path / "g.graphml"
    graph.write_text(GRAPHML.format(kind="directed", length="1"), encoding="utf-8")
    with pytest.raises(InputError, match="itself"):
        read_network(graph, stations=stations)
    with pytest.raises(InputError, match=r"none\.csv cannot be read"):
        read_network(tmp_path / "none.csv")
    with pytest.raises(InputError, match=r"'\.txt'"):
        read_network(tmp_path / "links.txt")
    (tmp_path / "bytes.csv").write_bytes(b"a,b\n\xff\xfe\n")
    with pytest.raises(FormatError, match="not UTF-8"):
        read_network(tmp_path / "bytes.csv")
