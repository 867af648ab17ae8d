"""What cannot be computed costs nothing else, and what can be known is known before the first image."""

import numpy as np
import pytest

import jaxfid
from jaxfid.errors import InputError
from jaxfid.evaluate import compute_metrics, compute_metrics_from_features
from jaxfid.images.interface import ImageSource
from tests.tiny import TINY

IMAGES = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), dtype=np.uint8)


class Untouched(ImageSource):
    """Images that must not be read."""

    name, keys = "untouched", ["0", "1", "2"]

    def read(self, index):
        pytest.fail("an image was read")


def test_a_metric_that_cannot_be_computed_is_none_with_a_reason():
    few = compute_metrics(IMAGES[:5], [IMAGES[4:]], extractor=TINY, metrics="all").results[0]
    assert few.metrics["fd_tiny"].value is not None
    assert few.metrics["precision_tiny"].value is not None
    assert few.metrics["density_tiny"].value is None
    assert "needs more than 5 images" in few.metrics["density_tiny"].reason
    assert few.metrics["fd_infinity_tiny"].value is None
    assert "expected 3 or more different sizes" in few.metrics["fd_infinity_tiny"].reason
    again = jaxfid.Result.from_json(
        compute_metrics(IMAGES[:5], [IMAGES[4:]], extractor=TINY, metrics="density").to_json()
    )
    assert again.results[0].metrics["density_tiny"].value is None


def test_an_inception_score_of_few_images_does_not_cost_the_fid():
    settings = {"weights": "untrained", "dims": 64}
    metrics = compute_metrics(
        IMAGES, [IMAGES[:8]], metrics="fid,inception_score", **settings
    ).results[0].metrics  # fmt: skip
    assert metrics["fid"].value is not None
    assert metrics["inception_score"].value is None
    assert "at least 10 images" in metrics["inception_score"].reason


def test_what_a_statistics_file_lacks_is_said_before_an_image_is_read():
    stats = jaxfid.compute_stats(IMAGES, extractor=TINY)
    with pytest.raises(InputError, match=r"need its images .*a statistics file does not hold them"):
        compute_metrics(stats, [Untouched()], extractor=TINY, metrics="fd,kd")
    with pytest.raises(InputError, match=r"metrics: expected names"):
        compute_metrics(stats, [Untouched()], extractor=TINY, metrics="lpips")


def test_features_stand_for_their_images(tmp_path):
    features = jaxfid.compute_features(IMAGES, extractor=TINY)
    assert features.keys == tuple("012345678")
    assert features.provenance["extractor"] == "tiny"
    other = IMAGES // 2
    expected = compute_metrics(IMAGES, [other], extractor=TINY, metrics="fd,kd,precision")
    found = compute_metrics(features, [other], extractor=TINY, metrics="fd,kd,precision")
    for name, metric in expected.results[0].metrics.items():
        assert found.results[0].metrics[name].value == pytest.approx(metric.value, rel=1e-9)
    alone = compute_metrics_from_features(
        features, jaxfid.compute_features(other, extractor=TINY), metrics="fd,precision"
    )
    assert alone["fd"].value == pytest.approx(expected.results[0].metrics["fd_tiny"].value)
    with pytest.raises(
        InputError, match="which are defined on any features, found inception_score"
    ):
        compute_metrics_from_features(features, features, metrics="inception_score")


def test_a_file_without_rows_gives_a_value_without_an_error_bar():
    stats = jaxfid.compute_stats(IMAGES // 2, extractor=TINY)
    (scored,) = compute_metrics(IMAGES, [stats], extractor=TINY).results
    metric = scored.metrics["fd_tiny"]
    assert metric.value is not None
    assert (metric.stderr, metric.influence) == (None, None)
    assert "a statistics file does not hold" in metric.reason
    assert metric.stderr_reference > 0


def test_a_set_of_no_more_images_than_features_has_no_error_bar():
    (scored,) = compute_metrics(IMAGES, [IMAGES[:3]], extractor=TINY).results
    assert scored.metrics["fd_tiny"].stderr is None
    assert "no more images than features" in scored.metrics["fd_tiny"].reason


def test_values_that_no_picture_has_and_files_not_scored_are_said():
    class Beside(ImageSource):
        name, keys, others = "folder", [str(i) for i in range(9)], ("a.heic", "b.txt")
        remarks = ("thumbnails were left out",)

        def read(self, index):
            return IMAGES[index] // 255

    (scored,) = compute_metrics(IMAGES, [Beside()], extractor=TINY).results
    text = " ".join(scored.warnings)
    assert "folder: 2 other files not scored: a.heic, b.txt" in text
    assert "folder: thumbnails were left out" in text
    assert "folder: its first 16 images have no other values than 0 and 1" in text


def test_weights_that_are_not_official_are_said_whatever_is_asked_for():
    for metrics in ("kd", "precision"):
        (scored,) = compute_metrics(IMAGES, [IMAGES], extractor=TINY, metrics=metrics).results
        assert any("no FID" in warning for warning in scored.warnings)
