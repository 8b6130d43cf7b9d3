import hashlib
import json

import pytest

from fullduplex.base.errors import FormatError, InputError
from fullduplex.base.record import Record, append_record, hash_bytes, read_records

RECORD = Record(
    name="scan", seed=1, data_hash="ab", figures={"ratio": 2.5}, seconds_s=0.1, config={"sizes": [1, 2], "who": "é"}
)


def test_one_record_is_one_line_of_json():
    line = RECORD.to_json()
    assert "\n" not in line
    assert json.loads(line) == {
        "name": "scan",
        "seed": 1,
        "data_hash": "ab",
        "figures": {"ratio": 2.5},
        "seconds_s": 0.1,
        "config": {"sizes": [1, 2], "who": "é"},
    }


def test_records_are_appended_and_read_back(tmp_path):
    path = tmp_path / "records.jsonl"
    append_record(path, RECORD)
    append_record(path, RECORD)
    assert read_records(path) == (RECORD, RECORD)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_figure_that_is_no_number_is_refused(value):
    with pytest.raises(InputError, match="not finite: ratio"):
        Record(name="scan", seed=1, data_hash="", figures={"ratio": value}, seconds_s=0.1)


@pytest.mark.parametrize("value", [object(), float("nan")])
def test_a_setting_json_cannot_hold_is_refused_before_anything_is_written(value, tmp_path):
    record = Record(name="scan", seed=1, data_hash="", figures={}, seconds_s=0.1, config={"x": value})
    with pytest.raises(InputError, match="plain values"):
        append_record(tmp_path / "records.jsonl", record)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("line", ["{", "[]", '{"name": "x"}', '{"nmae": "x"}', "3", '{"name": "half'])
def test_a_damaged_line_is_named(line, tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text(f"{RECORD.to_json()}\n{line}\n", encoding="utf-8")
    with pytest.raises(FormatError, match=r"records\.jsonl line 2"):
        read_records(path)


def test_hash_is_sha256_however_the_stream_is_cut():
    # FIPS 180-4, the example "abc".
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert hash_bytes([b"abc"]) == hash_bytes([b"a", b"", b"bc"]) == expected
    assert hash_bytes([]) == hashlib.sha256().hexdigest()
