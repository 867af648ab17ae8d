"""Which weights are loaded, what they are called, and what the cache guards against."""

import dataclasses
import hashlib
import inspect
import os
import pathlib
import threading
import time

import numpy as np
import platformdirs
import pytest
import safetensors.numpy

from jaxfid.errors import InputError, WeightsUnavailableError
from jaxfid.extractors import manifest, weights
from jaxfid.extractors.inception import checkpoint
from jaxfid.extractors.inception.checkpoint import fold_params, untrained_params
from jaxfid.extractors.manifest import load_manifest
from jaxfid.extractors.networks import NETWORKS
from jaxfid.extractors.stored import download_weights, import_weights, weights_status
from jaxfid.extractors.weights import load_weights
from jaxfid.extractors.weights_file import read_tensors
from jaxfid.storage.digests import digest_arrays
from jaxfid.storage.files import write_file
from tests.extractors.loopback import failing, ranged, running_server, whole
from tests.extractors.torch_files import WRITERS, plain, write_sequential
from tests.shared_data import WEIGHTS, needs_shared

SHARED_SHA256 = "3f5ad01188f40d04dee8b0f9437433b94724a17bff7a7ec488b2d3f908be3d31"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache of the test's own, and nothing in the environment."""
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / "cache" / name))
    monkeypatch.delenv("JAXFID_WEIGHTS", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache" / "jaxfid" / "weights"


@pytest.fixture
def small_network(monkeypatch):
    """The same rules for a network of two convolutions and a small last layer."""
    convolutions = {"Conv2d_1a_3x3": (3, 3, 3, 4), "Mixed_5b.branch1x1": (1, 1, 4, 5)}
    monkeypatch.setattr(checkpoint, "CONVOLUTIONS", convolutions)
    monkeypatch.setattr(checkpoint, "_FC_SHAPE", (5, 7))
    expected = {n: (s, np.dtype(t)) for n, s, t in checkpoint._expected_tensors()}
    monkeypatch.setattr(checkpoint, "EXPECTED_TENSORS", expected)
    # Below the wrapper that checks types.
    defaults = inspect.unwrap(checkpoint.check_tensors).__kwdefaults__
    monkeypatch.setitem(defaults, "expected", expected)


def small_tensors(seed=0):
    """Tensors whose axes lie in memory in reversed order, as those of the official file do."""
    rng = np.random.default_rng(seed)
    return {
        name: np.asarray(rng.random(shape[::-1], np.float32) + 0.5, dtype).T
        for name, (shape, dtype) in checkpoint.EXPECTED_TENSORS.items()
    }


def contiguous(tensors):
    return {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}


def write_checkpoint(path, tensors, write=write_sequential):
    views = {name: plain(tensor, str(i)) for i, (name, tensor) in enumerate(tensors.items())}
    return write(path, views)


def files_below(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def sha256_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def official(small_network, tmp_path, monkeypatch):
    """A checkpoint of the small network which the manifest names."""
    path = write_checkpoint(tmp_path / "official.pth", small_tensors())
    release = dataclasses.replace(
        load_manifest()[0],
        file="official.pth",
        url="http://127.0.0.1:9/official.pth",  # the port of nobody
        size_bytes=path.stat().st_size,
        sha256=sha256_of(path),
    )
    monkeypatch.setattr(manifest, "load_manifest", lambda: (release,))
    return path


@pytest.fixture
def server(official, monkeypatch):
    with running_server() as running:
        release = dataclasses.replace(manifest.load_manifest()[0], url=running.url)
        monkeypatch.setattr(manifest, "load_manifest", lambda: (release,))
        running.script = [ranged(official.read_bytes())]
        yield running


def assert_same_params(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, dict):
            assert_same_params(found[name], value)
        else:
            np.testing.assert_array_equal(found[name], value, strict=True)


def test_the_manifest_names_the_release_with_its_digest():
    release = load_manifest()[0]
    assert release.name == "inception-2015-12-05"
    assert release.url.endswith("/" + release.file)
    assert release.file == f"pt_{release.name}-{release.sha256[:8]}.pth"
    assert (release.size_bytes, release.license) == (95_628_359, "Apache-2.0")


def test_the_readme_beside_the_manifest_tells_the_same():
    readme = (pathlib.Path(__file__).parents[2] / "weights" / "README.md").read_text()
    for release in load_manifest():
        size = release.size_bytes and f"{release.size_bytes:,}"
        for fact in (release.url, release.sha256, size, release.license, *release.networks):
            assert fact is None or fact in readme


def test_every_network_with_published_weights_is_in_the_manifest():
    named = [name for release in load_manifest() for name in release.networks]
    assert sorted(named) == sorted(["inception", *NETWORKS])
    for release in load_manifest():
        assert release.url.startswith("https://") and release.url.endswith("/" + release.file)
        assert release.sha256 is None or len(release.sha256) == 64


@pytest.mark.usefixtures("small_network")
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_path_is_loaded_and_called_unrecognised(tmp_path, write):
    path = write_checkpoint(tmp_path / "mine.pth", small_tensors(), write)
    loaded = load_weights(path)
    assert loaded.name == "unrecognised weights (mine.pth)"
    assert loaded.sha256 == sha256_of(path)
    assert not loaded.official
    assert_same_params(loaded.params, fold_params(small_tensors()))
    assert load_weights(str(path)).sha256 == loaded.sha256


def test_weights_may_lie_in_a_bucket(official, tmp_path):
    place = f"memory:/{tmp_path}/there.pth"
    write_file(place, official.read_bytes())
    assert load_weights(place).official
    assert import_weights(place).path.name == "official.pth"
    with pytest.raises(InputError, match="absent: expected a weights file, found no file there"):
        load_weights(f"memory:/{tmp_path}/absent")


def test_a_path_with_the_release_digest_carries_its_name(official):
    loaded = load_weights(official)
    assert (loaded.name, loaded.official) == ("inception-2015-12-05", True)


@pytest.mark.parametrize("name", ["absent.pth", "absent.safetensors", "."])
def test_a_path_without_a_file_is_an_input_error(tmp_path, name):
    with pytest.raises(InputError, match="expected a weights file, found no file there"):
        load_weights(tmp_path / name)


@pytest.mark.usefixtures("small_network")
def test_faults_name_the_file_and_every_tensor(tmp_path):
    tensors = small_tensors()
    del tensors["fc.bias"], tensors["fc.weight"]
    path = write_checkpoint(tmp_path / "mine.pth", tensors)
    with pytest.raises(InputError, match=r"mine\.pth: .*2 faults:\n.*fc\.bias\n.*fc\.weight"):
        load_weights(path)


def test_the_environment_variable_is_what_auto_loads(official, tmp_path, monkeypatch):
    import_weights(official)
    other = write_checkpoint(tmp_path / "other.pth", small_tensors(1))
    monkeypatch.setenv("JAXFID_WEIGHTS", str(other))
    assert load_weights().name == "unrecognised weights (other.pth)"
    assert load_weights(official).official  # a path given outright comes first
    monkeypatch.setenv("JAXFID_WEIGHTS", "")
    assert load_weights().official
    monkeypatch.setenv("JAXFID_WEIGHTS", str(tmp_path / "absent"))
    with pytest.raises(InputError, match=r"^JAXFID_WEIGHTS: .*absent: expected a weights file"):
        load_weights()


def test_untrained_says_so():
    loaded = load_weights("untrained")
    assert (loaded.name, loaded.official) == ("untrained", False)
    assert_same_params(loaded.params, untrained_params(0))
    assert loaded.sha256 == load_weights("untrained").sha256


def test_imported_official_weights_are_what_auto_loads(official, cache):
    direct = load_weights(official)
    stored = import_weights(official)
    assert stored.path == cache / stored.sha256[:16] / "official.pth"
    assert stored.path.read_bytes() == official.read_bytes()
    assert (stored.name, stored.sha256, stored.official) == (direct.name, direct.sha256, True)
    official.unlink()
    loaded = load_weights("auto")
    assert (loaded.name, loaded.sha256, loaded.official) == (direct.name, direct.sha256, True)
    assert_same_params(loaded.params, direct.params)


def test_unrecognised_weights_are_imported_but_never_what_auto_loads(official, tmp_path):
    other = write_checkpoint(tmp_path / "other.pth", small_tensors(1))
    stored = import_weights(other)
    assert (stored.name, stored.official) == ("unrecognised weights (other.pth)", False)
    assert load_weights(stored.path).name == stored.name
    assert load_weights(stored.path).sha256 == sha256_of(other)
    with pytest.raises(WeightsUnavailableError, match=f"not official: {stored.path}"):
        load_weights("auto")


def test_the_stored_file_can_be_carried_elsewhere(official, tmp_path):
    stored = import_weights(official)
    carried = tmp_path / "carried"  # the content decides, whatever the name
    stored.path.rename(carried)
    assert load_weights(carried).official
    assert import_weights(carried) == stored
    assert load_weights("auto").official


def test_metadata_that_claims_the_official_digest_is_not_believed(official, tmp_path, monkeypatch):
    claims = {name: sha256_of(official) for name in ("source_sha256", "content_sha256", "sha256")}
    path = tmp_path / "forged.safetensors"
    for seed in (0, 1):  # a converted copy of the official tensors proves itself no better
        safetensors.numpy.save_file(contiguous(small_tensors(seed)), path, claims)
        loaded = load_weights(path)
        assert loaded.name == "unrecognised weights (forged.safetensors)"
        assert (loaded.sha256, loaded.official) == (sha256_of(path), False)
        assert not import_weights(path).official
    with pytest.raises(WeightsUnavailableError, match="not official"):
        load_weights("auto")


def test_a_converted_copy_is_known_by_its_tensors_once_their_digest_is(
    official, tmp_path, monkeypatch
):
    digest = digest_arrays(small_tensors())
    release = dataclasses.replace(manifest.load_manifest()[0], tensors_sha256=digest)
    monkeypatch.setattr(manifest, "load_manifest", lambda: (release,))
    path = tmp_path / "converted.safetensors"
    safetensors.numpy.save_file(contiguous(small_tensors()), path)
    assert load_weights(path).official
    other = small_tensors()
    other["fc.bias"] = other["fc.bias"] + np.float32(1e-6)
    safetensors.numpy.save_file(contiguous(other), path)
    assert not load_weights(path).official


def test_what_the_first_edition_stored_is_not_official_and_said(official, cache):
    cache.mkdir(parents=True)
    old = cache / "inception-2015-12-05-0123456789abcdef.safetensors"
    safetensors.numpy.save_file(
        contiguous(small_tensors()), old, {"source_sha256": sha256_of(official)}
    )
    with pytest.raises(WeightsUnavailableError, match=rf"{old}: made by jaxfid 0\.1"):
        load_weights("auto")
    (fault,) = weights_status().damaged
    assert "jaxfid weights import" in fault
    assert not load_weights(old).official
    import_weights(official)
    assert load_weights("auto").official


def test_a_safetensors_name_given_twice_is_refused(tmp_path):
    entry = '"a":{"dtype":"F32","shape":[1],"data_offsets":[%d,%d]}'
    header = ("{" + entry % (0, 4) + "," + entry % (4, 8) + "}").encode()
    path = tmp_path / "twice.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(InputError, match=r"twice\.safetensors: no intact safetensors file"):
        load_weights(path)


@pytest.mark.parametrize("position", [0, 20, -1], ids=["magic", "pickle", "numbers"])
def test_a_damaged_cache_is_said_with_its_remedy(official, position):
    path = import_weights(official).path
    data = bytearray(path.read_bytes())
    data[position] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(WeightsUnavailableError, match=rf"{path}: (.|\n)*jaxfid weights download"):
        load_weights("auto")
    (fault,) = weights_status().damaged
    assert str(path) in fault


def test_a_stored_file_that_was_changed_is_refused_by_its_path(official, tmp_path):
    other = import_weights(write_checkpoint(tmp_path / "other.pth", small_tensors(1))).path
    write_checkpoint(other, small_tensors(2))
    with pytest.raises(InputError, match=rf"{other}: expected the weights of sha256 .* changed"):
        load_weights(other)
    (fault,) = weights_status().damaged
    assert str(other) in fault


def test_a_cache_with_other_weights_under_the_official_name_is_refused(official, tmp_path):
    path = import_weights(official).path
    other = import_weights(write_checkpoint(tmp_path / "other.pth", small_tensors(1))).path
    other.replace(path)
    with pytest.raises(WeightsUnavailableError, match="expected the weights of sha256"):
        load_weights("auto")


def test_auto_downloads_what_is_not_there(server, official, cache, capsys):
    loaded = load_weights("auto")
    assert loaded.official
    assert_same_params(loaded.params, load_weights(official).params)
    assert load_weights("auto").official
    assert len(server.requests) == 1
    assert files_below(cache) == [f"{loaded.sha256[:16]}/official.pth", "lock"]
    captured = capsys.readouterr()
    assert captured.out == "" and "official.pth" in captured.err


def test_download_leaves_intact_weights_and_replaces_damaged_ones(server, official):
    stored = download_weights()
    assert stored == download_weights()
    assert len(server.requests) == 1
    stored.path.write_bytes(stored.path.read_bytes()[:-1])
    assert download_weights() == stored
    assert len(server.requests) == 2
    assert load_weights("auto").official


def test_a_download_of_something_else_stores_nothing(server, official, cache):
    server.script = [whole(official.read_bytes()[::-1])]
    with pytest.raises(WeightsUnavailableError, match="expected sha256"):
        download_weights()
    assert files_below(cache) == ["lock"]


def test_a_download_that_was_cut_off_is_taken_up(server, official, cache):
    server.script = [ranged(official.read_bytes(), cut_after=1000), failing(404)]
    with pytest.raises(WeightsUnavailableError, match=r"1000 of .* bytes are kept|404"):
        download_weights()
    part = next(name for name in files_below(cache) if name != "lock")
    assert part.endswith("/official.pth.part")
    assert weights_status().stored == weights_status().damaged == ()
    server.script = [ranged(official.read_bytes())]
    download_weights()
    assert server.requests[-1][1] == "bytes=1000-"
    assert load_weights("auto").official


def test_without_network_and_weights_there_are_three_ways_out(official):
    with pytest.raises(WeightsUnavailableError) as caught:
        load_weights("auto")
    message = str(caught.value)
    assert "cannot be reached" in message
    for way in (
        "jaxfid weights import FILE",
        "--weights PATH, or JAXFID_WEIGHTS=PATH",
        "--weights untrained",
        weights.official_release().url,
    ):
        assert way in message


def test_a_release_that_is_gone_has_the_same_ways_out(server):
    server.script = [failing(404)]
    with pytest.raises(WeightsUnavailableError, match=r"404 (.|\n)*Three ways on"):
        load_weights("auto")


def test_a_cache_that_cannot_be_written_is_said(official, cache):
    cache.parent.parent.write_text("a file where the folder should be")
    with pytest.raises(WeightsUnavailableError, match=r"cannot be written: .*XDG_CACHE_HOME"):
        import_weights(official)


def test_a_failed_write_leaves_nothing(official, cache, monkeypatch):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(WeightsUnavailableError, match="No space left on device"):
        import_weights(official)
    assert files_below(cache) == []


def test_status_tells_what_there_is(official, tmp_path, cache, monkeypatch):
    status = weights_status()
    assert (status.stored, status.damaged, status.environment) == ((), (), None)
    assert status.cache_dir == cache and not cache.exists()
    first = import_weights(official)
    second = import_weights(write_checkpoint(tmp_path / "other.pth", small_tensors(1)))
    monkeypatch.setenv("JAXFID_WEIGHTS", "elsewhere.pth")
    status = weights_status()
    assert set(status.stored) == {first, second}
    assert status.environment == "elsewhere.pth"
    assert status.release.sha256 == first.sha256


def test_processes_that_want_weights_at_once_download_them_once(server, official):
    served = server.script[0]

    def slowly(handler):
        time.sleep(0.2)
        served(handler)

    server.script = [slowly]
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(download_weights().path)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == 1
    assert len(set(found)) == 1 and len(found) == 4


def test_writers_of_one_file_do_not_disturb_each_other(official):
    path = import_weights(official).path
    stop = threading.Event()

    def write_on():
        while not stop.is_set():
            import_weights(official)

    writers = [threading.Thread(target=write_on) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(15):
            assert read_tensors(path).sha256 == sha256_of(official)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert list(path.parent.iterdir()) == [path]


@needs_shared
def test_the_shared_file_is_unrecognised():
    loaded = load_weights(WEIGHTS)
    assert loaded.sha256 == SHARED_SHA256
    assert loaded.name == "unrecognised weights (inception-2015-12-05-partial.pth)"
    assert not loaded.official


@pytest.mark.slow
@needs_shared
def test_the_shared_file_is_the_same_from_the_cache():
    loaded, again = load_weights(WEIGHTS), load_weights(import_weights(WEIGHTS).path)
    assert (again.name, again.sha256) == (loaded.name, loaded.sha256)
    assert_same_params(again.params, loaded.params)
    assert_same_params(loaded.params, fold_params(read_tensors(WEIGHTS).tensors))
