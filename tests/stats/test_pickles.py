"""Pickled statistics of other tools are read; whatever else a pickle asks for does not happen."""

import pickle
import sys
import tracemalloc
import types

import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.stats.files import is_stats_file, load_stats
from jaxfid.storage import pickles

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
        (7, "found an unnamed value"),
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
    with pytest.raises(
        InputError,
        match=r"stats\.pkl: .* the global \w+\.open, which .*\.npz",
    ):
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
        (b"\x80\x04\x8c\x05numpy\x8c\x0adtype.char\x93.", "names the global numpy.dtype.char"),
        # BUILD with a pair sets attributes: here of the function that makes arrays.
        (hand_written(RECONSTRUCT, b"N}U\x09_functionI7\ns\x86b"), "sets the state of a Constructor"),
        (hand_written(RECONSTRUCT, b"}U\x09_functionI7\nsb"), "sets the state of a Constructor"),
        # An extension code, a persistent id.
        (hand_written(b"\x82\x07"), "opcode EXT1"),
        (hand_written(b"U\x03abcQ"), "persistent objects"),
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


def test_parts_that_share_parts_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(pickles, "MAX_ITEMS", 5000)
    tree = [0]
    for _ in range(30):
        tree = [tree, tree]  # 2**30 leaves to whoever walks it
    with pytest.raises(InputError, match=r"stats\.pkl: expected a pickle of at most .* parts"):
        load_stats(write(tmp_path, {"a": tree}))


def shared_pairs(start, count):
    """A pair of pairs of pairs: each level is one entry of the memo, which it replaces."""
    return start + b"q\x000" + b"".join(b"h\x00h\x00\x86q\x00" + b"0" for _ in range(count))


def shared_lists(depth):
    tree = [1.0, 1.0]
    for _ in range(depth):
        tree = [tree, tree]
    return tree


