"""The taxonomy: complete, consistent, with directions that say what they mean."""

import re
from pathlib import Path

import pytest

from fullduplex.base.errors import ConfigError, FormatError, InputError
from fullduplex.evaluate.wavchat.taxonomy import load, real_time_factors

TAXONOMY = load()


def test_the_surveys_counts() -> None:
    assert len(TAXONOMY.behaviours) == 5
    assert len(TAXONOMY.capabilities) == 11
    assert sum(capability.level == "basic" for capability in TAXONOMY.capabilities) == 3
    assert {axis.id for axis in TAXONOMY.axes} >= {"paradigm", "representation", "duplex", "overlap"}


def test_both_real_time_factors_are_named_by_their_direction() -> None:
    """The survey divides speech by computing time, which is the inverse of what the name means elsewhere."""
    found = real_time_factors(speech_s=10.0, computing_s=2.0)
    assert (found.rtf, found.rtf_survey) == (0.2, 5.0)
    metrics = {metric.id: metric for metric in TAXONOMY.metrics}
    assert (metrics["rtf"].direction, metrics["rtf_survey"].direction) == ("lower", "higher")
    for bad in ((0.0, 1.0), (1.0, 0.0), (float("nan"), 1.0)):
        with pytest.raises(InputError):
            real_time_factors(*bad)


def test_the_paradigm_follows_from_the_surveys_test() -> None:
    assert TAXONOMY.system("moshi").paradigm == "end_to_end"
    assert TAXONOMY.system("minicpm-duplex").paradigm == "cascaded"
    for system in TAXONOMY.systems:
        both = system.understands_speech == "yes" and system.generates_speech == "yes"
        assert (system.paradigm == "end_to_end") == both
    with pytest.raises(InputError, match="there are: dgslm"):
        TAXONOMY.system("hal")


def test_every_system_is_cited_and_stands_in_the_matrix() -> None:
    header, rows = TAXONOMY.matrix()
    assert len(rows) == len(TAXONOMY.systems)
    assert {len(row) for row in rows} == {len(header)}
    root = Path(__file__).parents[2]
    for system in TAXONOMY.systems:
        assert re.fullmatch(r"arXiv:\d{4}\.\d{5}", system.cites) or (root / system.cites).is_file()


GOOD = """
[[behaviour]]
id = "stop"
title = "t"
[[capability]]
id = "c"
level = "basic"
title = "t"
"""
SYSTEM = """
[[system]]
id = "s"
name = "S"
cites = "x"
from = "paper"
understands_speech = "yes"
generates_speech = "no"
duplex = "full"
period_s = 1
behaviours = {{ stop = "{mark}" }}
"""
METRIC = '[[metric]]\nid = "m"\ncapability = "{of}"\ndirection = "{way}"\nunit = "s"\n'


def test_a_small_table_of_ones_own() -> None:
    assert load(GOOD + SYSTEM.format(mark="part")).systems[0].behaviours == {"stop": "part"}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[[system", FormatError),
        (GOOD + SYSTEM.format(mark="maybe"), InputError),
        (GOOD + SYSTEM.format(mark="yes").replace("stop =", "go ="), InputError),
        (GOOD + SYSTEM.format(mark="yes") + 'colour = "red"', ConfigError),
        (GOOD + SYSTEM.format(mark="yes") * 2, InputError),
        (GOOD + METRIC.format(of="d", way="higher"), InputError),
        (GOOD + METRIC.format(of="c", way="up"), ConfigError),
    ],
)
def test_tables_that_contradict_themselves_are_refused(text: str, error: type) -> None:
    with pytest.raises(error):
        load(text)
