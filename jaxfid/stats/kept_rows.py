"""Which images' features are kept for error bars: up to 5,000, whatever the size of the set."""

import numpy as np
from jaxtyping import Int64

MAX_KEPT_ROWS = 5000
"""An error bar from 5,000 rows is itself off by 1 to 2 %; at 2048 features they take 40 MB."""


def kept_indices(count: int, *, limit: int = MAX_KEPT_ROWS) -> Int64[np.ndarray, " k"]:
    """Returns the indices of the images of a set whose features are kept, in rising order.

    The set is cut into `limit` equal stretches, and of each one image is kept, at a place that is drawn
    once and for all. So neither the order of classes nor a class that comes back every so many images
    can mislead, and the same images are kept for any devices, processes and batch size.

    Args:
      count: Images in the set.
      limit: The most images to keep; a smaller set is kept whole.
    """
    if count <= limit:
        return np.arange(count)
    # RandomState's stream is frozen, so that later versions of NumPy keep the same images.
    place = np.random.RandomState(0).random_sample(limit)
    edges = np.arange(limit + 1) * count // limit
    return edges[:-1] + np.floor(place * np.diff(edges)).astype(np.int64)
