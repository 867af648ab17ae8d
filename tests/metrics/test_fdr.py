import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.metrics.fdr import DIGITS_REMARK, IMAGENET_VALIDATION, fdr6

DISTANCES = {
    "inception": 2.52,
    "convnextv2": 113.74,
    "dinov2": 14.19,
    "mae": 0.08,
    "siglip2": 0.3,
    "clip": 28.0,
}


def test_is_the_mean_of_six_ratios():
    found = fdr6(DISTANCES)
    assert dict(found.ratios) == pytest.approx(
        {"inception": 1.5, "convnextv2": 2, "dinov2": 1, "mae": 2, "siglip2": 0.5, "clip": 5}
    )
    assert found.value == pytest.approx(2)
    assert found.influence is None


def test_real_images_score_one():
    assert fdr6(IMAGENET_VALIDATION).value == pytest.approx(1, rel=1e-15)


def test_order_of_names_changes_nothing():
    assert fdr6(dict(reversed(DISTANCES.items()))) == fdr6(DISTANCES)


def test_the_one_digit_of_mae_is_told():
    assert "one digit" in DIGITS_REMARK
    found = fdr6(DISTANCES)
    low = found.value + (0.08 / 0.035 - 0.08 / 0.04) / 6
    assert found.value + found.rounding == pytest.approx(low)


def test_influence_is_the_mean_of_the_spaces_influences():
    common = np.random.default_rng(0).normal(size=40)
    together = {name: real * common for name, real in IMAGENET_VALIDATION.items()}
    np.testing.assert_allclose(fdr6(DISTANCES, influences=together).influence, common, rtol=1e-12)
    one = {name: np.zeros(40) for name in IMAGENET_VALIDATION} | {"clip": common}
    np.testing.assert_allclose(
        fdr6(DISTANCES, influences=one).influence, common / 5.60 / 6, rtol=1e-12
    )


@pytest.mark.parametrize(
    ("distances", "influences", "message"),
    [
        ({"inception": 1.0}, None, "distances: expected exactly inception, .* found inception"),
        (DISTANCES | {"vgg": 1.0}, None, "distances: expected exactly .* vgg"),
        (DISTANCES | {"mae": np.nan}, None, r"distances: expected finite numbers, found \{'mae'"),
        (DISTANCES, {}, "influences: expected exactly .* found none"),
        (
            DISTANCES,
            dict.fromkeys(DISTANCES, np.zeros(3)) | {"clip": np.zeros(2)},
            "influences: expected the same 2 images or more",
        ),
    ],
)
def test_refuses(distances, influences, message):
    with pytest.raises(InputError, match=message):
        fdr6(distances, influences=influences)
