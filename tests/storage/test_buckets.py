"""Objects of real servers on loopback, through a proxy that breaks what goes through it."""

from concurrent.futures import ThreadPoolExecutor

import fsspec
import numpy as np
import pytest

from jaxfid.checkpoints.find import find_checkpoints
from jaxfid.errors import InputError
from jaxfid.images.batches import Batches
from jaxfid.images.identity import identify_source
from jaxfid.images.sources import open_source
from jaxfid.storage import files, paths, retries
from jaxfid.storage.digests import digest_bytes, digest_file
from jaxfid.storage.faults import AccessError, UnreachableError
from jaxfid.storage.files import (
    check_writable,
    list_objects,
    open_file,
    read_file,
    stat_file,
    write_file,
)
from jaxfid.storage.npz import read_npz
from jaxfid.storage.paths import as_path, match_paths
from jaxfid.storage.random_access import FileReader
from tests.images.files import make_files, make_images, read_all, write_tar, write_zip
from tests.storage.bucket_servers import serve
from tests.storage.faulty_proxy import BUSY, CUT, DENIED, RESET

# gcsfs hands bytes to aiohttp, which would rather have a file.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
DATA = np.random.default_rng(0).bytes(3 << 20)


PLACES = ["s3", pytest.param("gs", marks=pytest.mark.buckets)]


@pytest.fixture(scope="module", params=PLACES)
def served(request):
    with serve(request.param) as bucket:
        write_file(f"{bucket.url}/data", DATA)
        yield bucket


@pytest.fixture
def bucket(served, monkeypatch):
    monkeypatch.setattr(retries, "FIRST_WAIT_S", 0.01)
    # So that our own tries are what is tested; gcsfs's cannot be turned off.
    scheme = served.url.partition("://")[0]
    monkeypatch.setattr(fsspec.get_filesystem_class(scheme), "retries", 1, raising=False)
    served.proxy.reset()
    yield served
    served.proxy.reset()


def test_an_object_is_written_listed_read_and_removed(bucket):
    folder = as_path(f"{bucket.url}/round trip")
    for name in ("a.txt", "deep/b c.txt"):
        write_file(folder / name, name)
    assert folder.is_dir() and folder.exists() and not folder.is_file()
    assert (folder / "a.txt").is_file() and not (folder / "none").exists()
    assert sorted(p.name for p in folder.iterdir()) == ["a.txt", "deep"]
    assert {n: s.num_bytes for n, s in list_objects(folder).items()} == {
        "a.txt": 5,
        "deep/b c.txt": 12,
    }
    assert match_paths(folder / "a*") == [folder / "a.txt"]
    assert read_file(folder / "deep/b c.txt", max_bytes=99) == b"deep/b c.txt"
    check_writable(folder / "new/result.json")
    assert not (folder / "new").exists()
    (folder / "a.txt").unlink()
    assert [p.name for p in folder.iterdir()] == ["deep"]


def test_an_object_that_was_replaced_has_another_version(bucket):
    path = f"{bucket.url}/replaced"
    write_file(path, b"first")
    first = stat_file(path)
    assert list_objects(as_path(bucket.url))["replaced"] == first
    write_file(path, b"other")
    second = stat_file(path)
    assert first.version and second.version and first.version != second.version
    assert first.num_bytes == second.num_bytes


@pytest.mark.parametrize("fault", [CUT, RESET, BUSY])
def test_a_read_and_a_write_outlive_a_fault(bucket, fault):
    bucket.proxy.faults = [fault, fault]
    assert FileReader(f"{bucket.url}/data").read_at(1000, 1 << 20) == DATA[1000 : 1000 + (1 << 20)]
    assert not bucket.proxy.faults
    bucket.proxy.faults = [fault, fault]
    write_file(f"{bucket.url}/written", DATA[:100_000])
    bucket.proxy.faults = []  # an empty answer cannot be cut
    assert read_file(f"{bucket.url}/written", max_bytes=1 << 20) == DATA[:100_000]
    bucket.proxy.faults = [fault, fault]
    assert as_path(f"{bucket.url}/data").is_file()


def test_a_long_read_goes_on_where_it_broke(bucket):
    bucket.proxy.faults = ["", "", CUT, "", CUT]  # of a look at the object and its ranges
    assert digest_file(f"{bucket.url}/data") == digest_bytes(DATA)
    assert not bucket.proxy.faults
    ranges = [r for r in bucket.proxy.ranges if r]
    # Each that was cut once more, and nothing else; one of the two may be another look at the object.
    assert 1 <= len(ranges) - len(set(ranges)) <= 2
    assert bucket.proxy.answered < 9


def test_a_place_that_stays_down_is_said_with_the_number_of_tries(bucket, monkeypatch):
    monkeypatch.setattr(retries, "TRIES", 1)  # the libraries have tries of their own
    bucket.proxy.is_down = True
    with pytest.raises(
        UnreachableError, match=rf"^{bucket.url}/data: no answer after 1 tries in \d+ s: "
    ):
        open_file(f"{bucket.url}/data")


def test_what_is_not_there_is_said(bucket):
    nowhere = bucket.url.replace("jaxfid-test", "jaxfid-nowhere")
    with pytest.raises(InputError, match=rf"^{bucket.url}/none: cannot be read: nothing there$"):
        open_file(f"{bucket.url}/none")
    with pytest.raises(InputError, match=rf"cannot be read: no bucket {nowhere}$"):
        read_file(f"{nowhere}/x", max_bytes=9)
    with pytest.raises(InputError, match=rf"cannot be written: no bucket {nowhere}$"):
        check_writable(f"{nowhere}/x")
    assert not as_path(nowhere).exists()  # and was not made


