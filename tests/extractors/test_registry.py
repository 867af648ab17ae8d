"""Networks of one's own: their distance has a name of its own, and is of their features."""

import dataclasses
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import linalg

import jaxfid
from jaxfid.errors import InputError
from jaxfid.extractors.registry import ChosenExtractor, LoadOptions, load_extractor
from jaxfid.preprocessing.protocol import get_protocol
from jaxfid.result import Result
from jaxfid.scoring.evaluation import Evaluation
from jaxfid.settings import Settings
from tests.commands import run_jaxfid

ROOT = pathlib.Path(__file__).parents[2]
EXAMPLE = "scripts.examples.small_network:make_network"
SIZE_PX = 8
PROTOCOL = jaxfid.Protocol(
    "tiny_8", "antialiased_bicubic", (1.0, 2.0, 3.0), (64.0, 32.0, 16.0), "for tests", SIZE_PX
)


def make_tiny(name="tiny", width=3, protocol=PROTOCOL, kernel=1.0, apply=None):
    """Averages of the channels: features that a few lines of NumPy give as well."""

    def average(params, images):
        return images.mean((1, 2)) * params["kernel"]

    params = {"kernel": np.full(3, kernel, np.float32)}
    return jaxfid.FeatureNetwork(name, protocol, width, params, apply or average)


@pytest.fixture(scope="module")
def sets():
    rng = np.random.default_rng(0)
    return [rng.integers(0, high, (40, 13, 11, 3), dtype=np.uint8) for high in (256, 180)]


def expected_features(images):
    """Pillow's own bicubic, channel by channel, then the protocol's scaling and the average."""
    resized = [
        [
            np.asarray(
                Image.fromarray(image[..., c].astype(np.float32)).resize(
                    (SIZE_PX, SIZE_PX), Image.Resampling.BICUBIC
                )
            )
            for c in range(3)
        ]
        for image in images
    ]
    pixels = np.clip(np.array(resized, np.float64), 0, 255)  # n c h w
    return (pixels.mean((2, 3)) - [1, 2, 3]) / [64, 32, 16]


def plain_distance(a, b):
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    shift = np.sum((a.mean(0) - b.mean(0)) ** 2)
    return shift + np.trace(cov_a + cov_b - 2 * linalg.sqrtm(cov_a @ cov_b).real)


def test_distance_is_of_the_networks_features_and_so_named(sets):
    result = jaxfid.compute_metrics(sets[0], [sets[1]], extractor=make_tiny(), batch_size=16)
    (scored,) = result.results
    assert list(scored.metrics) == ["fd_tiny"]
    expected = plain_distance(*(expected_features(images) for images in sets))
    # float32 resize and features of about 1; a distance of about 7 loses 1e-6 of it at most.
    assert scored.metrics["fd_tiny"].value == pytest.approx(expected, rel=1e-5)
    assert scored.metrics["fd_tiny"].stderr > 0
    assert (
        "fd_tiny is a Frechet distance of features of tiny (those of tiny), no FID"
        in scored.warnings[0]
    )
    assert result.protocol["extractor"] == "tiny"
    assert result.protocol["name"] == "tiny_8"
    assert result.protocol["input"]["divisor"] == [64, 32, 16]
    assert result.protocol["dims"] == 3
    assert result.weights["official"] is False


def test_evaluator_takes_the_network_too(sets):
    reference = jaxfid.compute_stats(sets[0], extractor=make_tiny())
    evaluator = jaxfid.Evaluator(reference, extractor=make_tiny())
    scored = evaluator.compute(evaluator.update(evaluator.init(), jnp.asarray(sets[1])))
    expected = plain_distance(*(expected_features(images) for images in sets))
    assert scored.metrics["fd_tiny"].value == pytest.approx(expected, rel=1e-5)


def test_statistics_of_another_network_are_refused(sets, tmp_path):
    path = tmp_path / "reference.npz"
    jaxfid.save_stats(path, jaxfid.compute_stats(sets[0], extractor=make_tiny()))
    assert jaxfid.load_stats(path).provenance["extractor"] == "tiny"
    same = jaxfid.compute_metrics(path, [sets[0]], extractor=make_tiny())
    assert same.results[0].metrics["fd_tiny"].value == pytest.approx(0, abs=1e-9)
    others = {
        "features are of tiny, and those of other were asked for": make_tiny(name="other"),
        "weights_sha256": make_tiny(kernel=2.0),
        "input divisor 2.0 against .64.0, 32.0, 16.0.": make_tiny(
            protocol=dataclasses.replace(PROTOCOL, divisor=2.0)  # under the same name
        ),
    }
    for message, network in others.items():
        with pytest.raises(InputError, match=message):
            jaxfid.compute_metrics(path, [sets[1]], extractor=network)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (LoadOptions(weights="untrained"), "tiny brings its own weights.* found weights untrained"),
        (LoadOptions(precision="bfloat16"), "found precision bfloat16"),
        (LoadOptions(protocol=get_protocol("clean")), "found protocol clean"),
    ],
)
def test_choices_that_are_the_networks_own_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        load_extractor(make_tiny(), options)


