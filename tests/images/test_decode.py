"""Pixels against Pillow's own conversion, and every file that must be refused."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from jaxfid.errors import InputError
from jaxfid.images import decode
from jaxfid.images.decode import decode_file, decode_image, image_to_rgb
from jaxfid.images.formats import FORMATS, IMAGE_EXTENSIONS, recognise_format

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (24, 17, 4), dtype=np.uint8)
SMOOTH = np.linspace(0, 255, 24 * 17 * 4).astype(np.uint8).reshape(24, 17, 4)


def encode(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def convert_with_pillow(data: bytes) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of palettes with transparency, which ours must not say.
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def make_mode(mode: str) -> Image.Image:
    image = Image.fromarray(NOISE)
    return image.convert("RGB").quantize(16) if mode == "P" else image.convert(mode)


FORMATS_OF_MODE = {
    "1": ["PNG", "BMP", "TIFF", "PPM", "GIF"],
    "L": ["PNG", "JPEG", "BMP", "TIFF", "GIF", "PPM", "WEBP", "TGA", "JPEG2000"],
    "LA": ["PNG", "TIFF", "TGA", "JPEG2000"],
    "P": ["PNG", "GIF", "BMP", "TIFF"],
    "RGB": ["PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "TGA", "PCX", "ICO", "SGI"],
    "RGBA": ["PNG", "TIFF", "WEBP", "TGA", "ICO", "DDS"],
    "CMYK": ["JPEG", "TIFF"],
    "YCbCr": ["JPEG", "TIFF"],
    "LAB": ["TIFF"],
}


@pytest.mark.parametrize(
    ("mode", "kind"), [(mode, kind) for mode, kinds in FORMATS_OF_MODE.items() for kind in kinds]
)
def test_every_mode_and_format_gives_pillows_pixels(mode, kind):
    data = encode(make_mode(mode), kind)
    image = decode_image(data, "x")
    assert image.dtype == np.uint8
    assert image.shape[2] == 3
    np.testing.assert_array_equal(image, convert_with_pillow(data))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "TGA"])
def test_lossless_files_give_back_what_was_saved(kind):
    np.testing.assert_array_equal(
        decode_image(encode(Image.fromarray(NOISE[:, :, :3]), kind), "x"), NOISE[:, :, :3]
    )


def test_grey_is_repeated_in_three_channels():
    image = decode_image(encode(Image.fromarray(NOISE[:, :, 0]), "PNG"), "x")
    np.testing.assert_array_equal(image, np.stack([NOISE[:, :, 0]] * 3, axis=2))


def test_alpha_is_dropped_not_blended():
    image = decode_image(encode(Image.fromarray(NOISE), "PNG"), "x")
    np.testing.assert_array_equal(image, NOISE[:, :, :3])


@pytest.mark.parametrize("transparency", [3, bytes(range(16))])
def test_palette_with_transparency_warns_of_nothing_and_keeps_its_colours(transparency):
    data = encode(make_mode("P"), "PNG", transparency=transparency)
    np.testing.assert_array_equal(decode_image(data, "x"), convert_with_pillow(data))


def test_transparent_colour_of_a_true_colour_png_stays_a_colour():
    data = encode(Image.fromarray(NOISE[:, :, :3]), "PNG", transparency=(1, 2, 3))
    np.testing.assert_array_equal(decode_image(data, "x"), NOISE[:, :, :3])


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG2000"])
def test_16_bit_grey_is_its_high_byte(kind):
    grey = RNG.integers(0, 65536, (9, 11), dtype=np.uint16)
    image = decode_image(encode(Image.fromarray(grey), kind), "x")
    np.testing.assert_array_equal(image, np.repeat((grey >> 8)[:, :, None], 3, axis=2))


def test_16_bit_grey_map_is_its_high_byte():
    grey = RNG.integers(0, 65536, (9, 11), dtype=np.uint16)
    data = b"P5 11 9 65535\n" + grey.astype(">u2").tobytes()
    np.testing.assert_array_equal(decode_image(data, "x")[:, :, 1], grey >> 8)


def test_16_bit_colour_and_grey_agree():
    grey = RNG.integers(0, 65536, (9, 11), dtype=np.uint16)
    colour = write_png(11, 9, 16, 2, np.repeat(grey[:, :, None], 3, axis=2).astype(">u2"))
    np.testing.assert_array_equal(
        decode_image(colour, "x"), decode_image(encode(Image.fromarray(grey), "PNG"), "x")
    )


def write_png(width: int, height: int, bits: int, colour: int, pixels: np.ndarray) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    packed = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + packed + chunk(b"IEND", b"")


def write_tiff(bits: int, width: int, height: int, strip: bytes) -> bytes:
    tags = [
        *((256, 3, width), (257, 3, height), (258, 3, bits), (259, 3, 1), (262, 3, 1)),
        *((273, 4, 8), (277, 3, 1), (278, 3, height), (279, 4, len(strip))),
    ]
    entries = b"".join(
        struct.pack("<HHI", tag, kind, 1) + struct.pack("<I", value) for tag, kind, value in tags
    )
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + directory


def test_12_bit_grey_tiff_is_its_high_8_bits():
    values = [0x000, 0x7FF, 0xABC, 0xFFF]
    bits = "".join(f"{value:012b}" for value in values)
    strip = int(bits, 2).to_bytes(6, "big")
    image = decode_image(write_tiff(12, 4, 1, strip), "x")
    assert image[0, :, 0].tolist() == [value >> 4 for value in values]


@pytest.mark.parametrize(
    ("array", "found"),
    [(np.ones((4, 4), np.float32), "floats"), (np.ones((4, 4), np.int32), "integers of mode I")],
)
def test_floats_and_32_bit_integers_are_refused(array, found):
    with pytest.raises(InputError, match=f"photo.tif: .*{found}, which have no agreed range"):
        decode_image(encode(Image.fromarray(array), "TIFF"), "photo.tif")


def test_float_tiff_is_not_called_corrupt():
    data = encode(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF")
    with pytest.raises(InputError, match=r"^photo\.tif: expected pixels of at most 16 bits, found"):
        decode_image(data, "photo.tif")


def test_orientation_is_not_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # Rotated by a quarter.
    data = encode(Image.fromarray(SMOOTH[:, :, :3]), "JPEG", exif=exif)
    assert Image.open(io.BytesIO(data)).getexif()[0x0112] == 6
    assert decode_image(data, "x").shape == (24, 17, 3)


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_first_of_several_frames(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 2
    assert (decode_image(data, "x") == [255, 0, 0]).all()


TRUNCATED = ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "JPEG2000", "TGA", "PCX", "AVIF"]


@pytest.mark.parametrize("kind", TRUNCATED)
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_cut_off_file_is_an_error_that_names_it(kind, share):
    data = encode(Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)), kind)
    assert decode_image(data, "x").shape == (64, 64, 3)
    with pytest.raises(InputError, match=r"^dir/photo\.x: "):
        decode_image(data[: int(len(data) * share)], "dir/photo.x")


def test_corrupt_pixels_of_a_png_are_an_error():
    data = bytearray(encode(Image.fromarray(NOISE), "PNG"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(InputError, match=r"a\.png: expected a whole image, found a corrupt one"):
        decode_image(bytes(data), "a.png")


def test_empty_file():
    with pytest.raises(InputError, match=r"a\.png: .* found an empty file"):
        decode_image(b"", "a.png")


def test_no_image_at_all():
    with pytest.raises(InputError, match=r"a\.png: .* found 5 bytes of another kind"):
        decode_image(b"hello", "a.png")


def test_postscript_in_disguise_starts_no_interpreter(monkeypatch):
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_: pytest.fail("was started"))
    data = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    with pytest.raises(InputError, match="of another kind"):
        decode_image(data, "a.png")


def test_photograph_of_24_megapixels_is_no_bomb():
    data = encode(Image.new("L", (6000, 4000), 7), "PNG", compress_level=1)
    assert decode_image(data, "x").shape == (4000, 6000, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM"])
def test_more_pixels_than_the_limit_are_refused_before_they_are_unpacked(monkeypatch, kind):
    data = encode(Image.fromarray(NOISE[:, :, :3]), kind)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda *_: pytest.fail("was unpacked"))
    monkeypatch.setenv("JAXFID_MAX_IMAGE_PIXELS", "407")
    with pytest.raises(
        InputError, match=r"x: .* at most 407 pixels, found 408; .*_MAX_IMAGE_PIXELS"
    ):
        decode_image(data, "x")


def test_limit_of_pixels_can_be_raised(monkeypatch):
    data = encode(Image.fromarray(NOISE), "PNG")
    monkeypatch.setattr(decode, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(InputError, match="at most 100 pixels"):
        decode_image(data, "x")
    monkeypatch.setenv("JAXFID_MAX_IMAGE_PIXELS", "408")
    assert decode_image(data, "x").shape == (24, 17, 3)
    monkeypatch.setenv("JAXFID_MAX_IMAGE_PIXELS", "many")
    with pytest.raises(InputError, match=r"JAXFID_MAX_IMAGE_PIXELS: .* found 'many'"):
        decode_image(data, "x")


def test_small_file_of_177_million_pixels_is_refused():
    row = np.zeros(13_300 // 8 + 1, np.uint8)
    data = write_png(13_300, 13_300, 1, 0, np.broadcast_to(row, (13_300, len(row))))
    assert len(data) < 30_000
    with pytest.raises(
        InputError, match=r"a\.png: .* at most 134,217,728 pixels, found 176,890,000"
    ):
        decode_image(data, "a.png")


def test_photographs_of_the_largest_cameras_are_within_the_limit():
    assert decode.MAX_IMAGE_PIXELS > 12_000 * 9_000  # Pillow would warn of these, an error here
    data = write_png(12_000, 9_000, 1, 0, np.zeros((9_000, 1_500), np.uint8))
    assert decode._open(data, "x").size == (12_000, 9_000)


def test_png_with_a_changed_bit_anywhere_is_refused():
    data = encode(Image.fromarray(NOISE[:6, :6]), "PNG")
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 16
        with pytest.raises(InputError, match=r"^a\.png: "):
            decode_image(bytes(changed), "a.png")


def test_pixels_of_a_png_are_checked_by_their_checksum():
    pixels = zlib.compress(b"\0" + bytes(3), 0)
    data = bytearray(write_png(1, 1, 8, 2, np.zeros((1, 3), np.uint8)))
    data[data.index(b"IDAT") + 4 + len(pixels)] ^= 1
    with pytest.raises(InputError, match=r"a\.png: .* checksum of its chunk 'IDAT' does not fit"):
        decode_image(bytes(data), "a.png")


def test_png_without_its_end_is_cut_off():
    data = encode(Image.fromarray(NOISE), "PNG")
    with pytest.raises(InputError, match=r"a\.png: .* PNG that is cut off"):
        decode_image(data[:-12], "a.png")


@pytest.mark.parametrize("kind", ["text", "zipped text", "profile"])
def test_png_with_much_text_or_a_large_profile_is_an_image_like_any_other(kind):
    text = PngImagePlugin.PngInfo()
    options = {"pnginfo": text}
    if kind == "profile":
        options = {"icc_profile": RNG.bytes(3_000_000)}
    for number in range(70):
        text.add_text(f"key {number}", "x" * 1_100_000, zip=kind == "zipped text")
    data = encode(Image.fromarray(NOISE), "PNG", **options)
    np.testing.assert_array_equal(decode_image(data, "x"), NOISE[:, :, :3])


def test_file_is_decoded_like_its_bytes(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encode(Image.fromarray(NOISE), "PNG"))
    np.testing.assert_array_equal(decode_file(path), NOISE[:, :, :3])
    with pytest.raises(InputError, match=r"b\.png: "):
        decode_file(tmp_path / "b.png")


@pytest.mark.parametrize("mode", FORMATS_OF_MODE)
def test_image_of_pillows_gives_the_pixels_of_its_file(mode):
    image = make_mode(mode)
    if mode == "P":
        image.info["transparency"] = 3
    before = image.info.copy()
    expected = np.asarray(make_mode(mode).convert("RGB"))
    np.testing.assert_array_equal(image_to_rgb(image, "x"), expected)
    assert image.info == before


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "JPEG2000", "AVIF", "QOI"])
def test_formats_are_recognised_by_their_first_bytes(kind):
    head = encode(Image.fromarray(NOISE[:, :, :3]), kind)[:16]
    assert recognise_format(head) == kind
    assert kind in FORMATS
    assert recognise_format(head[:2]) is None


def test_pillows_leniency_with_cut_off_files_must_be_off(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(InputError, match="LOAD_TRUNCATED_IMAGES: expected False"):
        decode_image(encode(Image.fromarray(NOISE), "PNG"), "a.png")


def test_running_out_of_memory_is_not_the_files_fault(monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    data = encode(Image.fromarray(NOISE), "PNG")
    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(MemoryError):
        decode_image(data, "a.png")


def test_extensions_are_all_of_pillows_but_vectors_videos_and_data():
    left_out = ".bufr .emf .eps .grib .h5 .hdf .mpeg .mpg .palm .pdf .ps .wmf"
    assert set(Image.registered_extensions()) - IMAGE_EXTENSIONS == set(left_out.split())
