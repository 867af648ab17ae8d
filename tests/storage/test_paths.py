"""A path is local or names an object; both have pathlib's interface, and no third thing happens."""

import os
import pathlib
import pickle
import sys

import pytest

from jaxfid.errors import InputError
from jaxfid.storage.files import list_objects, write_file
from jaxfid.storage.paths import as_path, is_remote, match_paths


@pytest.fixture
def folder(tmp_path):
    """A folder of fsspec's store in memory, one of each test's own."""
    return as_path(f"memory:/{tmp_path}")


def test_a_local_path_is_pathlibs(tmp_path):
    path = as_path(tmp_path / "a.npz")
    assert isinstance(path, type(tmp_path)) and isinstance(path / "b", pathlib.Path)
    assert path == tmp_path / "a.npz" and hash(path) == hash(tmp_path / "a.npz")
    assert (str(path), os.fspath(path.parent)) == (f"{tmp_path}/a.npz", str(tmp_path))
    assert as_path(path) is path and pickle.loads(pickle.dumps(path)) == path
    assert as_path(f"file://{tmp_path}/a.npz") == path
    assert not is_remote(path)


@pytest.mark.parametrize("name", ["/s3/mounted", "/gs/mounted", "gs:/x", "C:\\x", "a:b"])
def test_what_only_looks_like_a_bucket_is_local(name):
    assert not is_remote(name)
    assert str(as_path(name)) == name


def test_files_that_end_in_a_tilde_are_listed(tmp_path):
    (tmp_path / "a.png~").touch()
    assert [p.name for p in as_path(tmp_path).iterdir()] == ["a.png~"]


def test_a_url_is_a_path_of_names():
    path = as_path("memory://bucket/key/x.tar.gz")
    assert str(path) == os.fspath(path) == "memory://bucket/key/x.tar.gz"
    assert (path.name, path.suffix, path.stem) == ("x.tar.gz", ".gz", "x.tar")
    assert [str(p) for p in path.parents][:2] == ["memory://bucket/key", "memory://bucket"]
    assert str(path.parent / "y" / "z") == "memory://bucket/key/y/z"
    assert str(path.with_name("z")) == "memory://bucket/key/z"
    assert str(path.with_suffix(".npz")) == "memory://bucket/key/x.tar.npz"
    assert path == as_path(str(path)) and pickle.loads(pickle.dumps(path)) == path
    assert is_remote(path) and is_remote(str(path))


def test_a_store_is_listed_as_a_folder_is(folder):
    for name in ("a.txt", "deep/b.txt", "deep/er/c.txt"):
        write_file(folder / name, name)
    assert folder.exists() and folder.is_dir() and not folder.is_file()
    assert sorted(p.name for p in folder.iterdir()) == ["a.txt", "deep"]
    assert (folder / "deep" / "b.txt").is_file()
    assert (folder / "deep" / "b.txt").read_text() == "deep/b.txt"
    sizes = {name: stat.num_bytes for name, stat in list_objects(folder).items()}
    assert sizes == {"a.txt": 5, "deep/b.txt": 10, "deep/er/c.txt": 13}
    (folder / "a.txt").unlink()
    (folder / "a.txt").unlink(missing_ok=True)
    assert not (folder / "a.txt").exists()
    with pytest.raises(FileNotFoundError):
        (folder / "a.txt").unlink()


def test_a_range_is_read_and_ends_with_the_object(folder):
    write_file(folder / "a", b"0123456789")
    assert (folder / "a").read_range(3, 4) == b"3456"
    assert (folder / "a").read_range(8, 4) == b"89"
    assert (folder / "a").read_range(8, 0) == b""


def test_a_scheme_that_nothing_serves_is_refused_and_makes_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="nowhere://b/k: nothing serves nowhere://"):
        write_file("nowhere://b/k", b"")
    with pytest.raises(InputError, match="nothing serves simplecache::gs://"):
        as_path("simplecache::gs://b/k")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("scheme", "package"), [("gs", "gcsfs"), ("s3", "s3fs"), ("az", "adlfs")])
def test_a_scheme_whose_package_is_missing_names_it(monkeypatch, scheme, package):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, scheme, raising=False)
    with pytest.raises(
        InputError, match=f"{scheme}:// needs another package: pip install {package}"
    ):
        as_path(f"{scheme}://bucket/key")


def test_a_pattern_names_what_matches_in_order_here_and_in_a_store(folder, tmp_path):
    for place in (folder, as_path(tmp_path)):
        for name in ("seed1/a", "seed0/a", "other/a"):
            (place / name).parent.mkdir(exist_ok=True)
            write_file(place / name, b"x")
        assert match_paths(str(place / "seed*")) == [place / "seed0", place / "seed1"]
        assert match_paths(str(place / "x*")) == [place / "x*"]
        assert match_paths(place / "seed0") == [place / "seed0"]
    (tmp_path / "seed2.txt").touch()
    assert match_paths(f"{tmp_path}/seed*/") == [tmp_path / "seed0", tmp_path / "seed1"]
    (tmp_path / "seed[0]").mkdir()  # a name that looks like a pattern
    assert match_paths(tmp_path / "seed[0]") == [tmp_path / "seed[0]"]
