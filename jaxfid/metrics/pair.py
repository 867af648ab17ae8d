"""What a metric is computed from: a generated set and the reference, by one extractor's features."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float

from jaxfid.extraction.image_set import ExtractedFeatures

_R = TypeVar("_R")


class _Memory:
    """Remembers what was computed, so that several metrics may ask for the same."""

    def __init__(self) -> None:
        self._known: dict[tuple, Any] = {}

    def once(self, function: Callable[..., _R], *args: Any) -> _R:  # noqa: ANN401
        """Returns `function(self, *args)`, computed at the first call only.

        Args:
          function: Takes this object first. A module's function, not a new lambda at each call.
          *args: Hashable.
        """
        key = (function, *args)  # by identity: a lambda would be new, and computed, at each call
        if key not in self._known:
            self._known[key] = function(self, *args)
        return self._known[key]


class PreparedReference(_Memory):
    """The reference by one extractor, with what is computed of it once for all generated sets.

    Attributes:
      features: What is known of it.
      chosen: Name of the feature that `dims` chooses.
      default: Name of the extractor's own default feature.
    """

    def __init__(self, features: ExtractedFeatures, *, chosen: str, default: str) -> None:
        super().__init__()
        self.features, self.chosen, self.default = features, chosen, default


class SetPair(_Memory):
    """A generated set against the reference.

    Attributes:
      reference: The reference.
      generated: What is known of the generated set.
      asked: Names of the metrics that are asked for, so that shared work is done for these alone.
      options: The options of all metrics by name.
      verify: Whether Frechet distances are computed by SciPy as well.
      labels: Class of each image of the generated set by its position in the source; None without classes.
    """

    def __init__(
        self,
        reference: PreparedReference,
        generated: ExtractedFeatures,
        *,
        asked: Collection[str],
        options: Mapping[str, Any],
        verify: bool = False,
        labels: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self.reference, self.generated = reference, generated
        self.asked = frozenset(asked)
        self.options, self.verify, self.labels = options, verify, labels

    @property
    def chosen(self) -> str:
        """Name of the feature that `dims` chooses."""
        return self.reference.chosen

    @property
    def vectors(self) -> tuple[Float[np.ndarray, "m d"], Float[np.ndarray, "n d"]]:
        """The default features of both sets, the reference's first."""
        name = self.reference.default
        return self.reference.features.features[name], self.generated.features[name]
