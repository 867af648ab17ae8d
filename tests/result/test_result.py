"""Results survive the way through JSON, and lines for people say what is known."""

import json

import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.result import Comparison, Metric, Result, SetResult, to_metric_value

RESULT = Result(
    reference={"name": "real", "num_images": 5},
    protocol={"name": "clean", "dims": 64, "precision": "float32"},
    weights={"name": "w", "sha256": "00", "official": False},
    environment={"versions": {"jaxfid": "0"}},
    results=(
        SetResult(
            "a",
            5,
            {
                "fid": Metric(
                    2.312345678901234,
                    stderr=0.04,
                    space="clean, 64",
                    influence=np.array([2.0, 3.0]),
                ),
                "kid": Metric(-0.5),
            },
            skipped=({"key": "x.png", "reason": "truncated"},),
            warnings=("few",),
        ),
        SetResult("b", None, {"inception_score": Metric(9.0, std=0.1, details={"num_splits": 10})}),
    ),
    comparisons=(Comparison("fid", "a", "b", 0.3, 0.1, True),),
)


def test_json_goes_both_ways():
    text = RESULT.to_json()
    again = Result.from_json(text)
    assert again.to_json() == text
    assert again.results[0].metrics["fid"].value == 2.312345678901234
    assert again.comparisons == RESULT.comparisons


def test_json_has_the_promised_layout_and_leaves_out_what_is_not_known():
    fields = json.loads(RESULT.to_json())
    assert list(fields)[:5] == ["reference", "protocol", "weights", "environment", "results"]
    first, second = fields["results"]
    assert first["generated"] == "a"
    assert first["num_images"] == 5
    assert first["metrics"]["kid"] == {"value": -0.5}
    assert first["metrics"]["fid"]["stderr"] == 0.04
    assert "num_images" not in second


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"results": [{}]}', '{"results": 3}'])
def test_other_text_is_refused(text):
    with pytest.raises(InputError, match="result: expected JSON that jaxfid wrote"):
        Result.from_json(text)


def test_influences_come_along_where_they_are_asked_for():
    metric = RESULT.results[0].metrics["fid"]
    assert "influence" not in metric.to_fields()
    again = to_metric_value(json.loads(json.dumps(metric.to_fields(with_influence=True))))
    np.testing.assert_array_equal(again.influence, metric.influence)
    assert again == metric


def test_a_result_of_the_first_edition_is_read():
    fields = json.loads(RESULT.to_json())
    fields["results"][0]["metrics"]["fid"]["rests"] = [2.0, 3.0]
    del fields["extractors"]
    assert Result.from_json(json.dumps(fields)) == Result.from_json(RESULT.to_json())


def test_a_metric_without_a_value_says_why():
    metric = Metric(None, reason="needs 10 images")
    assert str(metric) == "none (needs 10 images)"
    assert metric.to_fields() == {"value": None, "reason": "needs 10 images"}


def test_lines_for_people():
    a, b = RESULT.results
    assert str(a) == "a: fid (clean, 64) 2.312 +- 0.040, kid -0.5, 5 images, 1 skipped"
    assert str(b) == "b: inception_score 9 (std 0.1), statistics"
    assert str(RESULT.comparisons[0]) == ("a is 0.3 +- 0.1 lower in fid than b: more than chance")
    assert str(Metric(1.5, checked=1.25)) == "1.5 (SciPy 1.25)"
    assert str(Metric(0.0, stderr=0.0)) == "0"
