"""Every FID of the reference tools on real images, from the command line."""

import pytest

from jaxfid.result import Result
from tests.commands import run_jaxfid
from tests.shared_data import SHARED, WEIGHTS, load_goldens, needs_shared

PROTOCOLS = ("legacy_tensorflow", "legacy_pytorch", "clean")
DIMS = (64, 192, 768, 2048)
# At 2048 one takes a minute and a half of two cores: with the others of its kind it is slow.
DEFAULT = [("flowers", protocol, 64) for protocol in PROTOCOLS]
ALL = [(data, p, dims) for data in ("flowers", "cifar10") for p in PROTOCOLS for dims in DIMS]


def check(data, protocol, dims, *more):
    goldens = load_goldens()["fid"][data]
    done = run_jaxfid(
        "score", SHARED / goldens["reference"], SHARED / goldens["generated"], "--weights", WEIGHTS,
        "--protocol", protocol, "--dims", dims, "--json", "-", *more,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (scored,) = Result.from_json(done.stdout).results
    # float32 rounding of the network; where images are fewer than features it is not averaged out
    tolerance = {"abs": 3e-4, "rel": 0} if goldens["num_images"] < dims else {"rel": 1e-4, "abs": 0}
    expected = goldens[protocol][str(dims)]["fid"]
    assert scored.metrics["fid"].value == pytest.approx(expected, **tolerance)
    assert any("not the official weights" in warning for warning in scored.warnings)


@needs_shared
@pytest.mark.parametrize(("data", "protocol", "dims"), DEFAULT)
def test_fid(data, protocol, dims):
    check(data, protocol, dims)


@needs_shared
@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "protocol", "dims"), [case for case in ALL if case not in DEFAULT]
)
def test_every_fid(data, protocol, dims):
    check(data, protocol, dims)


@needs_shared
@pytest.mark.slow
def test_torch_fidelity():
    """KID, Inception Score, precision and recall as torch-fidelity gives them on the same files."""
    goldens = load_goldens()
    sets = [SHARED / goldens["fid"]["cifar10"][side] for side in ("reference", "generated")]
    done = run_jaxfid(
        "score", *sets, "--weights", WEIGHTS, "--kid-subset-size", 500, "--json", "-",
        "--metrics", "kid,inception_score,precision,recall",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    metrics = Result.from_json(done.stdout).results[0].metrics
    expected = goldens["torch_fidelity"]
    kid = expected["kid_torch_fidelity_100x500"]
    # torch-fidelity sums each subset in float32, which leaves 3e-8 on this mean, 1e-3 of so small a
    # value; the same code run in float64 gives jaxfid's value to 1e-10
    found = metrics["kid"].details["subset_mean"]
    assert found == pytest.approx(kid["kernel_inception_distance_mean"], abs=1e-7)
    assert metrics["kid"].std == pytest.approx(kid["kernel_inception_distance_std"], rel=1e-3)
    score = expected["isc_generated_logits_unbiased"]
    value, std = metrics["inception_score"].value, metrics["inception_score"].std
    assert value == pytest.approx(score["inception_score_mean"], rel=1e-4)
    assert std == pytest.approx(score["inception_score_std"], rel=1e-3)
    # counted on 1,000 images: half a unit of the last place
    cover = expected["prc_pool3_generated_vs_reference_k3"]
    assert metrics["precision"].value == pytest.approx(cover["precision"], abs=5e-4)
    assert metrics["recall"].value == pytest.approx(cover["recall"], abs=5e-4)