HOSTILE = {
    "a key twenty thousand deep": b"\x80\x02})" + b"\x85" * 20_000 + b"K\x01s.",
    "a key of shared pairs": b"\x80\x02})q\x00" + b"h\x00\x86q\x00" * 60 + b"K\x01s.",
    "a key of pairs that are popped": b"\x80\x02}" + shared_pairs(b")", 60) + b"h\x00K\x01s.",
    "a leaf of shared lists": pickle.dumps({"raw_mean": shared_lists(59), "raw_cov": [1.0]}, 4),
    "a leaf of small shared lists": pickle.dumps({"mu": [[1.0] * 9] * 9, "sigma": [1.0]}, 4),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_trees_are_refused_at_once(tmp_path, monkeypatch, name):
    # Fewer than outside: the tests check the types of each of these steps.
    monkeypatch.setattr(pickles, "MAX_OPERATIONS", 5000)
    monkeypatch.setattr(pickles, "MAX_ITEMS", 5000)
    path = tmp_path / "stats.pkl"
    path.write_bytes(HOSTILE[name])
    tracemalloc.start()
    with pytest.raises(InputError, match=r"stats\.pkl: "):
        load_stats(path)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 2**27


@pytest.mark.parametrize(
    "body",
    [
        b"cnumpy\ndtype\n)R",
        b"cnumpy\ndtype\n(NtR",
        b"cnumpy\ndtype\n(U\x02f8tRNb",
        b"cnumpy\ndtype\n(U\x02f8tR(K\x03tb",
        RECONSTRUCT + b"(tRNb",
        RECONSTRUCT + b"(tR(K\x01K\x01K\x01K\x01K\x01tb",
        RECONSTRUCT + b"(tR(K\x01(J\xff\xff\xff\xfftcnumpy\ndtype\n(U\x02f8tR\x89U\x00tb",
        RECONSTRUCT + b"(tR(K\x01(NtcNumpy\ndtype\n(U\x02f8tR\x89U\x00tb",
        b"cnumpy.core.multiarray\nscalar\n(NNtR",
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(U\x02f8tRU\x03abctR",
        b"cnumpy.core.numeric\n_frombuffer\n(NNNNtR",
        b"c_codecs\nencode\n(NNtR",
        b"c_codecs\nencode\n(X\x03\x00\x00\x00\xe2\x82\xacU\x06latin1tR",
        b"cdnnlib.util\nEasyDict\n(K\x01tR",
    ],
)
def test_forged_arrays_are_refused(tmp_path, body):
    path = tmp_path / "stats.pkl"
    path.write_bytes(hand_written(b"}U\x02mu" + body + b"sU\x05sigmaNs"))
    with pytest.raises(InputError, match=r"stats\.pkl: "):
        load_stats(path)


def test_a_file_of_python_2_is_read(tmp_path):
    array = b"cnumpy.core.multiarray\n_reconstruct\n(tR(K\x01(%s)cnumpy\ndtype\n(U\x02f8I0\nI1\ntR"
    state = b"(I3\nU\x01<NNNI-1\nI-1\nI0\ntbI00\nU"

    def of(values, shape):
        data = np.asarray(values, "<f8").tobytes()
        head = array.replace(b"(%s)", b"(" + b"".join(b"K" + bytes([n]) for n in shape) + b"t")
        return head + state + bytes([len(data)]) + data + b"tb"

    path = tmp_path / "stats.pkl"
    path.write_bytes(hand_written(b"(" + of(MEAN, (3,)) + of(COV, (3, 3)) + b"t"))
    check_loaded(path, None)


def test_stylegan2_pytorch_has_mean_and_cov(tmp_path):
    tree = {"mean": MEAN, "cov": COV, "size": 256, "path": "lmdb"}
    check_loaded(write(tmp_path, tree), None)


def edm2(**groups):
    trees = {name: {"mu": MEAN + shift, "sigma": COV} for name, shift in groups.items()}
    return {"num_images": 9, **trees}


def test_one_of_several_statistics_is_chosen_by_name(tmp_path):
    path = write(tmp_path, edm2(fd_dinov2=5, fid=0))
    check_loaded(path, 9)  # of a file with `fid`, that is meant
    check_loaded(f"{path}#fid", 9)
    np.testing.assert_allclose(load_stats(f"{path}#fd_dinov2").mean, MEAN + 5, rtol=1e-7)
    with pytest.raises(
        InputError, match="expected statistics called 'fd_clip', found fd_dinov2, fid"
    ):
        load_stats(f"{path}#fd_clip")
    with pytest.raises(InputError, match="called 'x', found one unnamed"):
        load_stats(f"{write(tmp_path, (MEAN, COV))}#x")


def test_a_bundle_of_files_asks_for_a_choice(tmp_path):
    path = write(tmp_path, {f"{n}/stats.npz": {"mu": MEAN, "sigma": COV} for n in ("clip", "mae")})
    with pytest.raises(
        InputError, match=r"a choice of clip/stats\.npz, mae/stats\.npz: .*PATH#NAME"
    ):
        load_stats(path)
    check_loaded(f"{path}#mae/stats.npz", None)
    check_loaded(write(tmp_path, {"only.npz": {"mu": MEAN, "sigma": COV}}), None)


def test_a_sharp_in_a_files_own_name_is_no_choice(tmp_path):
    path = write(tmp_path, edm2(fid=0)).rename(tmp_path / "stats#1.pkl")
    check_loaded(path, 9)
    check_loaded(f"{path}#fid", 9)


def test_a_pickle_is_known_by_its_content(tmp_path):
    check_loaded(write(tmp_path, edm2(fid=0)).rename(tmp_path / "refstats"), 9)


def test_a_dict_in_an_npy_is_read_without_running_it(tmp_path):
    np.save(tmp_path / "dict.npy", {"mu": MEAN, "sigma": COV}, allow_pickle=True)
    check_loaded(tmp_path / "dict.npy", None)
    mark = tmp_path / "was_run"
    np.save(tmp_path / "evil.npy", {"mu": Call(open, str(mark), "w")}, allow_pickle=True)
    with pytest.raises(InputError, match=r"evil\.npy: the pickle names the global \w+\.open"):
        load_stats(tmp_path / "evil.npy")
    assert not mark.exists()