@pytest.mark.parametrize("path", ["", "/data"])
def test_a_refusal_is_said_with_what_to_do(bucket, path):
    bucket.proxy.faults = [DENIED] * 99
    remedy = (
        "AWS_PROFILE" if bucket.url.startswith("s3") else "gcloud auth application-default login"
    )
    with pytest.raises(AccessError, match=rf"^{bucket.url}{path}: no access: .*; .*{remedy}"):
        open_source(f"{bucket.url}{path}")


def test_requests_at_a_time_are_bounded(bucket):
    bucket.proxy.delay_s = 0.05
    path = as_path(f"{bucket.url}/data")
    with ThreadPoolExecutor(64) as pool:
        found = list(pool.map(lambda i: path.read_range(i, 10), range(128)))
    assert found == [DATA[i : i + 10] for i in range(128)]
    assert 10 < bucket.proxy.most_at_once <= retries.MAX_CONNECTIONS


def test_an_npz_is_read_by_ranges(bucket):
    arrays = {"a": np.arange(1000), "b": np.frombuffer(DATA, np.uint8)}
    write_file(f"{bucket.url}/arrays.npz", lambda file: np.savez(file, **arrays))
    bucket.proxy.reset()
    assert (read_npz(f"{bucket.url}/arrays.npz", ["a"])["a"] == arrays["a"]).all()
    assert len([r for r in bucket.proxy.ranges if r]) <= 4


FILES = make_files([f"{label}/{number}.png" for label in "ab" for number in range(8)])


@pytest.fixture(scope="module")
def sets(served, tmp_path_factory):
    """The same images as a folder, a zip and a tar in the bucket."""
    folder = tmp_path_factory.mktemp("sets")
    for path in (write_zip(folder / "x.zip", FILES), write_tar(folder / "x.tar", FILES)):
        write_file(f"{served.url}/sets/{path.name}", path.read_bytes())
    for key, data in FILES.items():
        write_file(f"{served.url}/sets/x/{key}", data)
    np.save(folder / "x.npy", make_images(len(FILES)))
    write_file(f"{served.url}/sets/x.npy", (folder / "x.npy").read_bytes())
    return f"{served.url}/sets"


@pytest.mark.parametrize("name", ["x", "x.zip", "x.tar", "x.npy"])
def test_an_image_is_one_request_and_an_identity_none(bucket, sets, name):
    source = open_source(f"{sets}/{name}")
    opening = bucket.proxy.answered
    assert opening <= 12  # to look, to list and to read the listing, whatever the number of images
    first = identify_source(source)
    assert bucket.proxy.answered - opening <= 1  # a tar's archive is opened once more
    source.read(0)
    before = bucket.proxy.answered
    np.testing.assert_array_equal(read_all(source), make_images(len(FILES)))
    assert bucket.proxy.answered - before == len(FILES)
    assert identify_source(open_source(f"{sets}/{name}")) == first
    if name != "x.npy":
        assert source.labels == [*"a" * 8, *"b" * 8]


def test_an_outage_is_not_taken_for_broken_images(bucket, sets, monkeypatch):
    batches = Batches(
        open_source(f"{sets}/x"), batch_size=4, num_workers=0, prepare=lambda x: x, on_error="skip"
    )
    monkeypatch.setattr(retries, "TRIES", 1)
    bucket.proxy.is_down = True
    with pytest.raises(UnreachableError, match="no answer after 1 tries"):
        list(batches)


def test_an_object_that_changed_its_size_meanwhile_is_named(bucket, sets):
    source = open_source(f"{sets}/x")
    key = source.keys[-1]
    for data in (FILES[key] + b"x", FILES[key][:-1]):
        write_file(f"{sets}/x/{key}", data)
        with pytest.raises(
            InputError, match=f"{key}: expected {len(FILES[key])} bytes as it was listed"
        ):
            source.read(len(FILES) - 1)
    write_file(f"{sets}/x/{key}", FILES[key])


def test_a_large_object_is_read_in_pieces(bucket, monkeypatch):
    for module in (paths, files):
        monkeypatch.setattr(module, "MAX_PIECE_BYTES", 1 << 19)
    bucket.proxy.faults = ["", "", CUT]
    assert read_file(f"{bucket.url}/data", max_bytes=1 << 23) == DATA
    assert not bucket.proxy.faults


def test_a_checkpoint_is_found_once_it_is_whole_and_stamped_by_its_objects(bucket):
    for name in ("7/_CHECKPOINT_METADATA", "7/manifest.ocdbt", "8.msgpack"):
        write_file(f"{bucket.url}/run/{name}", b"first")
    is_gs = bucket.url.startswith("gs")  # where Orbax says by a file that it has finished
    steps = [c.step for c in find_checkpoints([f"{bucket.url}/run"])]
    assert steps == ([8] if is_gs else [7, 8])
    write_file(f"{bucket.url}/run/7/commit_success.txt", b"")
    found = find_checkpoints([f"{bucket.url}/run"])
    assert [c.step for c in found] == [7, 8]
    before = [c.stamp() for c in found]
    assert [c.stamp() for c in found] == before
    write_file(f"{bucket.url}/run/7/manifest.ocdbt", b"other")  # as long as it was
    assert [c.stamp() == b for c, b in zip(found, before, strict=True)] == [False, True]
