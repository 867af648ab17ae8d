"""How exactly a network multiplies, by name. Imports no JAX, because the command line lists the names."""

import dataclasses
from typing import Literal

from jaxfid.errors import InputError


@dataclasses.dataclass(frozen=True)
class Precision:
    """The type of a network's activations and the precision of every product in it.

    The precision is given to each operation. So neither a backend's default (TF32 on GPUs, bfloat16 on TPUs)
    nor a user's global setting has an effect.

    Attributes:
      name: What results and statistics files carry.
      dtype: Type of the activations; features are float32 in any case.
      products: Name of the `jax.lax.Precision` of convolutions and products. Never the name of a preset
        such as "F32_F32_F32": convolutions accept presets and silently lower them to DEFAULT.
    """

    name: str
    dtype: str
    products: str


PrecisionName = Literal["float32", "tensorfloat32", "bfloat16"]
"""For type checkers; a test holds it equal to the names below."""

PRECISIONS = {
    p.name: p
    for p in (
        Precision("float32", "float32", "HIGHEST"),
        Precision("tensorfloat32", "float32", "HIGH"),
        Precision("bfloat16", "bfloat16", "DEFAULT"),
    )
}


def get_precision(name: str) -> Precision:
    """Returns the precision of that name.

    Raises:
      InputError: There is no precision of that name.
    """
    if name not in PRECISIONS:
        raise InputError(f"precision: expected one of {', '.join(PRECISIONS)}, found {name!r}")
    return PRECISIONS[name]
