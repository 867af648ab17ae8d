"""The error bar is the spread of independent samples; leaving a block out is having never seen it."""

import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.metrics.frechet.distance import frechet_distance, prepare_reference
from jaxfid.metrics.frechet.jackknife import (
    Difference,
    jackknife_stderr,
    leave_one_block_out,
    paired_difference,
)
from jaxfid.stats.moments import deal, moments_of

WIDTH, COUNT, BLOCKS = 8, 600, 10


def block_moments(features):
    rows = deal(features, 0, BLOCKS)
    return moments_of(rows, deal(np.ones(len(features), bool), 0, BLOCKS))


def draw(rng, shift=0.3):
    return rng.standard_normal((COUNT, WIDTH)) * np.linspace(0.5, 2, WIDTH) + shift


def test_leaving_a_block_out_is_never_having_seen_it():
    features = draw(np.random.default_rng(0))[:595]  # blocks of unequal size
    reference = prepare_reference(np.zeros(WIDTH), np.eye(WIDTH))
    values = leave_one_block_out(reference, block_moments(features))
    for block, value in enumerate(values):
        rest = np.delete(features, np.s_[block::BLOCKS], axis=0)
        expected = frechet_distance(np.zeros(WIDTH), np.eye(WIDTH), rest.mean(0), np.cov(rest.T))
        assert value == pytest.approx(expected, rel=1e-10)  # float64 sums in another order


def test_stderr_is_the_spread_of_independent_samples():
    rng = np.random.default_rng(1)
    reference = prepare_reference(np.zeros(WIDTH), np.eye(WIDTH))
    values, stderrs = [], []
    for _ in range(300):
        features = draw(rng)
        values.append(
            frechet_distance(np.zeros(WIDTH), np.eye(WIDTH), features.mean(0), np.cov(features.T))
        )
        stderrs.append(jackknife_stderr(leave_one_block_out(reference, block_moments(features))))
    # 300 samples know their own spread to 4 %; 25 % is what is promised of the estimate
    assert np.sqrt(np.mean(np.square(stderrs))) == pytest.approx(np.std(values), rel=0.25)


def test_stderr_of_a_mean_is_the_textbook_one():
    blocks = np.random.default_rng(2).standard_normal(20)
    rests = (blocks.sum() - blocks) / 19
    assert jackknife_stderr(rests) == pytest.approx(blocks.std(ddof=1) / np.sqrt(20), rel=1e-12)


def test_pairs_are_compared_more_sharply_than_strangers():
    rng = np.random.default_rng(3)
    reference = prepare_reference(np.zeros(WIDTH), np.eye(WIDTH))

    def rests(features):
        whole = block_moments(features).total_over(0)
        value = frechet_distance(np.zeros(WIDTH), np.eye(WIDTH), whole.mean(), whole.cov())
        return value, leave_one_block_out(reference, block_moments(features))

    noise = draw(rng)
    paired = paired_difference(*rests(noise), *rests(noise + 0.05))
    strangers = paired_difference(*rests(noise), *rests(draw(rng) + 0.05))
    assert paired.stderr < 0.5 * strangers.stderr
    assert paired.value > 0
    assert paired.conclusive


def test_a_gap_within_two_standard_errors_is_inconclusive():
    assert not Difference(0.19, 0.1).conclusive
    assert Difference(-0.21, 0.1).conclusive


def test_one_block_gives_no_error_bar():
    moments = moments_of(np.ones((1, 5, 2)), np.ones((1, 5), bool))
    with pytest.raises(InputError, match="blocks: expected 2 or more, found 1"):
        leave_one_block_out(prepare_reference(np.zeros(2), np.eye(2)), moments)
