"""Sets that are one model: which they are, what is said of them, and what is refused before any image."""

import dataclasses
import json
import math
import re

import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.evaluate import compute_metrics
from jaxfid.extractors.interface import Extractor
from jaxfid.preprocessing.protocol import get_protocol
from jaxfid.result import MetricValue, Result, SetResult
from jaxfid.scoring.replicates import group_sets, with_models

TINY = Extractor(
    "tiny",
    dataclasses.replace(get_protocol("clean"), name="tiny_8", size_px=8),
    3,
    {},
    lambda params, images: images.mean((1, 2)),
)
NAMES = ["out/a0", "out/a1/", "out/b0", "out/b1", "out/c"]
PATTERN = r"out/([ab])\d"
GROUPS = {"a": [0, 1], "b": [2, 3]}


def scored(name, value, stderr=0.01, **metrics):
    noise = np.random.default_rng(len(name)).normal(size=100)
    found = {"fid": MetricValue(value, stderr, influence=noise / noise.std() * stderr * 10)}
    return SetResult(name, 100, found | {key: MetricValue(value) for key, value in metrics.items()})


def result_of(*values, **metrics):
    sets = [scored(name, value, **metrics) for name, value in zip(NAMES, values, strict=False)]
    return Result({}, {}, {}, {}, sets)


def test_sets_are_found_by_name_by_position_and_by_pattern():
    by_name = {"a": ["out/a0", "out/a1"], "b": ["out/b0", "out/b1"]}
    assert group_sets(NAMES, by_name) == GROUPS
    assert group_sets(NAMES, {"a": [0, 1], "b": [2, "out/b1/"]}) == GROUPS
    assert group_sets(NAMES, PATTERN) == GROUPS
    assert group_sets(NAMES, re.compile(PATTERN)) == GROUPS
    assert group_sets(NAMES, None) == {}


@pytest.mark.parametrize(
    ("grouping", "message"),
    [
        ({"a": ["out/a0", "a2"]}, r"expected names of the generated sets \(out/a0, .* found a2"),
        ({"a": [0, 5]}, "expected positions below 5, found 5"),
        ({"a": [-1]}, "expected positions below 5, found -1"),
        ({"a": ["out/a0"], "b": ["out/a0"]}, "expected each set once, found out/a0 again"),
        ({"a": [0, 0]}, "expected each set once, found out/a0 again"),
        ({"a": []}, "expected sets in each group, found none in a"),
        ({"out/c": ["out/a0"]}, "out/c is a model and a set outside of it"),
        ("a(", "'a\\(' is no regular expression"),
        (r"out/a\d", "expected a group that names the model"),
        ("(x)", "finds no model in out/a0"),
    ],
)
def test_groups_that_cannot_be_meant_are_refused(grouping, message):
    with pytest.raises(InputError, match=message):
        group_sets(NAMES, grouping)


def test_a_name_that_two_sets_have_is_refused():
    with pytest.raises(InputError, match="a is 2 of the sets; give their positions"):
        group_sets(["a", "a"], {"m": ["a"]})


def test_a_model_has_the_mean_and_the_spread_of_its_sets():
    found = with_models(result_of(2.0, 2.4, 3.0, 3.6, 5.0), GROUPS)
    a, b = found.replicates
    assert (a.name, a.sets) == ("a", ("out/a0", "out/a1/"))
    assert a.metrics["fid"].mean == pytest.approx(2.2)
    # The plain formula for two: their distance over the square root of 2.
    assert b.metrics["fid"].spread == pytest.approx(0.6 / math.sqrt(2))
    assert a.metrics["fid"].sampling_share == pytest.approx(0.01**2 / 0.08)
    # 12.706 is Student's t at 97.5 % with one degree of freedom.
    assert a.metrics["fid"].interval[1] == pytest.approx(2.2 + 12.706 * 0.2, rel=1e-4)
    assert str(a) == (
        "a over 2 training seeds: "
        "fid 2.20 +- 0.20 (spread 0.28, 95% interval -0.34 to 4.74, sampling explains 0%)"
    )


