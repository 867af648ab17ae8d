"""Digests know content again: equal content has one, and every part of it counts."""

import hashlib
import io

import numpy as np
import pytest

from jaxfid.errors import InputError
from jaxfid.storage.digests import (
    digest_arrays,
    digest_bytes,
    digest_file,
    digest_json,
    digest_stream,
    digest_text,
)
from jaxfid.storage.files import write_file

DATA = np.random.default_rng(0).bytes(3_000_000)  # several blocks of reading
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.mark.parametrize("scheme", ["", "memory:/"])
def test_a_file_has_the_digest_of_its_bytes(tmp_path, scheme):
    write_file(f"{scheme}{tmp_path}/file", DATA)
    assert digest_file(f"{scheme}{tmp_path}/file") == digest_bytes(DATA) == SHA256
    with pytest.raises(InputError, match="absent: cannot be read"):
        digest_file(f"{scheme}{tmp_path}/absent")


def test_a_stream_is_read_from_where_it_stands():
    stream = io.BytesIO(b"head" + DATA)
    stream.seek(4)
    assert digest_stream(stream) == SHA256


def test_texts_that_are_no_unicode_have_a_digest():
    assert digest_text("ü") == digest_bytes("ü".encode())
    assert digest_text("\udcff") != digest_text("\udcfe")


def test_the_order_of_names_does_not_matter():
    assert digest_json({"a": 1, "b": [1, 2]}) == digest_json({"b": [1, 2], "a": 1})
    assert digest_json({"a": [1, 2]}) != digest_json({"a": [2, 1]})


def test_arrays_count_by_name_type_shape_and_numbers():
    a = np.arange(6.0).reshape(2, 3)
    digest = digest_arrays({"a": a, "b": a[0]})
    assert digest == digest_arrays({"b": a[0].copy(), "a": np.asfortranarray(a)})
    others = [
        {"a": a, "c": a[0]},
        {"a": a.astype(np.float32), "b": a[0]},
        {"a": a.reshape(3, 2), "b": a[0]},
        {"a": a + 1e-12, "b": a[0]},
        {"a": a.astype(">f8"), "b": a[0]},
        {"a": a},
    ]
    assert len({digest, *map(digest_arrays, others)}) == 7


def test_arrays_without_numbers_or_axes_have_a_digest():
    assert digest_arrays({"a": np.zeros((0, 3))}) != digest_arrays({"a": np.zeros((3, 0))})
    assert digest_arrays({"a": np.float64(1)}) != digest_arrays({"a": np.ones(1)})
