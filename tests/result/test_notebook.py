"""What a notebook shows of results and statistics: everything escaped, nothing endless."""

import sys
import types

import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.result import Comparison, MetricValue, Result, SetResult
from jaxfid.stats.files import Stats

EVIL = "<script>alert(1)</script>"
RESULT = Result(
    reference={"name": EVIL},
    protocol={},
    weights={"name": EVIL},
    environment={},
    results=[
        SetResult(EVIL, 5, {"fid": MetricValue(2.0, 0.5, space=EVIL)}, warnings=[EVIL]),
        SetResult("b", 6, {"kid": MetricValue(None, reason=EVIL)}),
    ],
    comparisons=[Comparison("fid", EVIL, "b", 1.0, 0.5, True)],
)
STATS = Stats(np.zeros(3), np.eye(3), 7, {"protocol": EVIL, "weights_name": "w"})


@pytest.mark.parametrize(
    "shown", [RESULT, *RESULT.results, *RESULT.comparisons, STATS], ids=lambda s: type(s).__name__
)
def test_html_is_escaped(shown):
    text = shown._repr_html_()
    assert "<script" not in text
    if shown is not RESULT.results[1]:
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_a_table_has_a_row_for_each_set_and_a_column_for_each_metric():
    text = RESULT._repr_html_()
    assert "<th>set</th><th>images</th><th>fid</th><th>kid</th>" in text
    assert "<td>5 images</td><td>2.00 +- 0.50</td><td></td>" in text


def test_reprs_are_short():
    assert repr(STATS) == f"Stats(features 3, count 7, protocol {EVIL}, weights w)"
    assert repr(RESULT).splitlines()[0] == f"Result(against {EVIL}, weights {EVIL})"
    assert repr(RESULT).splitlines()[2].startswith("  b: kid none")


def test_a_data_frame_has_a_row_for_each_set_and_metric(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", types.SimpleNamespace(DataFrame=list))
    first, second = RESULT.to_pandas()
    assert (first["metric"], first["value"], first["stderr"]) == ("fid", 2.0, 0.5)
    assert (second["generated"], second["reason"]) == ("b", EVIL)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match="pip install pandas"):
        RESULT.to_pandas()


def test_pandas_itself_takes_it():
    pandas = pytest.importorskip("pandas")
    frame = RESULT.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["metric"]) == ["fid", "kid"]
