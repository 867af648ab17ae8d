"""The folder of a comparison: what it compares, and what is finished of it, safe against being killed.

    RUN/run.json        what all scores depend on; a comparison of another kind is refused here
    RUN/results.jsonl   a line for each finished checkpoint
    RUN/results.csv     the table, and
    RUN/results.json    the same with all that is known, both made anew at the end
    RUN/images/         a few images of each checkpoint and of the reference

Every file appears whole or stays as it was. The folder may lie in a bucket.
"""

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from etils import epath

from jaxfid.errors import InputError
from jaxfid.provenance import Provenance, describe_change
from jaxfid.report.entries import Entry, Picture, from_line, parse_object, to_line, to_picture
from jaxfid.report.swept import order_settings
from jaxfid.result import Result
from jaxfid.storage.files import read_file, write_file
from jaxfid.storage.locks import lock
from jaxfid.storage.names import shorten
from jaxfid.storage.paths import RemotePath, as_path

MAX_RESULTS_BYTES = 1 << 30
"""Largest file of results that is read: that of some 20,000 checkpoints with error bars."""

MAX_PICTURE_BYTES = 1 << 28
"""Largest picture that is read."""

_OF_SCORES = frozenset({"results", "comparisons", "replicates", "rankings"})
"""Fields of a result that are no provenance: the folder has scores of its own."""

_T = TypeVar("_T")


