"""What must not be compared is refused, and what a reader has to know is said."""

import pytest

from jaxfid.errors import InputError
from jaxfid.scoring.plan import make_plan
from jaxfid.scoring.remarks import (
    ADM_DISTANCES,
    POOL3_MANIFOLD,
    Origin,
    check_pair,
    warn_of_sizes,
    warn_of_weights,
    warn_of_words,
)
from jaxfid.settings import Settings

MADE = {"protocol": "clean", "dims": 2048, "weights_sha256": "aa", "precision": "float32"}


def test_equal_provenance_needs_no_words():
    assert check_pair(Origin("real", 2048, MADE), Origin("fake", 2048, dict(MADE))) == []


@pytest.mark.parametrize(
    ("name", "other"),
    [("protocol", "legacy_pytorch"), ("weights_sha256", "bb"), ("precision", "bfloat16")],
)
def test_a_mismatch_is_refused_with_both_named_unless_allowed(name, other):
    sides = Origin("real", 2048, MADE), Origin("fake", 2048, {**MADE, name: other})
    with pytest.raises(InputError, match="fake cannot be compared with real") as error:
        check_pair(*sides)
    assert str(MADE[name]) in str(error.value)
    assert other in str(error.value)
    (note,) = check_pair(*sides, allow_mismatch=True)
    assert other in note


def test_another_width_is_never_allowed():
    sides = Origin("real", 768, None), Origin("fake", 2048, MADE)
    with pytest.raises(InputError, match="2048 features against 768; choose --dims"):
        check_pair(*sides, allow_mismatch=True)


def test_statistics_that_do_not_say_are_taken_with_a_note():
    (note,) = check_pair(Origin("real.npz", 2048, None), Origin("fake", 2048, MADE))
    assert "real.npz: the file does not say how it was made" in note


@pytest.mark.parametrize(
    ("count", "words"),
    [(2048, "singular"), (2049, "biased upwards"), (9_999, "biased upwards"), (10_000, None)],
)
def test_few_images_are_warned_of(count, words):
    warnings = warn_of_sizes(("real", count), ("fake", count), width=2048)
    assert [w.split(":")[0] for w in warnings] == (["real", "fake"] if words else [])
    assert all(words in warning for warning in warnings)


def test_unequal_numbers_are_flagged_and_unknown_ones_are_not():
    (warning,) = warn_of_sizes(("real", 50_000), ("fake", 10_000), width=2048)
    assert "10000 images against 50000" in warning
    assert warn_of_sizes(("real", None), ("fake", 10_000), width=2048) == []


def test_weights_that_are_not_official_are_said():
    untrained = {"weights_official": False, "weights_name": "untrained"}
    (warning,) = warn_of_weights([untrained, dict(untrained)])
    assert warning == "untrained are not the official weights: these values are no FIDs"
    # One side is enough: the other may be a file that does not say.
    assert warn_of_weights([None, untrained]) == [warning]
    assert warn_of_weights([None, {"weights_official": True}]) == []


def test_only_the_metrics_that_were_asked_for_are_warned_about():
    sides = ("real", 900), ("fake", 1000)
    assert warn_of_sizes(*sides, width=2048, frechet=False, neighbours=False) == []
    (warning,) = warn_of_sizes(*sides, width=2048, frechet=False)
    assert "precision, recall" in warning
    assert len(warn_of_sizes(*sides, width=2048, neighbours=False)) == 2


def test_weights_without_a_name_are_warned_of():
    assert warn_of_weights([{"weights_official": False}]) == [
        "weights without a name are not the official weights: these values are no FIDs"
    ]


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ("precision", [POOL3_MANIFOLD]),
        ("fid,recall", [POOL3_MANIFOLD]),
        ("adm", [POOL3_MANIFOLD, ADM_DISTANCES]),
        ("all", [POOL3_MANIFOLD, ADM_DISTANCES]),
        ("fid", []),
        ("density", []),
    ],
)
def test_what_other_tools_print_under_the_same_words_is_said(metrics, said):
    plan = make_plan(Settings(metrics=metrics))
    assert warn_of_words(plan) == said


def test_of_another_network_nothing_is_confused():
    assert warn_of_words(make_plan(Settings(metrics="precision", extractor="vgg16"))) == []
