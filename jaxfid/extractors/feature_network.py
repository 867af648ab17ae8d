"""Networks other than the FID's, and all that their features depend on."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxfid.errors import InputError
from jaxfid.extractors.inception.extractor import Extractor
from jaxfid.extractors.weights import Weights
from jaxfid.preprocessing.protocol import Protocol

LARGEST_SIZE_PX = 512
"""Larger inputs do not fit the canvases that images of mixed sizes are batched on."""

_NAMES = re.compile("[a-z][a-z0-9_]*")
_TAKEN = {"inception", "fid"}


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureNetwork:
    """A JAX network over images, declared for `extractor`; its distance is called `fd_<name>`.

    Attributes:
      name: Small letters, digits and `_`.
      protocol: Resize to the network's size, and scaling of the pixels.
      width: Features per image.
      params: Any pytree of arrays; what `apply` is given first.
      apply: From params and scaled images `(n, size, size, 3)` to features `(n, width)`, pure JAX. Features
        of an image must not depend on the others: a CPU is given them one by one.
      weights_name: What results call the params; None for "those of NAME".
      precision: What results say of its products; None where it is not known.
    """

    name: str
    protocol: Protocol
    width: int
    params: Any = dataclasses.field(repr=False)
    apply: Callable[[Any, Float[Array, "n s s 3"]], Float[Array, "n width"]]
    weights_name: str | None = None
    precision: str | None = None

    def __post_init__(self) -> None:
        if not _NAMES.fullmatch(self.name) or self.name in _TAKEN:
            raise InputError(
                "extractor: expected a name of small letters, digits and _, other than "
                f"{' and '.join(sorted(_TAKEN))}, found {self.name!r}"
            )
        if not 1 <= self.protocol.size_px <= LARGEST_SIZE_PX:
            raise InputError(
                f"extractor {self.name}: expected an input size of 1 to {LARGEST_SIZE_PX} pixels, "
                f"found {self.protocol.size_px}"
            )

    def make_extractor(self) -> Extractor:
        """Returns the network as an extractor of one feature, whose name is its width.

        Raises:
          InputError: `apply` does not give two vectors of `width` numbers of two images.
        """
        feature, apply = str(self.width), self.apply

        def extract(params: Any, images: Float[Array, "n s s 3"]) -> dict[str, Array]:  # noqa: ANN401
            return {feature: apply(params, images).astype(jnp.float32)}

        self._check()
        return Extractor(self.name, self.protocol, {feature: self.width}, self.params, extract)

    def _check(self) -> None:
        side = self.protocol.size_px
        images = jax.ShapeDtypeStruct((2, side, side, 3), jnp.float32)
        found = jax.eval_shape(self.apply, self.params, images)
        shape, dtype = getattr(found, "shape", None), getattr(found, "dtype", None)
        if shape != (2, self.width) or not jnp.issubdtype(dtype, jnp.floating):
            raise InputError(
                f"extractor {self.name}: expected floating features of shape (2, {self.width}) of two "
                f"images, found {dtype or type(found).__name__} of shape {shape}"
            )

    def facts(self) -> dict[str, Any]:
        """Returns what the features depend on beside the params, for provenance."""
        p = self.protocol
        scaling = {"shift": _as_json(p.shift), "divisor": _as_json(p.divisor)}
        about = {"size_px": p.size_px, "resampling": p.resampling, **scaling}
        return {"extractor": self.name, "input": about, "precision": self.precision}

    def weights(self) -> Weights:
        """Returns the params with their name and a digest over all of them; official they never are."""
        name = self.weights_name or f"those of {self.name}"
        return Weights(name, _digest(self.params), False, self.params)


def _digest(params: Any) -> str:  # noqa: ANN401
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        array = np.asarray(leaf)
        about = [jax.tree_util.keystr(path), array.dtype.name, array.shape]
        digest.update(json.dumps(about).encode() + array.tobytes())
    return digest.hexdigest()


def _as_json(scaling: float | tuple[float, ...]) -> float | list[float]:
    """A statistics file gives a list back where a tuple was written."""
    return list(scaling) if isinstance(scaling, tuple) else scaling
