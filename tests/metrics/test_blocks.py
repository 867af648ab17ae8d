import jax.numpy as jnp
import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.metrics.blocks import check_features, make_blocks

FEATURES = np.arange(40, dtype=np.float32).reshape(10, 4)


@pytest.mark.parametrize("num_images", [0, 1, 5, 10, 11, 16, 17])
@pytest.mark.parametrize("block_size", [1, 3, 5, 16])
def test_every_row_is_new_once_in_blocks_of_one_size(num_images, block_size):
    blocks = make_blocks(num_images, block_size)
    new = [np.arange(num_images)[block.rows][block.mask] for block in blocks]
    assert [*np.concatenate([[], *new])] == [*range(num_images)]
    assert len({len(block.mask) for block in blocks}) <= 1
    assert all(len(block.mask) <= block_size for block in blocks)


@pytest.mark.parametrize("xp", [np, jnp])
def test_a_block_takes_its_rows(xp):
    features = xp.asarray(FEATURES)
    for block in make_blocks(10, 4):
        np.testing.assert_array_equal(block.of(features), FEATURES[block.rows])


def test_refuses_empty_blocks():
    with pytest.raises(InputError, match="block_size: expected 1 row or more, found 0"):
        make_blocks(10, 0)


def test_names_every_fault_at_once():
    bad = FEATURES.copy()
    bad[7, 2] = np.inf
    with pytest.raises(InputError, match=r"a: expected finite .* in row 7; b: expected at least 3"):
        check_features(3, a=bad, b=FEATURES[:2])


def test_names_the_row_behind_the_first_block():
    bad = np.zeros((3000, 2))
    bad[2500] = np.nan
    with pytest.raises(InputError, match="in row 2500"):
        check_features(3, a=bad)


def test_refuses_unequal_widths():
    with pytest.raises(InputError, match=r"one width, found \{'a': 4, 'b': 3\}"):
        check_features(1, a=FEATURES, b=FEATURES[:, :3])


@pytest.mark.parametrize("features", [[[1.0, 2.0]], np.ones(3), np.ones((2, 2), int)])
def test_refuses_what_is_no_floating_matrix(features):
    with pytest.raises(InputError, match="expected a floating array of shape"):
        check_features(1, features=features)


def test_accepts_bfloat16():
    check_features(1, features=jnp.ones((2, 2), jnp.bfloat16))
