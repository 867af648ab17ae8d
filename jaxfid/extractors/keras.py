"""Keras 3's ImageNet Inception-v3 on its JAX backend, which many tutorials call the FID's network.

It has other weights than the FID's network, and its Mixed_7c (`mixed10`) pools by average. Keras is an extra.
It is imported when this network is asked for.
"""

import os
import pathlib
from typing import Any, TypeAlias

import jax
import numpy as np
from jaxtyping import Array, Float

from jaxfid.errors import InputError, WeightsUnavailableError
from jaxfid.extractors.inception.checkpoint import draw_kernel
from jaxfid.extractors.interface import Extractor
from jaxfid.preprocessing.protocol import Protocol

PROTOCOL = Protocol(
    "keras",
    "half_pixel_bilinear",
    127.5,
    127.5,
    "bilinear with half-pixel centres, no antialias; preprocess_input",
)

_Keras: TypeAlias = Any
"""The module of that name, which is not installed everywhere and whose models have no types."""

_WIDTH = 2048
_PRODUCTS = {"float32": "highest", "tensorfloat32": "high"}


def make_keras_network(weights: str | pathlib.Path, precision: str) -> Extractor:
    """Returns Keras's network without its top, averaged over space: 2048 features.

    Args:
      weights: "auto" for Keras's ImageNet weights, which it downloads to its own cache; "untrained" for
        random numbers; or the path of an `.h5` of this model without its top.
      precision: Name of how products are taken; Keras has this model in float32 alone.

    Raises:
      InputError: Keras is not installed or does not run on JAX, the file does not hold the network, or
        the precision is bfloat16.
      WeightsUnavailableError: Keras could not fetch its weights.
    """
    if precision not in _PRODUCTS:
        expected = " or ".join(_PRODUCTS)
        raise InputError(f"precision: for Keras's network expected {expected}, found {precision!r}")
    name, model = _load(_import_keras(), weights)
    # The weights are an argument of the program and not constants in it, as of every other network.
    params = {
        "trainable": [np.asarray(v.value) for v in model.trainable_variables],
        "non_trainable": [np.asarray(v.value) for v in model.non_trainable_variables],
    }

    def extract(params: Any, images: Float[Array, "n 299 299 3"]) -> Float[Array, "n 2048"]:  # noqa: ANN401
        with jax.default_matmul_precision(_PRODUCTS[precision]):
            features, _ = model.stateless_call(
                params["trainable"], params["non_trainable"], images, training=False
            )
        return features

    return Extractor(
        name="keras",
        protocol=PROTOCOL,
        width=_WIDTH,
        params=params,
        apply=extract,
        weights_name=name,
        precision=precision,
        is_own=False,
    )


def _import_keras() -> _Keras:
    os.environ.setdefault("KERAS_BACKEND", "jax")  # Keras reads it when it is imported
    try:
        import keras as module
    except ModuleNotFoundError as error:
        raise InputError("extractor: keras needs Keras 3; pip install 'keras>=3.5'") from error
    keras: _Keras = module
    config = keras.config
    found = (config.backend(), config.image_data_format(), config.dtype_policy().name)
    if found != ("jax", "channels_last", "float32"):
        raise InputError(
            "extractor: keras has to run on jax, channels_last, in float32; found "
            f"{', '.join(found)} (KERAS_BACKEND, or ~/.keras/keras.json)"
        )
    return keras


def _load(keras: _Keras, weights: str | pathlib.Path) -> tuple[str, Any]:
    """Returns what results call the weights, and the model with them."""
    if weights == "untrained":
        return "untrained", _randomise(_build(keras, None))
    if weights == "auto":
        return "Keras's ImageNet weights", fetch_model(keras)
    path = pathlib.Path(weights).expanduser()
    if path.suffix != ".h5" or not path.is_file():
        raise InputError(f"{path}: expected an .h5 of Keras's InceptionV3 without its top")
    model = _build(keras, None)
    try:
        model.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise InputError(
            f"{path}: expected an .h5 of Keras's InceptionV3 without its top, found: {error}"
        ) from error
    return f"unrecognised weights ({path.name})", model


def fetch_model(keras: _Keras) -> Any:  # noqa: ANN401
    """Returns the model with Keras's weights, from its cache or their release.

    Raises:
      WeightsUnavailableError: Neither has them.
    """
    try:
        return _build(keras, "imagenet")
    except Exception as error:  # Keras raises no other kind where a download fails
        raise WeightsUnavailableError(
            f"Keras could not load its weights: {error}. Name a file, --weights PATH; or a dry run, whose "
            "numbers mean nothing: --weights untrained"
        ) from error


def _build(keras: _Keras, weights: str | None) -> Any:  # noqa: ANN401
    size = PROTOCOL.size_px
    return keras.applications.InceptionV3(
        include_top=False, weights=weights, input_shape=(size, size, 3), pooling="avg"
    )


def _randomise(model: Any) -> Any:  # noqa: ANN401
    """Returns the model with kernels drawn as those of our own untrained network are."""
    rng = np.random.default_rng(0)
    for variable in model.weights:
        if variable.name == "kernel":
            variable.assign(draw_kernel(rng, variable.shape))
    return model
