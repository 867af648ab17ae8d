"""Which files are images: by their names, and what their first bytes say."""

FORMATS = {  # The usual ones first: Pillow tries them in this order.
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "AVIF": (".avif", ".avifs"),
    "JPEG2000": (".jp2", ".j2k", ".jpx", ".jpf", ".jpc", ".j2c"),
    "ICO": (".ico",),
    "BLP": (".blp",),
    "CUR": (".cur",),
    "DCX": (".dcx",),
    "DDS": (".dds",),
    "DIB": (".dib",),
    "FITS": (".fits", ".fit"),
    "FLI": (".fli", ".flc"),
    "FTEX": (".ftc", ".ftu"),
    "GBR": (".gbr",),
    "ICNS": (".icns",),
    "IM": (".im",),
    "IPTC": (".iim",),
    "MSP": (".msp",),
    "PCD": (".pcd",),
    "PCX": (".pcx",),
    "PIXAR": (".pxr",),
    "PSD": (".psd",),
    "QOI": (".qoi",),
    "SGI": (".sgi", ".rgb", ".rgba", ".bw"),
    "SUN": (".ras",),
    "TGA": (".tga", ".icb", ".vda", ".vst"),
    "XBM": (".xbm",),
    "XPM": (".xpm",),
}
"""Formats of still pictures in pixels, by Pillow's names, and the endings of their files.

Vector formats are not here: Pillow starts other programs for them (PostScript), or has them on one
system only.
"""

IMAGE_EXTENSIONS = frozenset(extension for group in FORMATS.values() for extension in group)
"""Lower-case endings of the files that count as images."""

HEAD_BYTES = 16
"""Bytes that `recognise_format` needs of a file's beginning."""

_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG2000",
    b"qoif": "QOI",
}


def is_image_name(key: str) -> bool:
    """Returns whether a path, by its name alone, is an image to be scored."""
    return not is_hidden(key) and has_image_extension(key)


def has_image_extension(key: str) -> bool:
    """Returns whether a path ends as an image's does, in any case of letters."""
    _, dot, extension = key.rpartition("/")[2].rpartition(".")
    return dot + extension.lower() in IMAGE_EXTENSIONS


def is_hidden(key: str) -> bool:
    """Returns whether a path has a part that begins with a dot, or one that is a service folder."""
    return is_hidden_name(key) or any(map(is_service_folder, key.split("/")))


def is_hidden_name(key: str) -> bool:
    """Returns whether a path has a part that begins with a dot."""
    return key.startswith(".") or "/." in key


def is_service_folder(name: str) -> bool:
    """Returns whether a folder of this name holds what systems and programs keep for themselves."""
    return name.lower() in _SERVICE_FOLDERS


# Lower-case: Windows writes the same folder in several cases.
_SERVICE_FOLDERS = frozenset(
    {
        "__macosx",  # macOS: a second, unreadable file named like each image of an archive
        "@eadir",  # Synology: thumbnails
        "@recycle",  # QNAP: deleted files
        "#recycle",  # Synology: deleted files
        "@recently-snapshot",  # QNAP: older versions of every file
        "#snapshot",  # Synology: older versions of every file
        "$recycle.bin",  # Windows: deleted files
        "recycler",  # Windows XP: deleted files
        "system volume information",  # Windows
        "lost+found",  # Linux: what a repair of the file system found
        "__pycache__",
        # Begin with a dot and are hidden anyway: .thumbnails, .ipynb_checkpoints, .trash, .snapshot
    }
)


def recognise_format(head: bytes) -> str | None:
    """Returns the image format that a file's first bytes are the signature of, or None.

    Only signatures are known that are too long to stand at the beginning of another kind of file by chance.
    """
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:12] in (b"ftypavif", b"ftypavis"):
        return "AVIF"
    return next((name for start, name in _SIGNATURES.items() if head.startswith(start)), None)
