"""Why two numbers differ, told from their files."""

import numpy as np
import pytest

import jaxfid
from jaxfid.errors import InputError
from jaxfid.scoring.explain import explain
from jaxfid.stats.features import save_features
from jaxfid.storage.files import write_file
from tests.tiny import TINY

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)


def test_statistics_are_explained_by_provenance_and_moments(tmp_path):
    stats = jaxfid.compute_stats(IMAGES, extractor=TINY)
    other = jaxfid.Extractor(
        "other", jaxfid.Protocol("tiny_8", "tf1_bilinear", 1.0, 255.0, "", 8), 3, {}, TINY.apply
    )
    jaxfid.save_stats(tmp_path / "a.npz", stats)
    jaxfid.save_stats(tmp_path / "b.npz", jaxfid.compute_stats(IMAGES[:10], extractor=other))
    text = "\n".join(explain(tmp_path / "a.npz", tmp_path / "b.npz"))
    assert "extractor tiny against other" in text
    assert "input shift 0.0 against 1.0" in text
    assert "number of images 12 against 10" in text
    assert "Frechet distance of the two: " in text


def test_results_are_explained_by_settings_and_values(tmp_path):
    for name, images in (("a", IMAGES), ("b", IMAGES[:11])):
        result = jaxfid.compute_metrics(IMAGES // 2, [images], extractor=TINY)
        (tmp_path / f"{name}.json").write_text(result.to_json())
    text = "\n".join(explain(tmp_path / "a.json", tmp_path / "b.json"))
    assert "images of set 0 12 against 11" in text
    assert "fd_tiny of set 0: " in text
    assert explain(tmp_path / "a.json", tmp_path / "a.json") == [
        "no difference is recorded in these files"
    ]


def test_features_and_statistics_go_together(tmp_path):
    save_features(tmp_path / "f.npz", jaxfid.compute_features(IMAGES, extractor=TINY))
    jaxfid.save_stats(tmp_path / "s.npz", jaxfid.compute_stats(IMAGES, extractor=TINY))
    text = "\n".join(explain(tmp_path / "f.npz", tmp_path / "s.npz"))
    assert "extractor" not in text
    assert "means: " in text


def test_images_explain_nothing(tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    with pytest.raises(InputError, match=r"expected a result .*found images"):
        explain(tmp_path / "images.npy", tmp_path / "images.npy")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"results": [], "comparisons": [], "reference": 1, "protocol": {}, "weights": {}, '
        '"environment": {}}',
        '{"results": [{"generated": "a", "metrics": {"fid": {"value": "1"}}}], "comparisons": [], '
        '"reference": {}, "protocol": {}, "weights": {}, "environment": {}}',
    ],
)
def test_a_result_that_is_none_is_refused_by_name(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=r"a\.json: result: expected JSON that jaxfid wrote"):
        explain(tmp_path / "a.json", tmp_path / "a.json")


def test_results_in_a_bucket_are_explained():
    result = jaxfid.compute_metrics(IMAGES // 2, [IMAGES], extractor=TINY)
    write_file("memory://explain/a.json", result.to_json())
    assert explain("memory://explain/a.json", "memory://explain/a.json") == [
        "no difference is recorded in these files"
    ]
