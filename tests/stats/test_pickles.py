"""Pickled statistics of other tools are read; whatever else a pickle asks for does not happen."""

import pickle
import sys
import tracemalloc
import types

import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.stats.files import is_stats_file, load_stats

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(9, 3)).astype(np.float32)
MEAN, COV = FEATURES.mean(axis=0), np.cov(FEATURES, rowvar=False)
PROTOCOLS = range(2, pickle.HIGHEST_PROTOCOL + 1)


@pytest.fixture
def easy_dict(monkeypatch):
    """The dict that NVIDIA's tools pickle, under the name that they give it."""
    module = types.ModuleType("dnnlib.util")
    module.EasyDict = type("EasyDict", (dict,), {"__module__": "dnnlib.util"})
    monkeypatch.setitem(sys.modules, "dnnlib", types.ModuleType("dnnlib"))
    monkeypatch.setitem(sys.modules, "dnnlib.util", module)
    return module.EasyDict


def stylegan_sums(**changes):
    """What `FeatureStats.save` of StyleGAN2-ADA and StyleGAN3 pickles: its `__dict__`."""
    x = FEATURES.astype(np.float64)
    flags = {"capture_all": False, "capture_mean_cov": True, "max_items": 9, "all_features": []}
    sums = {"num_items": 9, "num_features": 3, "raw_mean": x.sum(axis=0), "raw_cov": x.T @ x}
    return {**flags, **sums, **changes}


def write(tmp_path, tree, protocol=4):
    path = tmp_path / "stats.pkl"
    path.write_bytes(pickle.dumps(tree, protocol=protocol))
    return path


def check_loaded(path, count):
    assert is_stats_file(path)
    stats = load_stats(path)
    np.testing.assert_allclose(stats.mean, MEAN, rtol=0, atol=1e-6)  # some means are float32
    np.testing.assert_allclose(stats.cov, COV, rtol=0, atol=1e-14)
    assert stats.mean.dtype == stats.cov.dtype == np.float64
    assert (stats.count, stats.provenance) == (count, None)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_edm2_has_one_dict_per_network(tmp_path, easy_dict, protocol):
    dinov2 = {"mu": np.zeros(5), "sigma": np.eye(5)}
    tree = {"num_images": 9, "fid": easy_dict(mu=MEAN, sigma=COV), "fd_dinov2": dinov2}
    check_loaded(write(tmp_path, tree, protocol), 9)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_stylegan2_ada_has_sums(tmp_path, protocol):
    check_loaded(write(tmp_path, stylegan_sums(), protocol), 9)
    check_loaded(write(tmp_path, stylegan_sums(num_items=np.int64(9)), protocol), 9)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_stylegan2_has_a_pair(tmp_path, protocol):
    check_loaded(write(tmp_path, (MEAN, COV), protocol), None)


def test_arrays_of_any_layout_and_byte_order_are_read(tmp_path):
    for cov in (np.asfortranarray(COV), COV.astype(">f8"), COV[::-1, ::-1][::-1, ::-1]):
        for protocol in PROTOCOLS:
            check_loaded(write(tmp_path, {"mu": MEAN, "sigma": cov}, protocol), None)


def test_names_of_numpy_before_version_2_are_known(tmp_path):
    path = write(tmp_path, (MEAN, COV), protocol=3)
    old = path.read_bytes().replace(b"numpy._core.", b"numpy.core.")
    assert old != path.read_bytes()
    path.write_bytes(old)
    check_loaded(path, None)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"mu": MEAN}, "expected mu and sigma, found mu alone"),
        ({"weights": COV}, "expected one of the pairs .*; found weights"),
        ([1], r"expected \[0\] and \[1\], found \[0\] alone"),
        (7, "found none"),
        ({"mu": "text", "sigma": COV}, "mu: expected real numbers"),
        ({"mu": MEAN, "sigma": np.array([MEAN, None], object)}, "expected arrays of numbers"),
        ({"fid": {"mu": MEAN, "sigma": COV}, "num_images": 1}, "num_images: expected a number"),
        (stylegan_sums(raw_cov=np.zeros((3, 3))), "raw_cov: .* only features were captured"),
        (stylegan_sums(raw_mean=None), "raw_mean: expected real numbers"),
        ({"raw_mean": MEAN, "raw_cov": COV}, "expected num_items beside raw_mean"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(tmp_path, tree, message):
    with pytest.raises(InputError, match=message) as error:
        load_stats(write(tmp_path, tree))
    assert "stats.pkl" in str(error.value)


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_but_the_table_is_called(tmp_path, protocol):
    mark = tmp_path / "was_run"
    path = write(tmp_path, {"mu": Call(open, str(mark), "w"), "sigma": COV}, protocol)
    with pytest.raises(InputError, match=r"the pickle asks for \w+\.open"):
        load_stats(path)
    assert not mark.exists()


def hand_written(*parts):
    return b"\x80\x02" + b"".join(parts) + b"."


BYTES = b"c_codecs\nencode\n(U\x0888888888U\x06latin1tR"
RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged"),
        (b"\x80\x04text", "damaged"),
        (pickle.dumps({"mu": COV})[:-40], "damaged"),
        # A dotted name would reach the modules that ours imports.
        (b"\x80\x04\x8c\x05numpy\x8c\x0adtype.char\x93.", "asks for numpy.dtype.char"),
        # BUILD with a pair sets attributes: here of the function that makes arrays.
        (hand_written(RECONSTRUCT, b"N}U\x09_functionI7\ns\x86b"), "alter a function"),
        (hand_written(RECONSTRUCT, b"}U\x09_functionI7\nsb"), "damaged"),
        # An extension code, a persistent id.
        (hand_written(b"\x82\x07"), "damaged"),
        (hand_written(b"U\x03abcQ"), "damaged"),
        # A dtype that is none, and a state that belongs to none.
        (hand_written(b"cnumpy\ndtype\n(U\x03f80tR"), "expected arrays of numbers"),
        (hand_written(b"cnumpy\ndtype\n(U\x02f8tR(I3\nU\x01?tb"), "byte order"),
        # An array that claims more values than it brings.
        (
            hand_written(
                RECONSTRUCT, b"(tR(I1\n(I9\nI9\nt", b"cnumpy\ndtype\n(U\x02f8tRI00\n", BYTES, b"tb"
            ),
            "cannot reshape array of size 1",
        ),
    ],
)  # fmt: skip
def test_hostile_bytes_are_refused(tmp_path, content, message):
    path = tmp_path / "stats.pkl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_stats(path)


def test_a_large_memo_index_claims_no_memory(tmp_path):
    path = tmp_path / "stats.pkl"
    path.write_bytes(hand_written(b"}r\x00\x00\x00\x01"))  # put the dict into place 2**24
    tracemalloc.start()
    with pytest.raises(InputError, match="expected one of the pairs"):
        load_stats(path)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 2**24


def test_parts_that_share_parts_cost_nothing(tmp_path):
    tree = [0]
    for _ in range(60):
        tree = [tree, tree]  # 2**60 leaves to whoever walks it
    with pytest.raises(InputError, match="expected one of the pairs"):
        load_stats(write(tmp_path, {"a": tree}))
