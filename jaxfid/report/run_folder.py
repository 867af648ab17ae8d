"""The folder of a comparison: what it is of, and what is finished of it, safe against being killed.

    RUN/run.json        what all scores depend on; a run of another kind is refused here
    RUN/results.jsonl   a line for each finished checkpoint
    RUN/results.csv     the table, and
    RUN/results.json    the same with all that is known, both made anew at the end
    RUN/images/         a few images of each checkpoint and of the reference

Every file is replaced in one step of the file system: it is there whole, or as it was before.
"""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxfid.errors import InputError
from jaxfid.result import Result, SetResult, to_set_result


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image of a set that was kept to be looked at.

    Attributes:
      file: Its place below `images/`.
      index: Its position in the set.
      realism: Of an image that was chosen for it.
      nearest: The reference image whose features are nearest, where that is known.
    """

    file: str
    index: int
    realism: float | None = None
    nearest: str | None = None


@dataclasses.dataclass(frozen=True)
class Entry:
    """A finished checkpoint.

    Attributes:
      name: Which one.
      step: Its step, None where its name has none.
      stamp: What it was like when it was scored.
      seconds: How long sampling and scoring took.
      scores: Its metrics; None where there could be none.
      failure: Why not.
      pictures: Some of its images by kind: `first`, `lowest` and `highest` realism.
    """

    name: str
    step: int | None
    stamp: str
    seconds: float
    scores: SetResult | None = None
    failure: str | None = None
    pictures: Mapping[str, Sequence[Picture]] = dataclasses.field(default_factory=dict)

    def to_fields(self, *, with_influence: bool = False) -> dict[str, Any]:
        """Returns what JSON holds of it; with the influences by which entries are compared, if asked for."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        if self.scores is not None:
            fields["scores"] = self.scores.to_fields(with_influence=with_influence)
        fields["pictures"] = {
            kind: [dataclasses.asdict(picture) for picture in pictures]
            for kind, pictures in self.pictures.items()
        }
        return fields


class RunFolder:
    """A comparison's folder, with the entries that are in it.

    Attributes:
      path: Where it is.
      entries: What is finished, in the order of the steps.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Reads what is there already; a folder that does not exist is an empty one.

        Raises:
          InputError: A file in it is not what jaxfid wrote.
        """
        self.path = Path(path)
        self._run: dict[str, Any] = {}
        self._entries: dict[str, Entry] = {}
        if self._file("run.json").exists():
            self._run = _parse(self._file("run.json"), json.loads)
        if self._file("results.jsonl").exists():
            lines = self._file("results.jsonl").read_text().splitlines()
            entries = [_parse(self._file("results.jsonl"), _to_entry, line) for line in lines]
            self._entries = {entry.name: entry for entry in entries}

    @property
    def entries(self) -> list[Entry]:
        """What is finished, in the order of the steps; what has no step comes last."""
        return sorted(self._entries.values(), key=lambda e: (e.step is None, e.step or 0, e.name))

    @property
    def about(self) -> Mapping[str, Any]:
        """Reference, protocol, weights and environment, as in a `Result`; empty before the first score."""
        return self._run.get("about", {})

    @property
    def identity(self) -> Mapping[str, Any]:
        """What all scores depend on; empty before the first run."""
        return self._run.get("identity", {})

    @property
    def reference_pictures(self) -> Sequence[Picture]:
        """Some images of the reference."""
        return [Picture(**picture) for picture in self._run.get("reference_pictures", ())]

    def begin(self, identity: Mapping[str, Any]) -> None:
        """Makes the folder that of a run, or checks that it is that already.

        Raises:
          InputError: It is another run's, which differs in what the message names; or it cannot be made.
        """
        here = json.loads(json.dumps(identity))
        there = self.identity
        unequal = [
            f"{name} was {json.dumps(there.get(name))}, is {json.dumps(here.get(name))}"
            for name in sorted({*there, *here})
            if there and there.get(name) != here.get(name)
        ]
        if unequal:
            raise InputError(
                f"{self.path}: holds another comparison: {'; '.join(unequal)}. Choose another folder, or "
                "go on as that one began"
            )
        self._write_run(identity=here)

    def describe(self, about: Result, reference_pictures: Sequence[Picture]) -> None:
        """Keeps what is known once the reference has been seen."""
        fields = json.loads(about.to_json())
        self._write_run(
            about={name: fields[name] for name in fields if name not in ("results", "comparisons")},
            reference_pictures=[dataclasses.asdict(picture) for picture in reference_pictures],
        )

    def add(self, entry: Entry) -> None:
        """Adds a finished checkpoint, in place of an earlier entry of that name."""
        self._entries.pop(entry.name, None)
        self._entries[entry.name] = entry
        lines = [
            json.dumps(e.to_fields(with_influence=True)) + "\n" for e in self._entries.values()
        ]
        self.write("results.jsonl", "".join(lines))

    def is_finished(self, name: str, stamp: str) -> bool:
        """Returns whether this checkpoint, as it is now, has been scored."""
        entry = self._entries.get(name)
        return entry is not None and entry.scores is not None and entry.stamp == stamp

    def write(self, name: str, content: str | bytes) -> Path:
        """Writes a file of the folder so that it is there whole or not at all; returns its path.

        Raises:
          InputError: It cannot be written.
        """
        path = self._file(name)
        partial = path.with_name(f"{path.name}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror}") from error
        return path

    def _write_run(self, **fields: Any) -> None:  # noqa: ANN401
        self._run |= fields
        self.write("run.json", json.dumps(self._run, indent=2) + "\n")

    def _file(self, name: str) -> Path:
        return self.path / name


def _parse(path: Path, parse: Any, text: str | None = None) -> Any:  # noqa: ANN401
    try:
        return parse(path.read_text() if text is None else text)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: expected what jaxfid compare wrote, found: {error}") from error


def _to_entry(line: str) -> Entry:
    fields = json.loads(line)
    pictures = {k: [Picture(**p) for p in found] for k, found in fields.pop("pictures").items()}
    scores = fields.pop("scores")
    known = None if scores is None else to_set_result(scores)
    return Entry(**fields, scores=known, pictures=pictures)
