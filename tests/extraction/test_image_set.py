"""Sets before the pass."""

import numpy as np

from jaxfid.extraction.image_set import open_image_set
from jaxfid.images.sources import open_source
from jaxfid.stats.features import Features, save_features


def test_limit_takes_the_same_images_of_features_as_of_pictures(tmp_path):
    pictures = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    source = open_image_set(open_source(pictures), limit=5, seed=3).source
    assert source is not None
    taken = [int(source.read(i)[0, 0, 0]) for i in range(len(source))]
    assert len(set(taken)) == 5

    rows = np.arange(12, dtype=np.float32)[:, None] * np.ones((1, 4), np.float32)
    features = Features(rows, tuple(map(str, range(12))))
    save_features(tmp_path / "f.npz", features)
    for given in (features, tmp_path / "f.npz"):
        found = open_image_set(given, limit=5, seed=3).features
        assert found is not None
        assert found.rows[:, 0].tolist() == taken
        assert found.keys == tuple(map(str, taken))
    assert open_image_set(features, limit=12).features is features
