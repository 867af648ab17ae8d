"""The one type of network that jaxfid extracts features with, and all that the features depend on."""

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from jaxfid.errors import InputError
from jaxfid.preprocessing.protocol import Protocol

INCEPTION = "inception"
"""Name of the FID's own network. Only its Frechet distance is called `fid`."""

LARGEST_SIZE_PX = 512
"""Larger inputs do not fit the canvases on which images of mixed sizes are batched."""

Apply = Callable[[Any, Float[Array, "n s s 3"]], "Array | Mapping[str, Array]"]
"""From params and scaled images to features."""

Extract = Callable[[Any, Float[Array, "n s s 3"]], dict[str, Float32[Array, "n _"]]]
"""The same with every feature under its name."""


@dataclasses.dataclass(frozen=True)
class SharedApply:
    """The `apply` of a network that jaxfid brings: equal to another of the same function and choices.

    Equal ones compile once in a process, whatever their weights.

    Attributes:
      function: From choices, params and images to features.
      choices: What the network is made of; hashable.
    """

    function: Callable[..., Any]
    choices: tuple[Any, ...]

    def __call__(
        self,
        params: Any,  # noqa: ANN401
        images: Float[Array, "n s s 3"],
    ) -> "Array | Mapping[str, Array]":
        """Returns the features."""
        return self.function(*self.choices, params, images)


_NAMES = re.compile("[a-z][a-z0-9_]*")
_RESERVED = frozenset({INCEPTION, "fid"})


@dataclasses.dataclass(frozen=True, eq=False)
class Extractor:
    """A network from images to named feature vectors.

    `jaxfid.FeatureNetwork` is another name of this class.

    Attributes:
      name: Small letters, digits and `_`. Results of it are called `fd_<name>`, `kd_<name>` and so on.
      protocol: The input rule: resize to the network's size, and scaling of the pixels.
      width: Features per image. A mapping declares several features by name; the first is the default.
      params: Any pytree of arrays. `apply` gets it first.
      apply: From params and scaled images `(n, size, size, 3)` to features `(n, width)`, in pure JAX; to a
        dict of them by name where `width` is a mapping. The features of an image must not depend on the
        other images: a CPU gets them one by one.
      weights_name: What results call the params; None for "those of NAME".
      precision: What results say about its products; None where it is not known.
      weights_sha256: Digest of the weights; None computes one over the params.
      weights_official: Whether that digest is the published one.
      license: SPDX identifier of the weights' licence; None where it is not known.
      is_own: Whether a user declared it. Users may not take the names of the FID.
      choices: What else the features depend on, where tools choose differently: names and values that JSON
        can hold.
    """

    name: str
    protocol: Protocol
    width: int | Mapping[str, int]
    params: Any = dataclasses.field(repr=False)
    apply: Apply
    weights_name: str | None = None
    precision: str | None = None
    weights_sha256: str | None = None
    weights_official: bool = False
    license: str | None = None
    is_own: bool = True
    choices: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        reserved = _RESERVED if self.is_own else frozenset()
        if not _NAMES.fullmatch(self.name) or self.name in reserved:
            raise InputError(
                "extractor: expected a name of small letters, digits and _, other than "
                f"{' and '.join(sorted(_RESERVED))}, found {self.name!r}"
            )
        if not 1 <= self.protocol.size_px <= LARGEST_SIZE_PX:
            raise InputError(
                f"extractor {self.name}: expected an input size of 1 to {LARGEST_SIZE_PX} pixels, "
                f"found {self.protocol.size_px}"
            )

    @property
    def widths(self) -> Mapping[str, int]:
        """Width of each feature by name. A single feature is named by its width."""
        return {str(self.width): self.width} if isinstance(self.width, int) else self.width

    @property
    def default_feature(self) -> str:
        """The feature that metrics are computed from."""
        return next(iter(self.widths))

    @property
    def extract(self) -> "Extract":
        """From params and scaled images to float32 features by name; does not hold on to the extractor."""
        return functools.partial(_extract, self.apply, self.default_feature)

    def check(self) -> None:
        """Checks the shapes that `apply` gives; nothing is computed.

        Raises:
          InputError: `apply` does not give two vectors of the declared width for two images.
        """
        # Two images, so that a network that gives one vector for a whole batch is found out.
        side = self.protocol.input_px
        images = jax.ShapeDtypeStruct((2, side, side, 3), jnp.float32)
        found = jax.eval_shape(self.apply, self.params, images)
        named = found if isinstance(found, Mapping) else {self.default_feature: found}
        for name, width in self.widths.items():
            self._check_feature(named.get(name), width)

    def _check_feature(self, found: object, width: int) -> None:
        shape, dtype = getattr(found, "shape", None), getattr(found, "dtype", None)
        is_floating = dtype is not None and jnp.issubdtype(dtype, jnp.floating)
        if shape != (2, width) or not is_floating:
            raise InputError(
                f"extractor {self.name}: expected floating features of shape (2, {width}) of two "
                f"images, found {dtype or type(found).__name__} of shape {shape}"
            )

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the published weights file, or of the params where there is none."""
        return self.weights_sha256 or digest_params(self.params)

    def provenance(self, feature: str | None = None) -> dict[str, Any]:
        """Returns what a feature depends on: input rule by content, weights, precision.

        Args:
          feature: Which feature; None for the default one.
        """
        return {
            "extractor": self.name,
            "protocol": self.protocol.name,
            "input": self.protocol.content(),
            "dims": self.widths[feature or self.default_feature],
            "weights_name": self.weights_name or f"those of {self.name}",
            "weights_sha256": self.digest,
            "weights_official": self.weights_official,
            "precision": self.precision,
            **({"choices": dict(self.choices)} if self.choices else {}),
        }


FeatureNetwork = Extractor
"""The name that the first edition gave to `Extractor`."""


def _extract(
    apply: Apply,
    default_feature: str,
    params: Any,  # noqa: ANN401
    images: Float[Array, "n s s 3"],
) -> dict[str, Float32[Array, "n _"]]:
    found = apply(params, images)
    named = found if isinstance(found, Mapping) else {default_feature: found}
    return {name: features.astype(jnp.float32) for name, features in named.items()}


def digest_params(params: Any) -> str:  # noqa: ANN401
    """Returns the SHA-256 over every array of a pytree: its path, dtype, shape and numbers."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        array = np.asarray(leaf)
        header = [jax.tree_util.keystr(path), array.dtype.name, array.shape]
        digest.update(json.dumps(header).encode() + array.tobytes())
    return digest.hexdigest()
