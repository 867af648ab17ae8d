"""Downloads over a loopback server that errs, cuts, resumes and lies."""

import hashlib
import http.client
import socket
import urllib.request

import numpy as np
import pytest

from jaxfid.errors import InputError, WeightsUnavailableError
from jaxfid.extractors import download as download_module
from jaxfid.extractors.download import download
from tests.extractors.loopback import failing, ranged, respond, running_server, silent, whole

DATA = np.random.default_rng(0).bytes(600_000)
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with running_server() as running:
        yield running


@pytest.fixture
def destination(tmp_path):
    return tmp_path / "file.bin"


def fetch(server, destination, **options):
    known = {"size_bytes": len(DATA), "sha256": SHA256, "backoff_s": 0.001, "timeout_s": 5.0}
    download(server.url, destination, **known | options)


def part_of(destination):
    return destination.with_name("file.bin.part")


def assert_complete(destination):
    assert destination.read_bytes() == DATA
    assert list(destination.parent.iterdir()) == [destination]


def test_a_file_arrives_with_progress_on_stderr(server, destination, capsys):
    server.script = [whole(DATA)]
    fetch(server, destination)
    assert_complete(destination)
    assert server.requests == [("/file.bin", None)]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "file.bin" in captured.err and "600k/600k" in captured.err


def test_a_wrong_digest_deletes_what_came(server, destination):
    server.script = [whole(DATA[::-1])]
    with pytest.raises(WeightsUnavailableError, match=f"expected sha256 {SHA256}, found"):
        fetch(server, destination)
    assert list(destination.parent.iterdir()) == []
    assert len(server.requests) == 1


def test_a_cut_connection_is_resumed_where_it_broke(server, destination):
    server.script = [ranged(DATA, cut_after=250_000), ranged(DATA, cut_after=50_000), ranged(DATA)]
    fetch(server, destination)
    assert_complete(destination)
    ranges = [asked for _, asked in server.requests]
    assert ranges == [None, "bytes=250000-", "bytes=300000-"]


def test_a_later_call_goes_on_from_the_part(server, destination):
    server.script = [ranged(DATA, cut_after=100_000)]
    with pytest.raises(
        WeightsUnavailableError, match=r"try 2 of 2; 200000 of 600000 bytes are kept"
    ):
        fetch(server, destination, attempts=2)
    assert not destination.exists()
    server.script = [ranged(DATA)]
    fetch(server, destination)
    assert_complete(destination)
    assert server.requests[-1] == ("/file.bin", "bytes=200000-")


def test_a_server_without_ranges_gives_the_file_anew(server, destination):
    part_of(destination).write_bytes(b"x" * 1000)
    server.script = [whole(DATA)]
    fetch(server, destination)
    assert_complete(destination)
    assert server.requests == [("/file.bin", "bytes=1000-")]


@pytest.mark.parametrize(
    "content_range", ["bytes 0-599999/600000", "bytes 1000-599999/700000", "bytes */600000", ""]
)
def test_another_range_than_asked_for_starts_anew(server, destination, content_range):
    part_of(destination).write_bytes(DATA[:1000])
    server.script = [
        lambda handler: respond(handler, 206, DATA[1000:], Content_Range=content_range),
        ranged(DATA),
    ]
    fetch(server, destination)
    assert_complete(destination)
    assert [asked for _, asked in server.requests] == ["bytes=1000-", None]


def test_a_part_that_is_too_long_starts_anew(server, destination):
    part_of(destination).write_bytes(b"x" * 700_000)
    server.script = [failing(416), ranged(DATA)]
    fetch(server, destination)
    assert_complete(destination)


def test_a_part_that_is_complete_is_only_checked(server, destination):
    part_of(destination).write_bytes(DATA)
    fetch(server, destination)
    assert_complete(destination)
    assert server.requests == []


