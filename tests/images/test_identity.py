"""What an identity must notice, and what it must not depend on."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from jaxfid.errors import InputError
from jaxfid.images import identity
from jaxfid.images.identity import identify_content, identify_source
from jaxfid.images.interface import SAMPLED_BYTES, WHOLE_BYTES, ImageSource, sample_content
from jaxfid.images.sources import open_source
from tests.images.files import make_files, make_images, write_folder, write_tar, write_zip

KEYS = [f"{i}.png" for i in range(20)]


def write_raw(root, seed, count=4, side=100):
    """Images of 30 kB in a format whose files have one size whatever is in them."""
    for i in range(count):
        pixels = np.random.default_rng([seed, i]).integers(0, 256, (side, side, 3), dtype=np.uint8)
        root.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(root / f"{i}.bmp")
    return root


def keep_times(path, change):
    """Changes a file in place and puts its times back."""
    before = path.stat()
    change(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace_bytes(path, offset, data):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def test_files_replaced_by_others_of_the_same_size_are_another_set(tmp_path):
    first = identify_source(open_source(write_raw(tmp_path / "x", seed=0)))
    assert identify_source(open_source(tmp_path / "x")) == first
    second = identify_source(open_source(write_raw(tmp_path / "x", seed=1)))
    assert second["content"] != first["content"]
    assert second["number of images"] == first["number of images"]


def test_one_file_of_many_replaced_with_its_time_kept_is_another_set(tmp_path):
    write_raw(tmp_path / "x", seed=0, count=40)
    first = identify_source(open_source(tmp_path / "x"))
    shutil.copy(tmp_path / "x/8.bmp", tmp_path / "copy")
    keep_times(
        tmp_path / "x/7.bmp", lambda path: path.write_bytes((tmp_path / "copy").read_bytes())
    )
    assert identify_source(open_source(tmp_path / "x"))["content"] != first["content"]


def test_file_written_anew_is_another_file_here_and_the_same_elsewhere(tmp_path):
    write_raw(tmp_path / "x", seed=0)
    first = identify_source(open_source(tmp_path / "x"))
    shutil.copytree(tmp_path / "x", tmp_path / "y")
    second = identify_source(open_source(tmp_path / "y"))
    assert second["content"] == first["content"]
    assert second["versions of files"] != first["versions of files"]
    assert identify_content(open_source(tmp_path / "y")) == identify_content(
        open_source(tmp_path / "x")
    )


def test_change_that_only_a_full_look_sees_is_seen_by_it(tmp_path):
    write_raw(tmp_path / "x", seed=0)
    before = [identify_source(open_source(tmp_path / "x"), strict=s) for s in (False, True)]
    keep_times(tmp_path / "x/1.bmp", lambda path: replace_bytes(path, 1000, b"\x01\x02\x03"))
    after = [identify_source(open_source(tmp_path / "x"), strict=s) for s in (False, True)]
    assert after[0] == before[0]  # as its docstring says
    assert after[1] != before[1]


def test_change_in_place_is_seen_by_its_time(tmp_path):
    write_raw(tmp_path / "x", seed=0)
    before = identify_source(open_source(tmp_path / "x"))
    replace_bytes(tmp_path / "x/1.bmp", 1000, b"\x01\x02\x03")
    os.utime(tmp_path / "x/1.bmp", ns=(0, 1))
    assert identify_source(open_source(tmp_path / "x")) != before


@pytest.mark.parametrize("suffix", ["npy", "npz", "tar", "zip"])
def test_archive_whose_images_were_replaced_is_another_set(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"

    def write(images):
        if suffix == "npy":
            np.save(path, images)
        elif suffix == "npz":
            np.savez(path, images)
        else:
            raw = {f"{i}.ppm": b"P6 7 5 255\n" + image.tobytes() for i, image in enumerate(images)}
            (write_tar if suffix == "tar" else write_zip)(path, raw)
        return identify_source(open_source(path))

    images = make_images(30)
    first = write(images)
    images[17, 2, 3] ^= 1
    assert write(images)["content"] != first["content"]


@pytest.mark.parametrize(
    "make", [lambda x: x, list, lambda x: iter(x)], ids=["array", "list", "iterator"]
)
def test_each_image_in_memory_counts(make):
    images = make_images(100, 60, 60)
    first = identify_source(open_source(make(images)))
    assert identify_source(open_source(make(images.copy()))) == first
    images[33] = images[34]
    assert identify_source(open_source(make(images)))["content"] != first["content"]


def test_sampled_bytes_of_an_array_do_not_depend_on_how_it_lies_in_memory():
    images = make_images(3, 60, 60)
    other = np.asfortranarray(images)
    assert identify_content(open_source(images)) == identify_content(open_source(other))


class Own(ImageSource):
    """A source of a user's, with nothing but what it needs."""

    def __init__(self, images):
        self.name, self.keys, self.images = "own", [str(i) for i in range(len(images))], images
        self.asked = set()

    def read(self, index):
        self.asked.add(index)
        return self.images[index]


def test_source_of_a_users_own_is_looked_at_in_a_few_places_and_everywhere_when_strict():
    images = make_images(100)
    source = Own(images)
    first = identify_source(source)
    assert len(source.asked) == 16
    assert {0, 99} <= source.asked
    strict = identify_source(source, strict=True)
    assert len(source.asked) == 100
    changed = images.copy()
    changed[99] ^= 1
    assert identify_source(Own(changed)) != first
    changed = images.copy()
    changed[50] ^= 1  # not among the few
    assert identify_source(Own(changed)) == first
    assert identify_source(Own(changed), strict=True) != strict


@pytest.mark.parametrize("name", ["0.png", "3.png"])
def test_unreadable_image_is_part_of_what_a_set_is(tmp_path, name):
    source = open_source(write_folder(tmp_path, make_files(KEYS)))
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("nowhere")
    first = identify_source(source)
    with pytest.raises(InputError, match=rf"{name}: cannot be read"):
        source.digest()
    assert identify_source(open_source(tmp_path)) == first


def test_names_and_order_count(tmp_path):
    source = open_source(write_folder(tmp_path, make_files(KEYS)))
    seen = [identify_content(source.take(order)) for order in ([0, 1, 2], [0, 2, 1], [0, 1])]
    assert len({str(of) for of in seen}) == 3


def test_source_is_looked_at_once(tmp_path, monkeypatch):
    source = open_source(write_folder(tmp_path, make_files(KEYS)))
    first = identify_source(source)
    monkeypatch.setattr(identity, "_digest", lambda *_: pytest.fail("looked again"))
    assert identify_source(source) == first


@pytest.mark.parametrize("size", [0, 1, WHOLE_BYTES - 1, WHOLE_BYTES])
def test_small_content_is_looked_at_whole(size):
    data = bytearray(np.random.default_rng(0).bytes(size))

    def digest():
        return sample_content(lambda o, n: bytes(data[o : o + n]), len(data))

    first = digest()
    for position in range(0, size, max(size // 50, 1)):
        data[position] ^= 1
        assert digest() != first
        data[position] ^= 1


def test_large_content_is_looked_at_from_its_first_byte_to_its_last():
    asked = []

    def read_at(offset, num_bytes):
        asked.append((offset, num_bytes))
        return bytes(num_bytes)

    sample_content(read_at, 1_000_000)
    assert sum(num_bytes for _, num_bytes in asked) == SAMPLED_BYTES
    assert asked[0][0] == 0
    assert sum(asked[-1]) == 1_000_000
    asked.clear()
    sample_content(read_at, 3_000_000, whole=True)
    assert [sum(piece) for piece in asked] == [1 << 20, 1 << 21, 3_000_000]
