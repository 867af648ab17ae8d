import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.metrics.ranking import adjust_holm, compare_all, rank_models
from jaxfid.metrics.replicates import summarise_replicates


def model(name, mean, spread):
    return summarise_replicates(name, [mean - spread, mean, mean + spread])


MODELS = [model("C", 5.0, 0.1), model("A", 2.0, 0.1), model("B", 2.1, 0.1)]


def plain_holm(p_values):
    """Returns the definition: step down through the sorted values, stop raising at the largest so far."""
    found = {}
    largest = 0.0
    for place, (i, p) in enumerate(sorted(enumerate(p_values), key=lambda pair: pair[1])):
        largest = max(largest, min(1.0, (len(p_values) - place) * p))
        found[i] = largest
    return [found[i] for i in range(len(p_values))]


def test_holm_is_its_definition():
    rng = np.random.default_rng(0)
    for count in (0, 1, 2, 7):
        p_values = rng.uniform(0, 0.2, count).tolist()
        assert adjust_holm(p_values) == pytest.approx(plain_holm(p_values), rel=1e-14)
    assert adjust_holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_every_two_models_are_compared_and_corrected():
    found = compare_all(MODELS, metric="fid")
    assert [{d.lower, d.higher} for d in found] == [{"A", "C"}, {"B", "C"}, {"A", "B"}]
    pairs = ((0, 1), (0, 2), (1, 2))
    alone = [compare_all([MODELS[i], MODELS[j]])[0].p_value for i, j in pairs]
    assert [d.p_value for d in found] == pytest.approx(plain_holm(alone))
    assert all("(3 comparisons)" in str(d) for d in found)
    assert "comparisons" not in str(compare_all(MODELS[:2])[0])


def test_ranking_shows_who_is_not_told_apart():
    ranked = rank_models(MODELS, compare_all(MODELS))
    assert [(r.rank, r.model.name, r.not_told_apart) for r in ranked] == [
        (1, "A", ("B",)),
        (1, "B", ("A",)),
        (3, "C", ()),
    ]
    assert str(ranked[0]) == "1. A: 2.000 +- 0.058 over 3 training seeds (not told apart from B)"


def test_ranking_respects_the_direction():
    ranked = rank_models(MODELS, compare_all(MODELS), greater_is_better=True)
    assert [(r.rank, r.model.name) for r in ranked] == [(1, "C"), (2, "B"), (2, "A")]


def test_single_sets_are_told_apart_by_their_paired_errors():
    single = [summarise_replicates(name, [value]) for name, value in (("A", 2.0), ("B", 2.5))]
    (found,) = compare_all(single, paired_stderrs={("B", "A"): 0.01})
    assert (found.stderr, found.conclusive) == (0.01, True)
    (unknown,) = compare_all(single)
    assert (unknown.p_value, unknown.num_comparisons) == (None, 1)


def test_one_model_has_no_comparison_and_the_first_rank():
    assert compare_all(MODELS[:1]) == []
    assert [r.rank for r in rank_models(MODELS[:1], [])] == [1]


def test_equal_models_are_all_left_together_as_often_as_the_level_says():
    rng = np.random.default_rng(0)
    draws = 300
    wrong = 0
    for _ in range(draws):
        models = [summarise_replicates(n, rng.normal(2, 0.1, 4).tolist()) for n in "ABCD"]
        wrong += any(difference.conclusive for difference in compare_all(models))
    # Six comparisons at 0.05 each would go wrong in a fifth of all draws. 300 draws: 0.013.
    assert wrong / draws < 0.05 + 3 * 0.013


def test_refuses_two_models_of_one_name():
    with pytest.raises(InputError, match=r"models: expected different names, found \['A', 'A'\]"):
        compare_all([MODELS[1], MODELS[1]])
