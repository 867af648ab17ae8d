"""A metric over several extractors: all of its networks, one decoding, one input rule, one error bar."""

import json

import numpy as np
import pytest

import jaxfid
from jaxfid.cli import main
from jaxfid.errors import InputError
from jaxfid.evaluate import compute_metrics
from jaxfid.extractors import registry
from jaxfid.extractors.interface import Extractor
from jaxfid.extractors.registry import ExtractorSpec, load_extractor
from jaxfid.images.interface import ImageSource
from jaxfid.metrics.fdr import EXTRACTORS, IMAGENET_VALIDATION
from jaxfid.metrics.frechet.influence import influence_stderr
from jaxfid.preprocessing.protocol import FDR, get_protocol
from jaxfid.settings import Settings

RNG = np.random.default_rng(0)
REAL = RNG.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
DRAWN = RNG.integers(0, 200, (30, 8, 8, 3), dtype=np.uint8)


def load_tiny(name):
    """Two features of a user's kind, another mixture for each name."""
    mixture = np.random.default_rng(len(name)).normal(size=(3, 2)).astype(np.float32)

    def apply(params, images):
        return images.mean((1, 2)) @ params

    def load(options):
        rule = options.protocol or get_protocol("clean")
        return Extractor(name, rule, 2, mixture, apply, is_own=False)

    return load


@pytest.fixture
def six(monkeypatch):
    """The six networks, small enough to run."""
    for name in EXTRACTORS:
        rules = ("clean", "fdr")
        spec = ExtractorSpec(name, load_tiny(name), {"2": 2}, protocols=rules)
        monkeypatch.setitem(registry.EXTRACTORS, name, spec)
    monkeypatch.setattr(registry, "INCEPTION", "no name")  # whose features are called by dims


class Counted(ImageSource):
    """Images that know how often they were read."""

    name, keys = "counted", [str(i) for i in range(len(DRAWN))]

    def __init__(self):
        self.reads = 0

    def read(self, index):
        self.reads += 1
        return DRAWN[index]


def test_is_the_mean_of_the_ratios_of_six_distances_from_one_decoding(six):
    source = Counted()
    scored = compute_metrics(REAL, [source], metrics="fdr6").results[0]
    assert source.reads == len(DRAWN)
    assert list(scored.metrics) == ["fdr6"]
    found = scored.metrics["fdr6"]
    parts = compute_metrics(
        REAL, [DRAWN], extractor=tuple(EXTRACTORS), protocol="fdr", metrics="fd,fdr6"
    )
    names = [*(f"fd_{name}" for name in EXTRACTORS if name != "inception"), "fid", "fdr6"]
    metrics = parts.results[0].metrics
    assert set(metrics) == set(names)
    distances = {
        space: metrics["fid" if name == "inception" else f"fd_{name}"]
        for name, space in EXTRACTORS.items()
    }
    ratios = [distances[space].value / real for space, real in IMAGENET_VALIDATION.items()]
    assert found.value == pytest.approx(np.mean(ratios), rel=1e-12)
    assert found.details["distances"] == pytest.approx({s: m.value for s, m in distances.items()})
    assert metrics["fdr6"].value == found.value
    influence = np.mean([distances[s].influence / r for s, r in IMAGENET_VALIDATION.items()], 0)
    curvature = np.mean([distances[s].curvature / r for s, r in IMAGENET_VALIDATION.items()], 0)
    expected = influence_stderr(influence, len(DRAWN), curvature=curvature)
    assert found.stderr == pytest.approx(expected, rel=1e-12)


def test_the_digits_of_the_published_distances_are_said(six):
    scored = compute_metrics(REAL, [DRAWN], metrics="fdr6").results[0]
    assert any("distance of MAE has one digit, 0.04" in warning for warning in scored.warnings)
    assert scored.metrics["fdr6"].details["rounding"] > 0
    plain = compute_metrics(REAL, [DRAWN], extractor="mae_vitl16", metrics="fd").results[0]
    assert not any("MAE" in warning for warning in plain.warnings)


def test_two_sets_are_compared_by_their_influences(six):
    result = compute_metrics(REAL, [DRAWN, DRAWN[::-1] // 2], metrics="fdr6")
    metrics = [scored.metrics["fdr6"] for scored in result.results]
    assert metrics[0].value < metrics[1].value
    assert metrics[0].influence.shape == (len(DRAWN),)


def test_a_space_that_allows_no_distance_leaves_none_with_its_reason(six):
    stats = {"mean": np.zeros(2), "cov": -np.eye(2), "count": 9}
    found = compute_metrics(jaxfid.Stats(**stats), [DRAWN], extractor="mae_vitl16")
    assert found.results[0].metrics["fd_mae_vitl16"].value is None
    with pytest.raises(InputError, match="need its images"):
        compute_metrics(jaxfid.Stats(**stats), [DRAWN], metrics="fdr6")


def test_the_command_line_names_it(six, tmp_path, monkeypatch, capsys):
    for name, images in (("real", REAL), ("drawn", DRAWN)):
        np.save(tmp_path / f"{name}.npy", images)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("jaxfid.cli.score.start_jax", lambda *_: None)
    arguments = ["score", "real.npy", "drawn.npy", "--metrics", "fdr6", "--json", "r.json"]
    assert main(arguments) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    assert set(result["extractors"]) == set(EXTRACTORS)
    assert result["protocol"]["name"] == "fdr"
    assert set(result["results"][0]["metrics"]["fdr6"]["details"]["ratios"]) == set(
        IMAGENET_VALIDATION
    )
    assert "one digit" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (
            {"metrics": "fid,fdr6"},
            "protocol: fdr6 is under the input rule fdr, and so would be fid",
        ),
        ({"metrics": "fdr6", "protocol": "clean"}, "protocol: fdr6 is under fdr, found clean"),
        ({"metrics": "fdr6", "dims": 64}, "dims: fdr6 is of each network's own features"),
    ],
)
def test_other_rules_are_refused(choices, message):
    with pytest.raises(InputError, match=message):
        Settings(**choices)


def test_a_run_without_one_of_its_networks_is_refused(six):
    with pytest.raises(InputError, match=r"fdr6 needs inception, .*, and mae_vitl16 is missing"):
        compute_metrics(
            REAL, [DRAWN], metrics="fdr6", extractor=[n for n in EXTRACTORS if n != "mae_vitl16"]
        )


def test_inception_takes_the_rule_as_its_authors_code_does():
    rule = load_extractor("inception", registry.LoadOptions("untrained", protocol=FDR)).protocol
    assert (rule.name, rule.resampling, rule.size_px) == ("fdr", "tf1_bilinear", 299)
    assert (rule.shift, rule.divisor) == (127.5, 127.5)
    cropped = FDR.with_crop("adm:256")
    options = registry.LoadOptions("untrained", protocol=cropped)
    assert load_extractor("inception", options).protocol.crops == ("adm:256",)