def test_a_part_of_something_else_is_found_by_its_digest(server, destination):
    part_of(destination).write_bytes(b"x" * 1000)
    server.script = [ranged(DATA)]
    with pytest.raises(WeightsUnavailableError, match="expected sha256"):
        fetch(server, destination)
    assert not part_of(destination).exists()
    fetch(server, destination)
    assert_complete(destination)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_final_at_once(server, destination, status):
    server.script = [failing(status)]
    with pytest.raises(WeightsUnavailableError, match=rf"file\.bin: the server answered {status} "):
        fetch(server, destination)
    assert len(server.requests) == 1


@pytest.mark.parametrize("fault", [failing(500), failing(503), failing(429), silent])
def test_a_passing_fault_is_tried_again(server, destination, fault):
    server.script = [fault, fault, whole(DATA)]
    fetch(server, destination)
    assert_complete(destination)
    assert len(server.requests) == 3


def test_a_lasting_fault_is_given_up(server, destination):
    server.script = [failing(502)]
    with pytest.raises(WeightsUnavailableError, match=r"answered 502 .*try 3 of 3"):
        fetch(server, destination, attempts=3)
    assert len(server.requests) == 3


def test_a_page_in_place_of_the_file_is_seen_by_its_length(server, destination):
    server.script = [whole(b"<html>please log in</html>")]
    with pytest.raises(
        WeightsUnavailableError, match="expected 600000 bytes, the server offers 26"
    ):
        fetch(server, destination)
    assert list(destination.parent.iterdir()) == []


def test_an_endless_answer_is_read_no_further_than_the_file(server, destination):
    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(DATA + b"more")
        handler.close_connection = True

    server.script = [endless]
    fetch(server, destination)
    assert_complete(destination)


def test_a_silent_connection_times_out(server, destination):
    def stall(handler):
        respond(handler, 200, DATA[:1000], announced=len(DATA))
        handler.rfile.read(1)  # until the other side hangs up
        handler.close_connection = True

    server.script = [stall, ranged(DATA)]
    fetch(server, destination, timeout_s=0.2)
    assert_complete(destination)
    assert server.requests[-1] == ("/file.bin", "bytes=1000-")


def test_no_server_at_all_is_said_at_once(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(WeightsUnavailableError, match=r"cannot be reached: .*try 1 of 5"):
        download(
            f"http://127.0.0.1:{port}/file.bin",
            tmp_path / "file.bin",
            size_bytes=1,
            sha256="",
            backoff_s=60.0,  # a wait would be noticed
        )


def test_a_redirect_from_https_to_http_is_refused():
    request = urllib.request.Request("https://weights.example/file.bin")
    follow = download_module._NoDowngrade().redirect_request
    with pytest.raises(WeightsUnavailableError, match="redirected from https to http://elsewhere"):
        follow(
            request,
            None,
            302,
            "Found",
            http.client.HTTPMessage(),
            "http://elsewhere.example/file.bin",
        )
    followed = follow(
        request, None, 302, "Found", http.client.HTTPMessage(), "https://elsewhere.example/file.bin"
    )
    assert followed.full_url == "https://elsewhere.example/file.bin"


def test_a_redirect_is_followed(server, destination):
    server.script = [
        lambda handler: respond(handler, 302, Location=server.url + "?moved"),
        whole(DATA),
    ]
    fetch(server, destination)
    assert_complete(destination)
    assert [path for path, _ in server.requests] == ["/file.bin", "/file.bin?moved"]


def test_a_link_in_place_of_the_part_is_not_followed(server, destination, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("theirs")
    part_of(destination).symlink_to(victim)
    server.script = [whole(DATA)]
    with pytest.raises(InputError, match=r"file\.bin\.part: cannot be written"):
        fetch(server, destination)
    assert victim.read_text() == "theirs"


def test_the_environments_proxy_is_used(server, destination, monkeypatch):
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    server.script = [whole(DATA)]
    download("http://weights.example/file.bin", destination, size_bytes=len(DATA), sha256=SHA256)
    assert_complete(destination)
    assert server.requests == [("http://weights.example/file.bin", None)]