class RunFolder:
    """A comparison's folder, with the entries that are in it.

    Attributes:
      path: Where it is.
      writes: Whether what is added goes to files.
    """

    writes: bool = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Reads what is there already; a folder that does not exist is an empty one.

        Raises:
          InputError: A file in it is not what jaxfid wrote; the message names file and line.
        """
        self.path: epath.Path = as_path(path)
        self._run: dict[str, Any] = self._read("run.json", parse_object) or {}
        self._pictures = _parse(self._file("run.json"), _to_pictures, self._run)
        self._entries: dict[str, Entry] = self._read("results.jsonl", self._parse_lines) or {}

    @classmethod
    @contextlib.contextmanager
    def hold(cls, path: str | os.PathLike[str]) -> Iterator[Self]:
        """Opens a folder to write there; while it is held, another comparison is refused.

        Raises:
          InputError: Another process holds it, or a file in it is not what jaxfid wrote.
        """
        with lock(path, "a comparison"):
            yield cls(path)  # read under the lock: the process before may just have finished

    @property
    def entries(self) -> list[Entry]:
        """What is finished, in the order of the steps; what has no step comes last."""
        return sorted(self._entries.values(), key=_order)

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Reference, protocol, weights and environment, as in a `Result`; empty before the first score."""
        # The first edition's word for it was `about`.
        return self._run.get("provenance") or self._run.get("about") or {}

    @property
    def identity(self) -> Mapping[str, Any]:
        """What all scores depend on; empty before the first comparison."""
        return self._run.get("identity") or {}

    @property
    def reference_pictures(self) -> Sequence[Picture]:
        """Some images of the reference."""
        return self._pictures

    def begin(self, identity: Mapping[str, Any]) -> None:
        """Makes the folder that of a comparison, or checks that it is that already.

        It becomes that of a comparison with the first checkpoint that has scores: one that failed before,
        because of a wrong option say, leaves the folder free for the next.

        Raises:
          InputError: It holds scores of another comparison; the message names all differences. Or it cannot
            be written.
        """
        here, there = Provenance(_flat(identity)), Provenance(_flat(self.identity))
        unequal = [describe_change(*change) for change in there.diff(here)] if there else []
        bound = any(entry.scores is not None for entry in self._entries.values())
        if unequal and bound:
            raise InputError(
                f"{self.path}: holds another comparison: {'; '.join(unequal)}. Choose another folder, "
                "or use the options of that comparison"
            )
        # Only failures so far: nothing was scored under the old choices, so nothing is lost.
        if unequal and self._entries:
            self._entries = {}
            self._write_entries()
        known = {} if unequal else self._run
        self._run = known | {"identity": dict(Provenance(identity))}
        self._write_run()

    def describe(self, result: Result, reference_pictures: Sequence[Picture]) -> None:
        """Keeps what is known once the reference has been seen."""
        fields = parse_object(result.to_json().encode())
        provenance = {k: v for k, v in fields.items() if k not in _OF_SCORES}
        pictures = [dataclasses.asdict(picture) for picture in reference_pictures]
        self._run |= {"provenance": provenance, "reference_pictures": pictures}
        self._pictures = list(reference_pictures)
        self._write_run()

    def add(self, entry: Entry) -> None:
        """Adds a finished checkpoint, in place of an earlier entry of that name."""
        self._entries.pop(entry.name, None)
        self._entries[entry.name] = entry
        self._write_entries()

    def is_finished(self, name: str, stamp: str) -> bool:
        """Returns whether this checkpoint, as it is now, has been scored."""
        entry = self._entries.get(name)
        return entry is not None and entry.scores is not None and entry.stamp == stamp

    def write(self, name: str, content: str | bytes) -> None:
        """Writes a file of the folder, whole or not at all.

        Raises:
          InputError: It cannot be written.
        """
        write_file(self._file(name), content)

    def read_picture(self, file: str) -> bytes:
        """Returns a picture's file.

        Args:
          file: Its place below `images/`, as in `Picture.file`.

        Raises:
          InputError: It cannot be read, or lies elsewhere by a link.
        """
        folder, path = self._file("images"), self._file(f"images/{file}")
        local = not isinstance(path, RemotePath)
        if local and not Path(path).resolve().is_relative_to(Path(folder).resolve()):
            raise InputError(
                f"{path}: expected a picture in this folder, found a link to elsewhere"
            )
        return read_file(path, max_bytes=MAX_PICTURE_BYTES)

    def _write_run(self) -> None:
        self.write("run.json", json.dumps(self._run, indent=2) + "\n")

    def _write_entries(self) -> None:
        self.write("results.jsonl", "".join(map(to_line, self._entries.values())))

    def _file(self, name: str) -> epath.Path:
        return self.path / name

    def _read(self, name: str, parse: Callable[[bytes], _T]) -> _T | None:
        file = self._file(name)
        if not file.exists():
            return None
        return _parse(file, parse, read_file(file, max_bytes=MAX_RESULTS_BYTES))

    def _parse_lines(self, text: bytes) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            place = f"{self._file('results.jsonl')}, line {number}"
            entry = _parse(place, from_line, line)
            if entry.name in entries:
                raise InputError(f"{place}: a second entry of {shorten(entry.name)}")
            entries[entry.name] = entry
        return entries


def _order(entry: Entry) -> tuple[Any, ...]:
    """By step, then as the rows of a checkpoint are drawn."""
    draw = (order_settings(entry.swept), entry.noise_seed or 0)
    return (entry.step is None, entry.step or 0, entry.run or "", entry.own_name, *draw)


def _flat(identity: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """What is nested by names of its own, so that a difference is told without what is equal."""
    flat: dict[str, Any] = {}
    for name, value in identity.items():
        nested = isinstance(value, Mapping)  # an empty one says nothing
        flat |= _flat(value, f"{prefix}{name} ") if nested else {f"{prefix}{name}": value}
    return flat


def _to_pictures(run: Mapping[str, Any]) -> list[Picture]:
    for name in ("identity", "provenance", "about"):
        if not isinstance(run.get(name, {}), Mapping):
            raise ValueError(f"{name} that is no object")
    return [to_picture(fields) for fields in run.get("reference_pictures") or ()]


def _parse(place: object, parse: Callable[[Any], _T], content: object) -> _T:
    try:
        return parse(content)
    except InputError:
        raise
    except (ValueError, TypeError) as error:
        raise InputError(f"{place}: expected what jaxfid compare wrote, found {error}") from error
