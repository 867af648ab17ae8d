"""The main job with every path in a bucket of a real server, seen through a proxy that breaks connections."""

import json
import signal

import numpy as np
import pytest

from jaxfid.cli import main
from jaxfid.cli.demo import add_noise, draw_pictures
from jaxfid.storage import retries
from jaxfid.storage.files import list_objects, read_file, write_file
from jaxfid.storage.paths import as_path
from tests.distributed.loopback import finish, processes
from tests.images.files import encode_png
from tests.noise_sampler import NOISE_SAMPLER
from tests.storage.bucket_servers import serve
from tests.storage.faulty_proxy import BUSY, CUT, RESET

pytestmark = [
    pytest.mark.buckets,
    pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning"),
]
OPTIONS = ("--dims", "64", "--weights", "untrained", "--batch-size", "8")


@pytest.fixture(scope="module", params=["s3", "gs"])
def bucket(request, tmp_path_factory):
    """The demo's pictures: a reference and a noisy set, each a folder; two checkpoints beside them."""
    rng = np.random.default_rng(0)
    real = draw_pictures(40, rng)
    with serve(request.param) as served:
        for name, pictures in (("real", real), ("noisy", add_noise(real[:33], 2, rng))):
            for number, picture in enumerate(pictures):
                write_file(f"{served.url}/{name}/{number:03d}.png", encode_png(picture))
        for step, level in ((1, 0.5), (2, 0.0)):
            write_file(f"{served.url}/checkpoints/step{step}.msgpack", str(level))
        yield served


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(retries, "FIRST_WAIT_S", 0.01)


def run(capsys, *arguments) -> str:
    code = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    assert code == 0, said.err
    return said.out


def read_json(path: str):
    return json.loads(read_file(path, max_bytes=1 << 20))


def value_in(path: str) -> float:
    return read_json(path)["results"][0]["metrics"]["fid"]["value"]


def test_score_stats_resume_and_json_through_faults(bucket, capsys):
    url, proxy = bucket.url, bucket.proxy
    sets = (f"{url}/real", f"{url}/noisy")
    run(capsys, "score", *sets, *OPTIONS, "--json", f"{url}/out/plain.json")
    expected = value_in(f"{url}/out/plain.json")
    assert expected > 0
    run(capsys, "stats", sets[0], *OPTIONS, "-o", f"{url}/out/real.npz")
    run(capsys, "features", sets[1], *OPTIONS, "-o", f"{url}/out/noisy.npz")
    proxy.faults = [f for fault in (CUT, BUSY, RESET) for f in (fault, *[""] * 7)]
    resume = ("--resume", f"{url}/resume", "--resume-every", "0")
    from_files = (f"{url}/out/real.npz", f"{url}/out/noisy.npz")
    run(capsys, "score", *from_files, *OPTIONS, "--json", f"{url}/out/files.json")
    run(capsys, "score", *sets, *OPTIONS, *resume, "--json", f"{url}/out/resumed.json")
    assert not proxy.faults
    for name in ("files", "resumed"):
        assert value_in(f"{url}/out/{name}.json") == pytest.approx(expected, rel=1e-9)
    # Once more: what is kept is of these objects, and none of them is read again.
    before = proxy.answered
    run(capsys, "score", *sets, *OPTIONS, *resume, "--json", f"{url}/out/again.json")
    assert value_in(f"{url}/out/again.json") == pytest.approx(expected, rel=1e-12)
    assert proxy.answered - before < 60  # of 73 images
    write_file(f"{url}/noisy/000.png", read_file(f"{url}/noisy/001.png", max_bytes=1 << 20))
    assert main(["score", *sets, *OPTIONS, *resume]) == 2
    assert "is of another run: content was" in capsys.readouterr().err


def test_compare_and_report_in_a_bucket(bucket, capsys, tmp_path, monkeypatch):
    url = bucket.url
    (tmp_path / "bucket_sampler.py").write_text(NOISE_SAMPLER)
    monkeypatch.syspath_prepend(tmp_path)
    arguments = (
        *(
            "compare",
            f"{url}/real",
            "--sampler",
            "bucket_sampler:make_sample",
            "--value-range=-1..1",
        ),
        *("--chunk-size", "16", "--num-images", "48", *OPTIONS),
        *("--checkpoints", f"{url}/checkpoints", "--out", f"{url}/run"),
    )
    table = run(capsys, *arguments)
    assert [line.split()[0] for line in table.splitlines()[1:3]] == ["step1", "step2"]
    before = bucket.proxy.answered
    assert run(capsys, *arguments) == table
    assert bucket.proxy.answered - before < 100
    bucket.proxy.faults = [RESET, BUSY]
    run(capsys, "report", f"{url}/run", "-o", f"{url}/pages/report.html")
    assert not bucket.proxy.faults
    page = read_file(f"{url}/pages/report.html", max_bytes=1 << 24)
    assert b"step1" in page and b"step2" in page
    assert "results.csv" in list_objects(as_path(f"{url}/run"))


def test_a_process_that_sigterm_ends_goes_on_from_the_bucket(bucket):
    url = bucket.url
    command = ["-m", "jaxfid", "score", f"{url}/real", f"{url}/noisy", *OPTIONS, "--json", "-"]
    resume = [*command, "--resume", f"{url}/kept", "--resume-every", "3600"]
    with processes([command], [bucket.environment]) as started:
        ((code, expected, _),) = finish(started)
    assert code == 0
    with processes([resume], [bucket.environment]) as started:
        while not (
            names := list_objects(as_path(f"{url}/kept")) if as_path(f"{url}/kept").exists() else {}
        ):
            assert started[0].poll() is None
        started[0].send_signal(signal.SIGTERM)
        ((code, _, stderr),) = finish(started)
    assert code == 143, stderr
    assert f"goes on from what is kept in {url}/kept" in stderr
    assert names
    with processes([resume], [bucket.environment]) as started:
        ((code, stdout, stderr),) = finish(started)
    assert code == 0, stderr
    got, wanted = (
        json.loads(text)["results"][0]["metrics"]["fid"]["value"] for text in (stdout, expected)
    )
    assert got == pytest.approx(wanted, rel=1e-9)