def test_dims_are_the_networks_own(sets):
    with pytest.raises(InputError, match="dims: the extractor tiny brings its own"):
        jaxfid.compute_stats(sets[0], extractor=make_tiny(), dims=64)
    with pytest.raises(InputError, match="an FID is of Inception's features"):
        jaxfid.compute_fid(np.zeros(1), np.zeros(1), extractor=make_tiny())


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ("sfid", "metrics: sfid is not defined on these features: tiny has fd, kd, precision"),
        ("fd,fid", "metrics: fid is not defined on these features"),
        ("fd,lpips", "metrics: expected names out of .*found 'lpips'"),
    ],
)
def test_metrics_that_are_not_defined_on_its_features_are_refused(sets, metrics, message):
    with pytest.raises(InputError, match=message):
        jaxfid.compute_metrics(sets[0], [sets[1]], extractor=make_tiny(), metrics=metrics)


def test_making_settings_loads_nothing():
    settings = Settings(extractor="torchvision,nowhere:make", weights="no such file")
    assert settings.features.extractors == ("torchvision", "nowhere:make")
    chosen = ChosenExtractor("torchvision", LoadOptions(weights="untrained"))
    assert not chosen.is_loaded
    assert (chosen.name, chosen.chosen, chosen.widths["2048"]) == ("torchvision", "2048", 2048)


def test_several_networks_see_the_images_in_one_pass(sets):
    extractors = [make_tiny(), make_tiny(name="other", kernel=2.0)]
    together = jaxfid.compute_metrics(sets[0], [sets[1]], extractor=extractors, metrics="fd,kd")
    (scored,) = together.results
    assert list(scored.metrics) == ["fd_tiny", "kd_tiny", "fd_other", "kd_other"]
    assert set(together.extractors) == {"tiny", "other"}
    for extractor in extractors:
        alone = jaxfid.compute_metrics(sets[0], [sets[1]], extractor=extractor, metrics="fd,kd")
        for name, metric in alone.results[0].metrics.items():
            assert scored.metrics[name].value == pytest.approx(metric.value, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vgg", "extractor: expected one of .*module:function, found 'vgg'"),
        ("nowhere:make", "extractor: there is no module nowhere"),
        ("tests.extractors.test_registry:nothing", "has no function nothing"),
        ("builtins:dict", "expected a jaxfid.FeatureNetwork, found dict"),
    ],
)
def test_names_of_no_network_are_refused(name, message):
    with pytest.raises(InputError, match=message):
        load_extractor(name)


def test_declarations_that_do_not_hold_are_refused():
    for name in ("fid", "inception", "My Net", ""):
        with pytest.raises(InputError, match="expected a name of small letters"):
            make_tiny(name=name)
    with pytest.raises(InputError, match="expected an input size of 1 to 512 pixels, found 513"):
        make_tiny(protocol=dataclasses.replace(PROTOCOL, size_px=513))
    with pytest.raises(InputError, match=r"shape \(2, 4\) of two images, found float32 of .*2, 3"):
        make_tiny(width=4).check()
    with pytest.raises(InputError, match="found int32 of shape"):
        make_tiny(apply=lambda _, x: jnp.zeros((len(x), 3), int)).check()


def test_the_example_runs_from_the_command_line(sets, tmp_path):
    for name, images in zip(("real", "fake"), sets, strict=True):
        np.save(tmp_path / f"{name}.npy", images)
    choice = ("--extractor", EXAMPLE)
    stats = tmp_path / "stats.npz"
    done = run_jaxfid("stats", tmp_path / "real.npy", "-o", stats, *choice, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    done = run_jaxfid(
        "score", stats, tmp_path / "fake.npy", *choice, "--json", "-", PYTHONPATH=str(ROOT)
    )
    assert done.returncode == 0, done.stderr
    (scored,) = Result.from_json(done.stdout).results
    assert list(scored.metrics) == ["fd_small"]
    assert scored.metrics["fd_small"].value > 0
    assert "no FID: compare it with values of fd_small alone" in done.stderr


def test_torchvisions_network_is_chosen_by_name_with_weights():
    extractor = load_extractor("torchvision", LoadOptions("untrained", "bfloat16"))
    assert (extractor.name, extractor.weights_name) == ("torchvision", "untrained")
    assert (extractor.width, extractor.protocol.name) == (2048, "torchvision")
    assert extractor.provenance()["precision"] == "bfloat16"
    with pytest.raises(
        jaxfid.WeightsUnavailableError, match="torchvision's weights are not fetched"
    ):
        load_extractor("torchvision")
    with pytest.raises(InputError, match=r"torchvision brings its own .*found protocol clean"):
        load_extractor("torchvision", LoadOptions("untrained", protocol=get_protocol("clean")))


def test_inception_takes_rules_of_its_own_size_alone():
    chosen = ChosenExtractor("inception", LoadOptions(protocol=get_protocol("clean")), dims=64)
    assert (chosen.chosen, chosen.default) == ("64", "2048")
    with pytest.raises(InputError, match=r"protocol: inception takes legacy_tensorflow.*'edm2'"):
        ChosenExtractor("inception", LoadOptions(protocol=get_protocol("edm2")))


def test_dims_are_inceptions_where_there_are_several():
    settings = Settings(
        extractor=["inception", make_tiny()], dims=64, weights={"inception": "untrained"}
    )
    chosen = Evaluation(settings).extractors
    assert [network.chosen for network in chosen.values()] == ["64", "3"]
