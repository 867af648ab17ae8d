"""What cannot be computed costs nothing else, and what can be known is known before the first image."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

import jaxfid
from jaxfid.errors import InputError
from jaxfid.evaluate import compute_metrics, compute_metrics_from_features
from jaxfid.extraction.extract import extract
from jaxfid.images.interface import ImageSource
from jaxfid.storage.locks import lock
from tests.metrics.features import load_expected, make_small_features
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


@pytest.mark.parametrize("order", ["reference-first", "generated-first"])
def test_the_order_of_drawing_reproduces_the_kid_of_torch_fidelity(order):
    sides = (features.astype(np.float64) for features in make_small_features()[:2])
    options = {"kid_order": order, "kid_subset_size": 50, "kid_subsets": 100}
    found = compute_metrics_from_features(*sides, metrics="kd", **options)["kd"]
    name = f"{order.replace('-', '_')}_kernel_inception_distance"
    expected = load_expected()  # what torch-fidelity printed
    # The same float64 sums in another order: the terms are about 30 times the distance.
    assert found.details["subset_mean"] == pytest.approx(expected[f"{name}_mean"], rel=1e-12)
    assert found.std == pytest.approx(expected[f"{name}_std"], rel=1e-12)


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


def test_weights_of_a_network_that_is_not_there_are_refused():
    for weights in ({"tinny": "file.pth"}, {"tiny": "auto", "inception": "file.pth"}):
        with pytest.raises(InputError, match=r"weights: expected NAME=PATH .* out of tiny, found "):
            compute_metrics(IMAGES, [IMAGES], extractor=TINY, weights=weights)


def test_a_statistics_file_is_refused_before_weights_are_fetched(tmp_path):
    jaxfid.save_stats(tmp_path / "s.npz", jaxfid.compute_stats(IMAGES, extractor=TINY))
    with pytest.raises(InputError, match=r"s\.npz: what was asked for needs its images"):
        jaxfid.compute_features(tmp_path / "s.npz")


def test_pictures_beside_the_moments_of_more_are_not_seen_for_an_error_bar(tmp_path, monkeypatch):
    stats = jaxfid.compute_stats(IMAGES, extractor=TINY)
    np.savez(tmp_path / "adm.npz", arr_0=IMAGES[:4], mu=stats.mean, sigma=stats.cov)
    plain = compute_metrics(stats, [IMAGES // 2], extractor=TINY).results[0].metrics["fd_tiny"]
    read = []
    monkeypatch.setattr(
        "jaxfid.scoring.evaluation.extract",
        lambda opened, *rest, **more: read.append(opened.name) or extract(opened, *rest, **more),
    )
    result = compute_metrics(tmp_path / "adm.npz", [IMAGES // 2], extractor=TINY)
    assert len(read) == 1
    assert "adm.npz" not in read[0]
    assert result.results[0].metrics["fd_tiny"].value == plain.value
    compute_metrics(tmp_path / "adm.npz", [IMAGES // 2], extractor=TINY, metrics="precision")
    assert any("adm.npz" in name for name in read)


def test_one_set_where_a_list_is_expected_is_refused(tmp_path):
    one_set = [str(tmp_path), tmp_path, IMAGES, jaxfid.open_source(IMAGES)]
    for one in [*one_set, jaxfid.compute_stats(IMAGES, extractor=TINY)]:
        with pytest.raises(InputError, match="generated: expected a list of sets, found one "):
            compute_metrics(IMAGES, one, extractor=TINY)


def test_files_beside_the_images_are_said_once(tmp_path):
    for number in range(3):
        Image.fromarray(IMAGES[number]).save(tmp_path / f"{number}.png")
    for number in range(12):
        (tmp_path / f"{number}.txt").write_text("")
    (scored,) = compute_metrics(IMAGES, [tmp_path], extractor=TINY).results
    assert [w for w in scored.warnings if "not scored" in w] == [
        f"{tmp_path}: 12 other files not scored: 12 .txt (0.txt)"
    ]


def test_the_fid_alone_is_what_compute_fid_gives():
    with pytest.raises(InputError, match="metrics: this gives the FID alone, found kid, mind"):
        jaxfid.compute_fid(IMAGES, IMAGES, metrics="kid,mind")


def test_features_of_different_settings_or_shapes_are_refused():
    other = dataclasses.replace(
        TINY, protocol=jaxfid.Protocol("other", "tf1_bilinear", 0.0, 127.0, "", 8)
    )
    sides = [jaxfid.compute_features(IMAGES, extractor=network) for network in (TINY, other)]
    with pytest.raises(InputError, match=r"generated cannot be compared .*protocol other against"):
        compute_metrics_from_features(*sides)
    rows = sides[0].rows
    for wrong in (rows[0], rows[:0], rows[:1], rows[:, :2]):
        with pytest.raises(InputError, match="generated"):
            compute_metrics_from_features(rows, wrong)
        with pytest.raises(InputError, match="reference"):
            compute_metrics_from_features(wrong, rows)


def test_a_features_file_of_one_vector_is_refused_by_name(tmp_path):
    np.save(tmp_path / "one.npy", np.ones((1, 3), np.float32))
    with pytest.raises(InputError, match=r"one\.npy: a covariance needs at least 2 vectors"):
        compute_metrics(IMAGES, [tmp_path / "one.npy"], extractor=TINY)


def test_what_first_images_gave_reason_to_say_is_said_of_a_set_known_again(tmp_path):
    dark = IMAGES % 2
    settings = {"extractor": TINY, "resume": tmp_path / "progress"}
    for _ in range(2):
        (scored,) = compute_metrics(IMAGES, [dark], **settings).results
        assert any("no other values than 0 and 1" in warning for warning in scored.warnings)


def test_an_evaluator_holds_the_folder_of_progress(tmp_path):
    with (
        lock(tmp_path / "progress", "an evaluation"),
        pytest.raises(InputError, match="in use by an evaluation"),
    ):
        jaxfid.Evaluator(IMAGES, extractor=TINY, resume=tmp_path / "progress")


def test_statistics_that_are_no_covariance_are_named_by_their_side():
    sound = jaxfid.Stats(np.zeros(64), np.eye(64), 100)
    wrong = jaxfid.Stats(np.zeros(64), -np.eye(64), 100)

    def reason(reference, generated):
        found = compute_metrics(reference, [generated], dims=64, weights="untrained")
        return found.results[0].metrics["fid"].reason

    assert reason(wrong, sound).startswith("covariance of the reference: expected a covariance")
    assert reason(sound, wrong).startswith("cov: expected a covariance")
