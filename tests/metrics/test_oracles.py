"""The tools that define the metrics, where they are installed; `fixtures` hold what they gave once."""

import numpy as np
import pytest

from jaxfid.metrics.frechet.distance import prepare_reference
from jaxfid.metrics.frechet.infinity import frechet_distance_infinity
from jaxfid.metrics.kernel import kernel_distance
from jaxfid.metrics.manifold import manifold_scores
from tests.metrics.features import make_infinity_features, make_small_features

pytestmark = pytest.mark.oracle

REFERENCE, GENERATED, _ = make_small_features()


def test_precision_recall_density_and_coverage_of_prdc():
    prdc = pytest.importorskip("prdc")
    expected = prdc.compute_prdc(REFERENCE, GENERATED, nearest_k=5)
    scores = manifold_scores(REFERENCE, GENERATED, precision_k=5, density_k=5)
    for name in ("precision", "recall", "density", "coverage"):
        assert getattr(scores, name) == pytest.approx(expected[name], abs=1e-12)


def test_kernel_distance_of_clean_fid():
    fid = pytest.importorskip("cleanfid.fid", exc_type=ImportError)
    count = min(len(REFERENCE), len(GENERATED))
    sets = REFERENCE[:count], GENERATED[:count]
    # Subsets as large as the sets: each of them is the whole, in another order.
    expected = fid.kernel_distance(*sets, num_subsets=2, max_subset_size=count)
    # Its products are float32, of kernel values about 1.
    assert kernel_distance(*sets).value == pytest.approx(expected, abs=1e-6)


def test_intercept_of_fid_is_infinity(monkeypatch, tmp_path):
    score_infinity = pytest.importorskip("score_infinity", exc_type=ImportError)
    mean, cov, features = make_infinity_features()
    np.savez(tmp_path / "reference.npz", mu=mean, sigma=cov)
    monkeypatch.setattr(score_infinity, "load_inception_net", lambda: None)
    monkeypatch.setattr(
        score_infinity, "accumulate_activations", lambda *_: (features.copy(), None)
    )
    np.random.seed(0)
    expected = score_infinity.calculate_FID_infinity(
        None, 1, 1, str(tmp_path / "reference.npz"), num_im=len(features)
    )
    found = frechet_distance_infinity(prepare_reference(mean, cov), features, least_images=5000)
    assert found.value == pytest.approx(float(expected), rel=1e-6)
