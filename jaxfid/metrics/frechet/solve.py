"""The one solve behind every Frechet distance: its value, and its derivative for error bars.

With factors `C_r = F F^T` and `C = H H^T` the rest of the distance is `trace(sqrt(C_r C))`, the sum of
the singular values of `F^T H`. The eigenvalues of `F^T H H^T F = F^T C F = U s^2 U^T` are their squares.
The derivative of the distance in `C` is `G = I - F U s^-1 U^T F^T`, so one decomposition gives both.

Squares keep only half the digits of small singular values. The solve bounds what that can cost. Where
the bound passes 1e-8 of the traces, the singular values are computed themselves. The network's own
rounding moves the distance by 1e-6 of it.

Source: Dowson and Landau, The Frechet distance between multivariate normal distributions, 1982;
Olkin and Pukelsheim, The distance between two random vectors with given dispersion matrices, 1982.
"""

import dataclasses
import functools

import jax
import numpy as np
from jax import lax
from jaxtyping import Float, Float32, Float64
from numpy.typing import ArrayLike

from jaxfid.errors import InputError, JaxfidError
from jaxfid.metrics.blocks import BLOCK_SIZE
from jaxfid.metrics.frechet.cpu_solver import run_on_cpu
from jaxfid.metrics.frechet.factor import GaussianFactor, check_same_width, factor_covariance
from jaxfid.stats.gaussian import check_gaussian

ACCURACY = 1e-8
"""Largest error of a distance from the solve, as a share of the two traces."""
MAX_PAIRS = 1000
"""Pairs of images whose curvature is computed; they tell its mean square to a few percent."""

_EPS = float(np.finfo(np.float64).eps)
_TINY = float(np.finfo(np.float64).tiny)
_EIGENVALUE_ROUNDING = 4 * _EPS
"""Error of a small eigenvalue as a share of the largest; at most 3.6 eps was seen up to 1,000 rows."""


@dataclasses.dataclass(frozen=True, eq=False)
class FrechetSolution:
    """A squared Frechet distance that also tells what each image contributes to its error.

    Attributes:
      value: The squared Frechet distance.
      reference: One side, taken as it is.
      generated: The other side.
      vectors: Eigenvectors `U`, in the coordinates of the side whose factor has fewer columns.
      roots: The singular values `s` that are more than rounding, one for each vector.
    """

    value: float
    reference: GaussianFactor
    generated: GaussianFactor
    vectors: Float64[np.ndarray, "p k"]
    roots: Float64[np.ndarray, " k"]

    def influence(self, rows: Float[np.ndarray, "..."]) -> Float64[np.ndarray, " n"]:
        """Returns how far each generated image pulls the distance, per unit of its weight.

        `f_i = 2 (m - m_r).(x_i - m) + (x_i - m)^T G (x_i - m)`, from float32 products: three digits are
        enough for an error bar. It is not centred; only differences between images mean something.

        Args:
          rows: Features `(n, d)` of images of the generated set, all of them or some.
        """
        return _influence(rows, self.generated.mean, self.reference.mean, self._onto_reference)

    def curvature(self, rows: Float[np.ndarray, "..."]) -> Float64[np.ndarray, " pairs"]:
        """Returns how far two images together pull the distance beyond what each does alone.

        It is the second derivative of the distance in the weights of the two, for at most 1,000 random
        pairs of rows. `influence_stderr` takes off with it what the influences owe to chance.

        Args:
          rows: Features `(n, d)` of images of the generated set, all of them or some.
        """
        return _curvature(rows, self.generated.mean, self._onto_reference, self.roots)

    def reference_influence(self, rows: Float[np.ndarray, "..."]) -> Float64[np.ndarray, " n"]:
        """Returns the influence of images of the reference, with the generated set taken as it is.

        It is defined for a singular covariance too, because a set's own images lie in the range of
        its own covariance, and within that range the distance is smooth.

        Args:
          rows: Features `(n, d)` of images of the reference, all of them or some.
        """
        return _influence(rows, self.reference.mean, self.generated.mean, self._onto_generated)

    def reference_curvature(self, rows: Float[np.ndarray, "..."]) -> Float64[np.ndarray, " pairs"]:
        """Returns the curvature for images of the reference.

        Args:
          rows: Features `(n, d)` of images of the reference, all of them or some.
        """
        return _curvature(rows, self.reference.mean, self._onto_generated, self.roots)

    @property
    def _onto_reference(self) -> Float64[np.ndarray, "d k"]:
        """`P = F U s^-1/2` with the reference's factor: `|P^T z|^2` is `z^T (I - G) z`."""
        return self._near if self._reference_is_few else self._far

    @property
    def _onto_generated(self) -> Float64[np.ndarray, "d k"]:
        """The same for the derivative in the reference's covariance."""
        return self._far if self._reference_is_few else self._near

    @property
    def _reference_is_few(self) -> bool:
        return _order(self.reference, self.generated)[0] is self.reference

    @functools.cached_property
    def _near(self) -> Float64[np.ndarray, "d k"]:
        """`F U s^-1/2` with the factor of fewer columns."""
        few, _ = _order(self.reference, self.generated)
        return few.factor @ (self.vectors / np.sqrt(self.roots))

    @functools.cached_property
    def _far(self) -> Float64[np.ndarray, "d k"]:
        """`H V s^-1/2` with the other factor, whose singular vectors are `V = H^T F U s^-1`."""
        _, many = _order(self.reference, self.generated)
        return many.factor @ (many.factor.T @ self._near / self.roots)


