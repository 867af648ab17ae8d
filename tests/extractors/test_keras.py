"""Keras's Inception: the features that Keras gives of the same random weights. Needs the extra `keras`."""

import importlib.util
import os
import re
import types

import jax
import numpy as np
import pytest

from jaxfid.errors import InputError, WeightsUnavailableError
from jaxfid.extraction.feature_pass import prepare
from jaxfid.extractors.keras import fetch_model, make_keras_network
from jaxfid.preprocessing.resize import batch_positions

needs_keras = pytest.mark.skipif(
    importlib.util.find_spec("keras") is None, reason="needs the extra keras"
)
# Keras and h5py warn of what is not ours to change.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def model():
    """Keras's own model, every variable of it random."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    model = keras.applications.InceptionV3(
        include_top=False, weights=None, input_shape=(299, 299, 3), pooling="avg"
    )
    rng = np.random.default_rng(3)
    for variable in model.weights:
        shape = variable.shape
        spread = np.sqrt(6 / np.prod(shape[:-1])) if variable.name == "kernel" else 0.1
        drawn = rng.uniform(-spread, spread, shape) + (variable.name == "moving_variance")
        variable.assign(drawn.astype(np.float32))
    return model


@needs_keras
def test_features_are_those_of_keras(model, tmp_path):
    import keras

    model.save_weights(tmp_path / "random.weights.h5")
    network = make_keras_network(tmp_path / "random.weights.h5", "float32")
    image = np.random.default_rng(4).integers(0, 256, (1, 299, 299, 3), dtype=np.uint8)
    pixels = keras.applications.inception_v3.preprocess_input(image.astype(np.float32))
    with jax.default_matmul_precision("highest"):
        expected = np.asarray(model(pixels, training=False))
    positions = batch_positions(network.protocol, np.array([[299, 299]]))

    @jax.jit
    def extract(params, image, positions):
        return network.make_extractor().apply(params, prepare(image, positions, network.protocol))

    found = extract(network.params, image, positions)["2048"]
    assert expected.std() > 0.1  # the signal came through
    # float32 on both sides, operations fused on one of them: relative to the features' size.
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=1e-5)
    assert network.weights_name == "unrecognised weights (random.weights.h5)"


@needs_keras
def test_untrained_is_the_same_every_time_and_precision_stands_at_every_operation():
    first, second = (make_keras_network("untrained", "float32") for _ in range(2))
    assert first.weights().sha256 == second.weights().sha256
    image = jax.ShapeDtypeStruct((1, 299, 299, 3), np.float32)
    text = jax.jit(first.apply).lower(first.params, image).as_text()
    named = re.findall(r"precision(?:_config)? = \[(.*?)\]", text)
    assert len(named) == text.count("stablehlo.convolution") == 94
    assert all(name.count("HIGHEST") == 2 for name in named)


@needs_keras
def test_files_of_another_model_are_refused(tmp_path):
    (tmp_path / "other.h5").write_bytes(b"no hdf5")
    with pytest.raises(InputError, match=r"other\.h5: expected an \.h5 of Keras's"):
        make_keras_network(tmp_path / "other.h5", "float32")
    with pytest.raises(InputError, match=r"none\.h5: expected an \.h5 of Keras's"):
        make_keras_network(tmp_path / "none.h5", "float32")


def test_precision_that_keras_has_not_is_refused():
    with pytest.raises(InputError, match="expected float32 or tensorfloat32, found 'bfloat16'"):
        make_keras_network("untrained", "bfloat16")


@pytest.mark.skipif(importlib.util.find_spec("keras") is not None, reason="Keras is here")
def test_the_extra_is_named_where_it_is_missing():
    with pytest.raises(InputError, match=r"pip install 'keras>=3\.5'"):
        make_keras_network("untrained", "float32")


def test_weights_that_keras_cannot_fetch_are_named():
    def fail(**_):
        raise Exception("URL fetch failure")  # what keras.utils.get_file raises

    keras = types.SimpleNamespace(applications=types.SimpleNamespace(InceptionV3=fail))
    with pytest.raises(
        WeightsUnavailableError, match=r"URL fetch failure\. Name a file, --weights"
    ):
        fetch_model(keras)
