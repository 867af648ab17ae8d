"""VGG16 up to its second hidden layer, with the parameter paths of torchvision's checkpoints.

torch-fidelity computes precision and recall from these features, and not from Inception's. StyleGAN's
`pr50k3` is of another VGG16, with other weights and another scaling of its input.
"""

# ruff: noqa: D102 - a layer's class docstring speaks for its __call__

import dataclasses
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Float32

from jaxfid.extractors.layers import Dense
from jaxfid.extractors.precision import Precision


@dataclasses.dataclass(frozen=True)
class VggConfig:
    """The sizes of a VGG.

    Attributes:
      widths: Channels of each convolution, by groups; a pool that halves the side follows each group.
      hidden: Width of the two hidden layers.
    """

    widths: Sequence[Sequence[int]]
    hidden: int

    @property
    def features(self) -> dict[str, int]:
        """Widths of the features by torch-fidelity's names, the default one first."""
        return {"fc2_relu": self.hidden, "fc2": self.hidden}

    @property
    def multiple_px(self) -> int:
        """The side of the input: the hidden layers are of 7 x 7 pixels."""
        return 7 * 2 ** len(self.widths)


class Vgg(nn.Module):
    """The network from scaled images to features by name.

    Attributes:
      config: Its sizes.
      precision: How products are taken; features are float32 in any case.
    """

    config: VggConfig
    precision: Precision

    @nn.compact
    def __call__(self, images: Float[Array, "n s s 3"]) -> dict[str, Float32[Array, "n _"]]:
        p = self.precision
        x = _Convolutions(self.config.widths, p, name="features")(images.astype(p.dtype))
        flat = x.transpose(0, 3, 1, 2).reshape(len(x), -1)  # torch flattens with the channels first
        fc2 = _Hidden(self.config.hidden, p, name="classifier")(flat).astype(jnp.float32)
        return {"fc2_relu": nn.relu(fc2), "fc2": fc2}


class _Convolutions(nn.Module):
    """Groups of convolutions. Names are positions in torchvision's list, which counts ReLU and pools too."""

    widths: Sequence[Sequence[int]]
    precision: Precision

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 f"]:
        position = 0
        for group in self.widths:
            for width in group:
                x = nn.relu(_Conv(width, self.precision, name=str(position))(x))
                position += 2
            x = nn.max_pool(x, (2, 2), (2, 2))
            position += 1
        return x


class _Conv(nn.Module):
    """A 3 x 3 convolution, padded with zeros."""

    features: int
    precision: Precision

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w f"]:
        zeros = nn.initializers.zeros
        weight = self.param("weight", zeros, (self.features, x.shape[-1], 3, 3)).astype(x.dtype)
        y = lax.conv_general_dilated(
            x,
            weight,
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "OIHW", "NHWC"),
            precision=lax.Precision[self.precision.products],
        )
        return y + self.param("bias", zeros, (self.features,)).astype(x.dtype)


class _Hidden(nn.Module):
    """Both hidden layers, the second without its ReLU; dropout does nothing outside of training."""

    width: int
    precision: Precision

    @nn.compact
    def __call__(self, x: Float[Array, "n i"]) -> Float[Array, "n d"]:
        fc1 = nn.relu(Dense(self.width, self.precision, name="0")(x))
        return Dense(self.width, self.precision, name="3")(fc1)
