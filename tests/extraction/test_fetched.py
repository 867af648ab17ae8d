"""Sets by URL: fetched once, and known by their digest."""

import hashlib
import pathlib

import numpy as np
import platformdirs
import pytest

import jaxfid
from jaxfid.errors import InputError
from jaxfid.evaluate import compute_metrics
from jaxfid.extraction import fetched
from jaxfid.extraction.image_set import open_image_set
from jaxfid.extractors import download as downloads
from jaxfid.stats.files import save_stats
from tests.extractors.loopback import failing, ranged, running_server
from tests.tiny import TINY

IMAGES = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), dtype=np.uint8)


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / "cache" / name))
    with running_server() as running:
        yield running


def serve(server, data):
    server.script = [ranged(data)]
    return f"{server.url}#sha256={hashlib.sha256(data).hexdigest()}"


def stats_bytes(tmp_path):
    stats = jaxfid.compute_stats(IMAGES, extractor=TINY)
    save_stats(tmp_path / "s.npz", stats)
    return stats, (tmp_path / "s.npz").read_bytes()


def test_a_reference_by_url_is_fetched_once_and_named_by_it(server, tmp_path):
    stats, data = stats_bytes(tmp_path)
    url = serve(server, data)
    expected = compute_metrics(stats, [IMAGES // 2], extractor=TINY).results[0].metrics["fd_tiny"]
    for _ in range(2):
        result = compute_metrics(url, [IMAGES // 2], extractor=TINY)
        assert result.results[0].metrics["fd_tiny"].value == expected.value
        assert result.reference["name"] == url
    assert len(server.requests) == 1


def test_a_download_that_breaks_goes_on_without_a_known_size(server, tmp_path, monkeypatch):
    _, data = stats_bytes(tmp_path)
    url = serve(server, data)
    server.script = [ranged(data, cut_after=100), ranged(data)]
    plain = downloads.download
    monkeypatch.setattr(downloads, "download", lambda *a, **k: plain(*a, **k, backoff_s=0.001))
    assert open_image_set(url).stats is not None
    assert [asked for _, asked in server.requests] == [None, "bytes=100-"]


def test_one_of_several_statistics_is_named_before_the_digest(server, tmp_path):
    made = {"extractor": "dinov2_vitl14", "protocol": "edm2", "dims": 1024}
    save_stats(
        tmp_path / "r.pkl", jaxfid.Stats(np.ones(1024), np.eye(1024), 9, made), format="edm2"
    )
    url = serve(server, (tmp_path / "r.pkl").read_bytes())
    assert len(open_image_set(url.replace("#", "#fd_dinov2#")).stats.mean) == 1024
    with pytest.raises(InputError, match=r"expected statistics called .fid., found fd_dinov2"):
        open_image_set(url.replace("#", "#fid#"))


def test_another_file_than_the_digest_s_is_refused(server, tmp_path):
    url = serve(server, b"one file")
    server.script = [ranged(b"another")]
    with pytest.raises(InputError, match=r"expected sha256 .*, found .*; the file was deleted"):
        open_image_set(url)


def test_a_file_of_the_cache_that_was_changed_is_fetched_again(server, tmp_path):
    _, data = stats_bytes(tmp_path)
    url = serve(server, data)
    pathlib.Path(fetched.fetch_set(url)).write_bytes(b"changed")
    assert open_image_set(url).stats is not None
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        ("", "expected the file's digest behind its address"),
        ("#sha256=12", "expected the file's digest"),
        ("#fd_dinov2", "expected the file's digest"),
    ],
)
def test_an_address_without_a_digest_is_refused_before_it_is_asked(server, tail, message):
    with pytest.raises(InputError, match=message):
        open_image_set(server.url + tail)
    assert not server.requests


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/a/ref.tar", "ref.tar"),
        ("/..", "file"),
        ("/a/%2e%2e%2f%2e%2ex", "x"),
        ("/", "file"),
        ("/a%00b.npz", "a_b.npz"),
    ],
)
def test_an_address_names_no_place_outside_the_cache(path, name):
    assert fetched._file_name(f"https://host{path}") == name


def test_a_file_that_is_not_there_or_of_no_size_is_an_error_that_names_it(server):
    url = serve(server, b"x")
    server.script = [failing(404)]
    with pytest.raises(InputError, match=r"127.*: the server answered 404"):
        open_image_set(url)

    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"x")

    server.script = [endless]
    with pytest.raises(InputError, match="expected a server that says the size"):
        open_image_set(url)
