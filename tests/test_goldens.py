"""Every FID of the reference tools on real images, from the command line."""

import pytest

from jaxfid.result import Result
from tests.commands import run_jaxfid
from tests.shared_data import SHARED, WEIGHTS, load_goldens, needs_shared

PROTOCOLS = ("legacy_tensorflow", "legacy_pytorch", "clean")
DIMS = (64, 192, 768, 2048)
DEFAULT = [("flowers", protocol, 64) for protocol in PROTOCOLS] + [("flowers", "clean", 2048)]
ALL = [(data, p, dims) for data in ("flowers", "cifar10") for p in PROTOCOLS for dims in DIMS]


def check(data, protocol, dims, *more):
    goldens = load_goldens()["fid"][data]
    done = run_jaxfid(
        "score", SHARED / goldens["reference"], SHARED / goldens["generated"], "--weights", WEIGHTS,
        "--protocol", protocol, "--dims", dims, "--blocks", "1", "--json", "-", *more,
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
