"""Provenance is compared by content, and every difference is named."""

import json

import pytest

from jaxfid.errors import InputError
from jaxfid.provenance import Provenance, describe_change, diff_features

RULE = {"resampling": "tf1_bilinear", "size_px": 299, "shift": 128.0}
MADE = {
    "extractor": "inception", "protocol": "clean", "input": RULE, "dims": 2048,
    "weights_sha256": "a" * 64, "precision": "float32", "source": "real",
}  # fmt: skip


def test_equal_content_is_equal_whatever_its_order_and_kind():
    shuffled = Provenance(dict(reversed(MADE.items())))
    assert Provenance(MADE) == shuffled == MADE
    assert Provenance(MADE).to_json() == shuffled.to_json()
    assert Provenance({"shift": (1, 2)})["shift"] == [1, 2]


def test_every_difference_is_named_with_both_values():
    other = Provenance(MADE, dims=64, extra=1)
    assert Provenance(MADE).diff(other) == [("dims", 2048, 64), ("extra", None, 1)]
    assert Provenance(MADE).diff(other, names=("dims",)) == [("dims", 2048, 64)]


def test_features_are_compared_by_what_makes_them():
    assert diff_features(MADE, {**MADE, "source": "elsewhere"}) == []
    found = diff_features({**MADE, "protocol": "legacy_pytorch"}, MADE)
    assert found == ["protocol legacy_pytorch against clean"]
    found = diff_features({**MADE, "weights_sha256": "b" * 64}, MADE)
    assert found == ["weights_sha256 bbbbbbbbbbbb... against aaaaaaaaaaaa..."]


def test_two_rules_of_one_name_are_not_comparable():
    found = diff_features({**MADE, "input": {**RULE, "shift": 127.5}}, MADE)
    assert found == ["input shift 127.5 against 128.0"]


def test_a_file_of_the_first_edition_is_compared_by_the_name_of_its_rule():
    first = {n: v for n, v in MADE.items() if n not in ("extractor", "input")}
    assert diff_features(first, MADE) == []
    assert diff_features(MADE, first) == []
    assert diff_features({**MADE, "extractor": "tiny"}, first) == [
        "extractor tiny against inception"
    ]


def test_what_json_cannot_hold_is_refused():
    for content in ({"x": float("nan")}, {"x": object()}):
        with pytest.raises(InputError, match="provenance: expected what JSON can hold"):
            Provenance(content)


def test_changes_are_told_in_words():
    assert describe_change("seed", 0, 1) == "seed was 0, is 1"
    assert describe_change("content", "a" * 64, None) == 'content was "aaaaaaaaaaaa...", is null'
    assert json.loads(Provenance(MADE).to_json()) == MADE
