"""The Frechet distance by SciPy's matrix square root: the check, never the main path."""

import contextlib
import io
import warnings

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg


def frechet_distance_scipy(
    mean_a: ArrayLike, cov_a: ArrayLike, mean_b: ArrayLike, cov_b: ArrayLike
) -> float:
    """Returns what `frechet_distance` does, by the trace of `scipy.linalg.sqrtm(cov_a @ cov_b)`.

    Where a covariance is singular the square root is ill-conditioned and carries noise of about
    1e-6 of the traces; other tools print their values with that noise. NaN where SciPy finds no
    root at all.

    Args:
      mean_a: Shape `(d,)`.
      cov_a: Shape `(d, d)`.
      mean_b: The other mean.
      cov_b: The other covariance.
    """
    mean_a, cov_a, mean_b, cov_b = map(np.asarray, (mean_a, cov_a, mean_b, cov_b))
    # Singular input is what is asked about: SciPy warns of it, and before 1.16 prints it on stdout.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        root = linalg.sqrtm(cov_a @ cov_b)
    shift = np.square(mean_a - mean_b).sum()
    return float(shift + np.trace(cov_a) + np.trace(cov_b) - 2 * np.trace(root).real)
