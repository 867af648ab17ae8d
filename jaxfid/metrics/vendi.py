"""Vendi score: how many images' worth of variety a set has. It needs no reference."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64

from jaxfid.errors import InputError
from jaxfid.metrics.blocks import (
    BLOCK_SIZE,
    Features,
    UncheckedFeatures,
    check_features,
    make_blocks,
    normalise_rows,
)
from jaxfid.metrics.distances import inner_products
from jaxfid.metrics.pair import SetPair
from jaxfid.metrics.registry import DEFAULT, MetricSpec
from jaxfid.result import MetricValue


@dataclasses.dataclass(frozen=True)
class VendiScore:
    """The effective number of different images, from 1 to the smaller of images and features.

    Attributes:
      value: The score.
      stderr: Its standard error from the sampling of the images.
    """

    value: float
    stderr: float


def vendi_score(features: UncheckedFeatures, *, block_size: int = BLOCK_SIZE) -> VendiScore:
    """Returns the exponential of the entropy of the eigenvalues of `K / n`, K the cosine similarities.

    They are the eigenvalues of the second moment of the features divided by their lengths, which is
    `(d, d)` and is summed in blocks. The score is dgm-eval's, which normalises rows as well.

    The standard error is that of the score's linear part in each image. It is 1.01 to 1.05 of the true
    spread in simulations (`scripts/bench/standard_errors.py`). It is a third too large where all
    eigenvalues are nearly equal, which those of image features are not.

    Args:
      features: Features of the images, `(n, d)`. Rows of zeros are left out.
      block_size: Rows per block: time and memory, not the result.

    Raises:
      InputError: The features are not a finite floating matrix of 2 rows or more, or all are 0.

    Source: Friedman and Dieng, The Vendi score, 2023.
    """
    check_features(2, features=features)
    with jax.enable_x64(True):
        # d x d, not n x n: both have the same eigenvalues but for zeros, and this one streams.
        eigenvalues, vectors = _decompose(sum_second_moment(features, block_size), "features")
        influence = _influence(features, eigenvalues, vectors, block_size)
    value = _effective_number(eigenvalues)
    return VendiScore(value, float(value * influence.std() / np.sqrt(len(features))))


def vendi_score_from_second_moment(second_moment: Float[np.ndarray, "..."]) -> float:
    """Returns the Vendi score from the sum, or the mean, of `outer(x, x)` over an image set.

    It equals `vendi_score` where each x had length 1. Sums of other features give the score of the
    kernel `x.y` divided by its mean over the images, which is another number.

    Args:
      second_moment: Shape `(d, d)`, symmetric; float64, whose sums alone keep small eigenvalues.

    Raises:
      InputError: It is not a finite square matrix of positive trace.
    """
    if second_moment.ndim != 2 or len(set(second_moment.shape)) != 1:
        raise InputError(
            f"second_moment: expected shape (features, features), found {second_moment.shape}"
        )
    return _effective_number(_decompose(second_moment, "second_moment")[0])


def sum_second_moment(features: Features, block_size: int) -> Float64[np.ndarray, "d d"]:
    """Returns the sum of `outer(x, x)` over the features divided by their lengths, in float64."""
    total = np.zeros((features.shape[1],) * 2)
    with jax.enable_x64(True):
        for block in make_blocks(len(features), block_size):
            # The product of an array with itself takes BLAS two thirds of the time.
            columns = _unit_rows(block.of(features), block.mask).T
            total += np.asarray(inner_products(columns, columns))
    return total


def _decompose(
    second_moment: Float[np.ndarray, "d d"], name: str
) -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, "d k"]]:
    """Returns the eigenvalues that are not 0, divided by the trace, and their vectors."""
    trace = float(np.trace(second_moment))
    if not (np.isfinite(second_moment).all() and trace > 0):
        raise InputError(f"{name}: expected finite numbers that are not all 0, found trace {trace}")
    eigenvalues, vectors = np.linalg.eigh(np.asarray(second_moment, np.float64) / trace)
    # Below this an eigenvalue is rounding, and its logarithm is noise.
    kept = eigenvalues > len(eigenvalues) * np.finfo(np.float64).eps
    return eigenvalues[kept], vectors[:, kept]


def _effective_number(eigenvalues: Float64[np.ndarray, " k"]) -> float:
    return float(np.exp(-np.sum(eigenvalues * np.log(eigenvalues))))


def _influence(
    features: Features,
    eigenvalues: Float64[np.ndarray, " k"],
    vectors: Float64[np.ndarray, "d k"],
    block_size: int,
) -> Float64[np.ndarray, " n"]:
    """Returns each image's part in the entropy of S, `-x.log(S) x`, whose mean is the entropy."""
    # The root of the weights goes into the vectors, so that one product and squares give the sum.
    weighted = vectors * np.sqrt(np.maximum(-np.log(eigenvalues), 0))
    parts = np.empty(len(features))
    for block in make_blocks(len(features), block_size):
        rows = _unit_rows(block.of(features), np.ones_like(block.mask))
        parts[block.rows] = np.square(np.asarray(inner_products(rows, weighted.T))).sum(axis=1)
    return parts


@jax.jit
def _unit_rows(rows: Float[Array, "n d"], mask: Bool[Array, " n"]) -> Float64[Array, "n d"]:
    """Returns the rows divided by their lengths, and zeros where the mask is False."""
    return jnp.where(mask[:, None], normalise_rows(rows), 0)


def _compute(pair: SetPair) -> MetricValue:
    found = vendi_score(pair.generated.features[pair.reference.default])
    return MetricValue(found.value, stderr=found.stderr)


SPECS = (
    MetricSpec(
        "vendi",
        _compute,
        generated_features=(DEFAULT,),
        greater_is_better=True,
        heading="Vendi",
    ),
)
