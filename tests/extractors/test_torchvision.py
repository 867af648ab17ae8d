"""torchvision's Inception: its features on the same random weights, read from a checkpoint without torch."""

import pathlib

import jax
import numpy as np
import pytest

from jaxfid.errors import InputError, WeightsUnavailableError
from jaxfid.extraction.feature_pass import prepare
from jaxfid.extractors.torchvision import EXPECTED, make_torchvision_network
from jaxfid.preprocessing.resize import batch_positions
from tests.extractors.torch_files import plain, write_zip
from tests.extractors.torchvision_data import make_images, make_tensors

FIXTURE = pathlib.Path(__file__).parents[1] / "fixtures" / "torchvision_features.npz"


def write_checkpoint(path, tensors):
    # What the published file holds beside: for training alone.
    more = {
        "AuxLogits.fc.bias": np.zeros(1000, np.float32),
        "Conv2d_1a_3x3.bn.num_batches_tracked": np.zeros(1, np.int64),
    }
    arrays = {**tensors, **more}
    return write_zip(path, {n: plain(a, str(i)) for i, (n, a) in enumerate(arrays.items())})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    tensors = make_tensors({name: shape for name, (shape, _) in EXPECTED.items()})
    path = write_checkpoint(tmp_path_factory.mktemp("torchvision") / "random.pth", tensors)
    yield path
    path.unlink()  # 100 MB


def test_features_are_those_of_torchvision(checkpoint):
    network = make_torchvision_network(checkpoint, "float32")
    assert network.weights_name == "unrecognised weights (random.pth)"

    @jax.jit
    def extract(params, image, positions):
        return network.apply(params, prepare(image, positions, network.protocol))

    found = []
    for image in make_images():
        canvas = np.zeros((1, 299, 299, 3), np.uint8)
        canvas[0, : image.shape[0], : image.shape[1]] = image
        positions = batch_positions(network.protocol, np.array([image.shape[:2]]))
        found.append(np.asarray(extract(network.params, canvas, positions))[0])
    expected = np.load(FIXTURE)["features"]
    assert expected.std(1).min() > 0.1  # the signal came through
    # float32 on both sides, through 48 layers: relative to the features' size.
    scale = np.abs(expected).max()
    np.testing.assert_allclose(np.stack(found) / scale, expected / scale, rtol=0, atol=1e-5)


def test_checkpoints_of_another_network_are_refused(tmp_path):
    path = write_checkpoint(tmp_path / "other.pth", {"fc.bias": np.zeros(1008, np.float32)})
    with pytest.raises(
        InputError, match=r"other\.pth: expected the 472 tensors of torchvision's"
    ) as e:
        make_torchvision_network(path, "float32")
    assert "missing: Conv2d_1a_3x3.conv.weight" in str(e.value)
    assert "wrong shape: fc.bias: expected (1000,), found (1008,)" in str(e.value)


def test_weights_have_to_be_named():
    with pytest.raises(WeightsUnavailableError, match=r"0cc3c7bd\.pth and name it, --weights"):
        make_torchvision_network("auto", "float32")
    network = make_torchvision_network("untrained", "bfloat16")
    assert (network.weights_name, network.precision) == ("untrained", "bfloat16")
    assert "fc" not in network.params
    assert set(network.widths.values()) == {2048}