def test_models_are_compared_by_replicates_and_the_sentence_says_so():
    groups = {"a": [0, 1, 2], "b": [3, 4]}
    (gap,) = with_models(result_of(2.0, 2.01, 2.02, 3.0, 3.01), groups).comparisons
    assert (gap.best, gap.other, gap.conclusive) == ("a", "b", True)
    assert gap.sentence.endswith("than b over 3 and 2 training seeds: more than chance")
    (again,) = with_models(result_of(2.0, 2.01, 2.02, 3.0, 3.01), groups, "sampling").comparisons
    assert "3 and 2 noise seeds: more than chance; another training seed may" in again.sentence


def test_three_models_are_ranked_with_the_p_values_of_their_comparisons():
    found = with_models(result_of(2.0, 2.01, 2.0, 2.02, 9.0, kid=0.1), GROUPS)
    ranking = found.rankings["fid"]
    assert [(r.rank, r.model.name, r.not_told_apart) for r in ranking][:2] == [
        (1, "a", ("b",)),
        (1, "b", ("a",)),
    ]
    assert ranking[2].model.name == "out/c"
    assert [gap.other for gap in found.comparisons if gap.metric == "fid"] == ["b", "out/c"]
    assert all("(3 comparisons)" in gap.sentence for gap in found.comparisons[1:2])
    told_apart = {gap.other for gap in found.comparisons if gap.conclusive}
    assert ("out/c" in told_apart) == ("out/c" not in ranking[0].not_told_apart)


def test_sets_without_groups_are_models_of_one_each_and_two_are_not_ranked():
    pair = with_models(result_of(2.0, 3.0), {})
    assert (pair.replicates, pair.rankings) == ([], {})
    assert "by sampling alone" in pair.comparisons[0].sentence
    three = with_models(result_of(2.0, 3.0, 4.0), {})
    assert [ranked.model.name for ranked in three.rankings["fid"]] == [
        "out/a0",
        "out/a1/",
        "out/b0",
    ]


def test_a_set_that_was_given_twice_is_numbered():
    sets = [scored("x", 2.0), scored("x", 2.0), scored("x (2)", 3.0)]
    found = with_models(Result({}, {}, {}, {}, sets), {})
    assert {r.model.name for r in found.rankings["fid"]} == {"x", "x (2)", "x (2) (2)"}


def test_a_metric_that_some_sets_have_no_value_of_counts_the_others():
    result = result_of(2.0, 2.4, 3.0, 3.6)
    first = dataclasses.replace(result.results[0], metrics={"fid": MetricValue(None, reason="few")})
    result = dataclasses.replace(result, results=[first, *result.results[1:]])
    a = with_models(result, {"a": [0, 1]}).replicates[0]
    assert a.metrics["fid"].values == (2.4,)
    none = with_models(dataclasses.replace(result, results=[first]), {"a": [0]}).replicates[0]
    assert (none.metrics, str(none)) == ({}, "a: none (1 sets)")


def test_json_holds_models_and_rankings_both_ways():
    found = with_models(result_of(2.0, 2.4, 3.0, 3.6, 5.0), GROUPS)
    text = found.to_json()
    again = Result.from_json(text)
    assert again.to_json() == text
    assert list(again.replicates) == list(found.replicates)
    assert again.rankings == found.rankings
    first = json.loads(text)["replicates"][0]
    assert (first["name"], first["sets"]) == ("a", ["out/a0", "out/a1/"])
    assert first["metrics"]["fid"]["seeds"] == "training seeds"
    # What an earlier version wrote has neither.
    fields = {k: v for k, v in json.loads(text).items() if k not in ("replicates", "rankings")}
    assert Result.from_json(json.dumps(fields)).replicates == ()


def test_images_are_scored_and_grouped_and_wrong_groups_are_refused_before_any_is_read():
    rng = np.random.default_rng(0)
    reference, *sets = (rng.integers(0, 256, (20, 12, 12, 3), np.uint8) for _ in range(4))
    options = {"extractor": TINY, "batch_size": 4, "devices": 1}
    found = compute_metrics(reference, sets, replicates={"a": [0, 1], "b": [2]}, **options)
    values = [of.metrics["fd_tiny"].value for of in found.results]
    assert found.replicates[0].metrics["fd_tiny"].mean == pytest.approx(sum(values[:2]) / 2)
    assert "2 and 1 training seeds" in found.comparisons[0].sentence or (
        "1 and 2 training seeds" in found.comparisons[0].sentence
    )
    seen = []
    with pytest.raises(InputError, match="expected names of the generated sets"):
        compute_metrics(reference, sets, replicates={"a": ["z"]}, on_result=seen.append, **options)
    assert seen == []
