"""TFRecord and ArrayRecord files without a description: encoded images, or examples that hold one."""

import contextlib

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter
from tensorboardX.record_writer import RecordWriter

from jaxfid.errors import InputError
from jaxfid.images.examples import parse_example
from jaxfid.images.identity import identify_source
from jaxfid.images.record_files import require_all_shards
from jaxfid.images.sources import open_source
from jaxfid.storage.files import write_file
from tests.images.files import encode_png, make_images, read_all

IMAGES = make_images(5)
KINDS = ("tfrecord", "array_record")


def test_a_missing_shard_is_an_error():
    names = ["x.tfrecord-00000-of-00003", "x.tfrecord-00002-of-00003", "y-0-of-1.tfrecord"]
    with pytest.raises(InputError, match=r"set: expected 3 shards of x\.tfrecord, .* number 1 is"):
        require_all_shards("set", names)
    require_all_shards("set", [*names, "x.tfrecord-00001-of-00003"])


def field(number: int, data: bytes | int) -> bytes:
    """One field of a protocol buffer, written from the format's description."""
    if isinstance(data, int):
        return varint(number << 3) + varint(data)
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    value %= 1 << 64
    head = bytes([value & 0x7F | (0x80 if value >> 7 else 0)])
    return head + (varint(value >> 7) if value >> 7 else b"")


def example(**features: bytes | int) -> bytes:
    entries = b""
    for name, value in features.items():
        kind = 1 if isinstance(value, bytes) else 3
        feature = field(kind, field(1, value))
        entries += field(1, field(1, name.encode()) + field(2, feature))
    return field(1, entries)


def write_records(path, records):
    path.parent.mkdir(exist_ok=True)
    if "tfrecord" in path.name:
        writer = RecordWriter(str(path))
        for record in records:
            writer.write(record)
    else:
        writer = ArrayRecordWriter(str(path), "group_size:1")
        for record in records:
            writer.write(record)
    writer.close()
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_encoded_images(tmp_path, kind):
    source = open_source(write_records(tmp_path / f"x.{kind}", map(encode_png, IMAGES)))
    np.testing.assert_array_equal(read_all(source), IMAGES)
    assert source.labels is None
    with pytest.raises(InputError, match=r"record 0: expected an image or a tf.train.Example"):
        open_source(tmp_path / f"x.{kind}", image_key="image")


@pytest.mark.parametrize("kind", KINDS)
def test_examples_with_classes(tmp_path, kind):
    records = [example(label=i - 2, image=encode_png(x), id=b"x") for i, x in enumerate(IMAGES)]
    source = open_source(write_records(tmp_path / f"x.{kind}", records))
    np.testing.assert_array_equal(read_all(source), IMAGES)
    assert source.labels == ["-2", "-1", "0", "1", "2"]
    with pytest.raises(
        InputError, match=r"expected pixels as image_key; .* names label, image, id"
    ):
        open_source(tmp_path / f"x.{kind}", image_key="pixels")


@pytest.mark.parametrize("kind", KINDS)
def test_shards_of_a_folder_or_list_are_one_set(tmp_path, kind):
    names = [f"s.{kind}-{number:05d}-of-00002" for number in range(2)]
    for number, name in enumerate(names):
        write_records(tmp_path / "s" / name, map(encode_png, IMAGES[number::2]))
    (tmp_path / "s" / "notes.txt").touch()
    expected = [*IMAGES[0::2], *IMAGES[1::2]]
    folder = open_source(tmp_path / "s")
    np.testing.assert_array_equal(read_all(folder), expected)
    assert folder.others == ["notes.txt"]
    listed = open_source([tmp_path / "s" / name for name in names])
    np.testing.assert_array_equal(read_all(listed), expected)
    (tmp_path / "s" / "features.json").write_text("{}")
    with pytest.raises(InputError, match="give it as tfds:NAME/SPLIT"):
        open_source(tmp_path / "s")


def test_a_tfrecord_in_a_bucket_and_its_replacement(tmp_path):
    path = write_records(tmp_path / "x.tfrecord", map(encode_png, IMAGES))
    url = f"memory:/{tmp_path}/x.tfrecord"
    write_file(url, path.read_bytes())
    source = open_source(url)
    np.testing.assert_array_equal(read_all(source), IMAGES)
    assert source.is_remote
    first = identify_source(source)
    write_file(url, write_records(path, map(encode_png, IMAGES[::-1])).read_bytes())
    assert identify_source(open_source(url)) != first
    with pytest.raises(InputError, match="read from this machine; copy it here first"):
        write_file(f"memory:/{tmp_path}/x.array_record", b"x")
        open_source(f"memory:/{tmp_path}/x.array_record")


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_named(tmp_path, kind):
    path = write_records(tmp_path / f"x.{kind}", map(encode_png, IMAGES))
    data = path.read_bytes()
    for damaged in (data[: len(data) // 2], b"", data[:40] + bytes(100) + data[140:]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=f"x.{kind}"):
            read_all(open_source(path))


def test_an_example_is_parsed_in_bounds():
    whole = example(image=b"abc", label=300)
    assert parse_example(whole, "x") == {"image": b"abc", "label": 300}
    packed = field(
        1, field(1, field(1, b"label") + field(2, field(3, field(1, varint(-7) + varint(2)))))
    )
    assert parse_example(packed, "x") == {"label": -7}
    floats = field(1, field(1, field(1, b"score") + field(2, field(2, field(1, b"\0\0\0\0")))))
    assert parse_example(floats, "x") == {"score": None}
    for end in range(1, len(whole)):
        with pytest.raises(InputError, match=r"expected an image or a tf.train.Example"):
            parse_example(whole[:end], "x")
    rng = np.random.default_rng(0)
    for _ in range(500):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= int(rng.integers(1, 256))
        with contextlib.suppress(InputError):
            parse_example(bytes(damaged), "x")
