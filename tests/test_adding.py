"""What a newcomer adds works from one file, without touching another."""

import json
import sys

import numpy as np
import pytest

import jaxfid
import jaxfid.metrics
from jaxfid.checkpoints.compare import compare_samples
from jaxfid.cli import main
from jaxfid.errors import InputError
from jaxfid.metrics import registry
from jaxfid.report.page import make_page
from jaxfid.report.run_folder import RunFolder
from tests.tiny import TINY

TOY_METRIC = """
from jaxfid.metrics.registry import DEFAULT, MetricOption, MetricSpec
from jaxfid.result import MetricValue


def _compute(pair):
    reference, generated = pair.vectors
    value = pair.options["toy_scale"] * (generated.mean() - reference.mean())
    return MetricValue(float(value))


SPECS = (
    MetricSpec(
        "toy",
        _compute,
        features=(DEFAULT,),
        greater_is_better=True,
        heading="Toy",
        options=(MetricOption("toy_scale", 1.0, "times the difference of means"),),
        why_no_stderr="a toy has none",
    ),
)
"""


def draw(high, count=24, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, high, (count, 12, 12, 3), dtype=np.uint8)


REAL, DARK, BRIGHT = draw(200), draw(120, seed=1), draw(256, seed=2)


@pytest.fixture
def toy_metric(tmp_path, monkeypatch):
    """A file beside those of `jaxfid/metrics`, found as they are."""
    (tmp_path / "metrics_of_mine").mkdir()
    (tmp_path / "metrics_of_mine" / "toy.py").write_text(TOY_METRIC)
    path = [*jaxfid.metrics.__path__, str(tmp_path / "metrics_of_mine")]
    monkeypatch.setattr(jaxfid.metrics, "__path__", path)
    registry.metric_specs.cache_clear()
    yield
    sys.modules.pop("jaxfid.metrics.toy", None)
    registry.metric_specs.cache_clear()


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Images of three sets, in the current folder; JAX has long been started in this process."""
    for name, images in (("real", REAL), ("dark", DARK), ("bright", BRIGHT)):
        np.save(tmp_path / f"{name}.npy", images)
    monkeypatch.chdir(tmp_path)
    for module in ("score", "compare", "saving"):
        monkeypatch.setattr(f"jaxfid.cli.{module}.start_jax", lambda *_: None)
    return tmp_path


def test_a_metric_is_one_file(toy_metric, files, capsys):
    arguments = ["score", "real.npy", "dark.npy", "--extractor", "tests.tiny:make_tiny"]
    assert main([*arguments, "--metrics", "toy", "--toy-scale", "2", "--json", "r.json"]) == 0
    value = json.loads((files / "r.json").read_text())["results"][0]["metrics"]["toy_tiny"]
    expected = 2 * (DARK.mean() - REAL.mean()) / 255
    assert value["value"] == pytest.approx(expected, rel=1e-3)  # means of images that were resized
    assert value["reason"] == "a toy has none"
    assert "toy_tiny" in capsys.readouterr().out
    everything = jaxfid.compute_metrics(REAL, [DARK], extractor=TINY, metrics="all").results[0]
    assert "toy_tiny" in everything.metrics
    from_features = jaxfid.compute_metrics_from_features(
        np.zeros((5, 2)), np.ones((5, 2)), metrics="toy", toy_scale=3.0
    )
    assert from_features["toy"].value == 3.0
    with pytest.raises(SystemExit):
        main(["score", "--help"])
    assert "toy" in capsys.readouterr().out


def test_a_metric_of_which_more_is_better_crowns_the_largest(toy_metric, files):
    paths = [files / "dark.npy", files / "bright.npy"]
    options = {"out": files / "run", "extractor": TINY}
    entries = compare_samples(files / "real.npy", paths, metrics="toy", **options)
    values = {e.name: e.scores.metrics["toy_tiny"].value for e in entries}
    assert values["bright.npy"] > values["dark.npy"]
    page = make_page(RunFolder(files / "run"))
    assert registry.greater_is_better("toy_tiny")
    assert "more is better" in page
    assert "bright" in page[page.index("headline") : page.index("</header>")]
    with pytest.raises(InputError, match=r"metrics was .*toy_tiny.*is .*fd_tiny"):
        compare_samples(files / "real.npy", paths, metrics="fd", **options)
    with pytest.raises(InputError, match=r"toy_scale was 1\.0, is 2\.0"):
        compare_samples(files / "real.npy", paths, metrics="toy", toy_scale=2.0, **options)


def test_a_metric_belongs_to_the_identity_of_a_resumed_run(toy_metric, files):
    options = {"extractor": TINY, "resume": files / "progress"}
    jaxfid.compute_metrics(REAL, [DARK], metrics="fd", **options)
    with pytest.raises(InputError, match=r"resume: .*kept of tiny"):
        jaxfid.compute_metrics(REAL, [DARK], metrics="toy", **options)


VECTOR_METRICS = ("fd", "kd", "precision", "recall", "density", "coverage", "fd_infinity")


def test_an_extractor_gets_every_metric_of_vectors(files):
    names = ",".join(VECTOR_METRICS)
    real, bright = draw(200, 80), draw(256, 80, seed=3)
    scored = jaxfid.compute_metrics(real, [bright], extractor=TINY, metrics=names).results[0]
    assert list(scored.metrics) == [f"{name}_tiny" for name in VECTOR_METRICS]
    assert all(metric.value is not None for metric in scored.metrics.values())
    stats = jaxfid.compute_stats(real, extractor=TINY)
    assert stats.provenance["extractor"] == "tiny"
    evaluator = jaxfid.Evaluator(stats, extractor=TINY)
    found = evaluator.compute(evaluator.update(evaluator.init(), bright)).metrics["fd_tiny"]
    assert found.value == pytest.approx(scored.metrics["fd_tiny"].value, rel=1e-5)
    entries = compare_samples(
        files / "real.npy", [files / "bright.npy"], out=files / "run", extractor=TINY, metrics=names
    )
    assert list(entries[0].scores.metrics) == list(scored.metrics)


def test_any_place_that_fsspec_serves_holds_everything(files):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe("/adding/real.npy", (files / "real.npy").read_bytes())
    memory.pipe("/adding/dark.npy", (files / "dark.npy").read_bytes())
    place = "memory://adding"
    options = ("--extractor", "tests.tiny:make_tiny")
    assert main(["stats", f"{place}/real.npy", "-o", f"{place}/real.npz", *options]) == 0
    assert main(["features", f"{place}/dark.npy", "-o", f"{place}/dark.npz", *options]) == 0
    score = ["score", f"{place}/real.npz", f"{place}/dark.npy", *options]
    resumed = [*score, "--resume", f"{place}/progress", "--json", f"{place}/result.json"]
    assert main(resumed) == 0
    result = jaxfid.Result.from_json(memory.cat("/adding/result.json").decode())
    assert memory.ls("/adding/progress")
    local = jaxfid.compute_metrics(REAL, [DARK], extractor=TINY).results[0].metrics["fd_tiny"]
    assert result.results[0].metrics["fd_tiny"].value == pytest.approx(local.value, rel=1e-9)
    entries = compare_samples(
        f"{place}/real.npz", [f"{place}/dark.npy"], out=f"{place}/run", extractor=TINY
    )
    assert entries[0].scores.metrics["fd_tiny"].value == pytest.approx(local.value, rel=1e-9)
    assert RunFolder(f"{place}/run").entries[0].name == entries[0].name
    assert not [path for path in files.iterdir() if path.name.startswith("memory")]


def test_a_source_is_one_class(files):
    class Stripes(jaxfid.ImageSource):
        name, keys = "stripes", [f"{i:02d}" for i in range(24)]

        def read(self, index):
            return np.full((8, 8, 3), 10 * index, np.uint8)

    scored = jaxfid.compute_metrics(REAL, [Stripes()], extractor=TINY).results[0]
    assert (scored.generated, scored.num_images) == ("stripes", 24)
