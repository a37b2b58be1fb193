"""The file that a training run writes, and the states beside it: may it start, was it finished before?"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import Refused
from ..files.folder_lock import Lock, check_free


@dataclass(frozen=True)
class RunFile:
    """path: the .safetensors to write; states: files that a killed run left behind.

    Raises Refused for another suffix, and where another process writes the file.
    """

    path: Path
    states: Sequence[Path]

    def __post_init__(self) -> None:
        if self.path.suffix != ".safetensors":
            raise Refused(self.path, "an output of another type", "a .safetensors file")
        check_free(self.path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from writing the file and its states, until the `with` block ends.

        Makes the file's folder, and takes it away where the block fails before anything is in it. Raises ValueError
        where another process writes the file, with its id; OSError.
        """
        made = [folder for folder in self.path.parents if not folder.exists()]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with Lock(self.path):
                yield
        except BaseException:
            with suppress(OSError):  # a folder that holds something stays
                for folder in made:
                    folder.rmdir()
            raise

    def finished(self, asked: Mapping, resume: bool, read: Callable[[Path], dict]) -> dict | None:
        """The record of a file that is there already, where it is what is asked for; None where there is work to do.

        Args:
            asked: all that the run depends on.
            resume: whether what an earlier run left may be continued.
            read: the record that a file holds.

        Raises:
            Refused: file or state exists and `resume` is not set; the file was made with something else.
        """
        if not resume and any(path.exists() for path in (self.path, *self.states)):
            raise Refused(self.path, "it or its training state exists", remedy="choose another output", unless="resume")
        if not self.path.exists():
            return None
        record = read(self.path)
        differing = [key for key, value in json.loads(json.dumps(asked)).items() if record.get(key) != value]
        if differing:
            raise Refused(
                self.path,
                f"finished, with other {', '.join(differing)} than asked for",
                remedy="choose another output",
            )
        self.remove_states()
        return record

    def remove_states(self) -> None:
        """Of a run whose file is on the disk."""
        for state in self.states:
            state.unlink(missing_ok=True)