def solve_frechet(reference: GaussianFactor, mean: ArrayLike, cov: ArrayLike) -> FrechetSolution:
    """Returns the squared Frechet distance to a reference together with its derivative.

    Args:
      reference: From `prepare_reference`.
      mean: Mean of the generated set, shape `(d,)`.
      cov: Its covariance, shape `(d, d)`, of any rank.

    Raises:
      InputError: As `frechet_distance`.
    """
    mean, cov = check_gaussian(mean, cov)
    check_same_width(reference=reference.mean, mean=mean)
    return solve_factors(reference, factor_covariance(mean, cov, "cov"))


def solve_factors(reference: GaussianFactor, generated: GaussianFactor) -> FrechetSolution:
    """Returns the solution for two Gaussians of one width that are factored already."""
    few, many = _order(reference, generated)
    shift = np.sum(np.square(reference.mean - generated.mean))
    traces = reference.trace + generated.trace
    vectors, roots = _singular_vectors(few.factor.T @ many.factor, allowed=ACCURACY * traces / 2)
    # Only equal Gaussians give less than zero, by rounding.
    value = max(float(shift + traces - 2 * roots.sum()), 0.0)
    return FrechetSolution(value, reference, generated, vectors, roots)


def _order(a: GaussianFactor, b: GaussianFactor) -> tuple[GaussianFactor, GaussianFactor]:
    """Returns the side whose factor has fewer columns, `a` if both have as many, and the other."""
    return (a, b) if a.factor.shape[1] <= b.factor.shape[1] else (b, a)


def _singular_vectors(
    rows: Float64[np.ndarray, "p q"], *, allowed: float
) -> tuple[Float64[np.ndarray, "p k"], Float64[np.ndarray, " k"]]:
    """Returns left singular vectors and values; those are left out that rounding cannot tell from 0.

    Args:
      rows: No more rows than columns.
      allowed: The error that the sum of the values may have.
    """
    # NumPy's BLAS forms the product in half the time of XLA.
    vectors, squares = run_on_cpu(_jit_eigh, rows @ rows.T)
    rounding = _EIGENVALUE_ROUNDING * squares[-1]
    # |sqrt(s^2 + rounding) - s| is at most rounding / (s + sqrt(rounding)), also where s is left out.
    roots = np.sqrt(np.maximum(squares, 0))
    error = np.sum(rounding / (roots + np.sqrt(rounding) + _TINY))
    if error > allowed:
        vectors, roots, _ = run_on_cpu(_jit_svd, rows)
        rounding = np.square(len(rows) * _EPS * roots[0])
    if not np.isfinite(roots).all():
        raise JaxfidError("frechet distance: LAPACK's eigenvalues did not converge")
    kept = np.square(roots) > rounding
    return vectors[:, kept], roots[kept]


_jit_eigh = jax.jit(lambda gram: lax.linalg.eigh(gram, symmetrize_input=False))
_jit_svd = jax.jit(lambda rows: lax.linalg.svd(rows, full_matrices=False))


def _influence(
    rows: Float[np.ndarray, "..."],
    mean: Float64[np.ndarray, " d"],
    other_mean: Float64[np.ndarray, " d"],
    onto: Float64[np.ndarray, "d k"],
) -> Float64[np.ndarray, " n"]:
    parts = [np.zeros(0)]
    for start in range(0, len(rows), BLOCK_SIZE):
        centred = _centre(rows[start : start + BLOCK_SIZE], mean)
        inside = _squares(_project(centred, onto))
        parts.append(2 * centred @ (mean - other_mean) + _squares(centred) - inside)
    return np.concatenate(parts)


def _curvature(
    rows: Float[np.ndarray, "..."],
    mean: Float64[np.ndarray, " d"],
    onto: Float64[np.ndarray, "d k"],
    roots: Float64[np.ndarray, " k"],
) -> Float64[np.ndarray, " pairs"]:
    """Returns the second derivative of the distance for random pairs of rows.

    For directions `A` and `B` of `F^T C F`, in the coordinates of its eigenvectors, that of
    `-2 trace(sqrt(.))` is `sum_ij A_ij B_ij / (s_i s_j (s_i + s_j))`. An image moves `C` by
    `z z^T - C`, and `y = P^T z` has the coordinates of `F^T z` over `sqrt(s)`. The mean of two images
    adds `2 y_a.y_b`.
    """
    # Pairs are drawn, because rows may be sorted by class, and always the same, so that those of two
    # sets from one noise belong together.
    order = np.random.RandomState(0).permutation(len(rows))
    num_pairs = min(len(rows) // 2, MAX_PAIRS)
    picked = _centre(rows[order[: 2 * num_pairs]], mean)
    a, b = np.split(_project(picked, onto).astype(np.float64), 2)
    both = a * b
    crossed = np.einsum("pk,pk->p", both @ (1 / (roots[:, None] + roots)), both)
    centring = (roots.sum() - _squares(a) - _squares(b)) / 2
    return crossed + centring + 2 * both.sum(axis=1)


def _centre(
    rows: Float[np.ndarray, "..."], mean: Float64[np.ndarray, " d"]
) -> Float64[np.ndarray, "n d"]:
    """Returns the rows less the mean, in float64: the mean may be a thousand times the spread."""
    if rows.ndim != 2 or rows.shape[1] != len(mean):
        raise InputError(f"rows: expected shape (n, {len(mean)}), found {rows.shape}")
    return rows - mean


def _project(
    centred: Float64[np.ndarray, "n d"], onto: Float64[np.ndarray, "d k"]
) -> Float32[np.ndarray, "n k"]:
    return centred.astype(np.float32) @ onto.astype(np.float32)


def _squares(rows: Float[np.ndarray, "n k"]) -> Float64[np.ndarray, " n"]:
    """Returns the squared length of each row."""
    return np.einsum("nk,nk->n", rows, rows, dtype=np.float64)
