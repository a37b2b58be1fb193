"""What a layout's reader gives: samples, and what is wrong with the folder, problem by problem."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..regions import ColourMask, MaskFiles, Outlines, Union
from ..sample import Sample, refusal

Mask = Path | MaskFiles | ColourMask | Outlines | Union


@dataclass(frozen=True, order=True)
class Problem:
    """Something wrong with a dataset.

    file: posix path relative to the dataset's root; what: what is wrong; remedy: what to do; unusable: strict reading
    refuses the folder for it, otherwise the file is left out or only worth a look.
    """

    file: str
    what: str
    remedy: str
    unusable: bool = True

    def __str__(self) -> str:
        return f"{self.file}: {self.what}; {self.remedy}"


@dataclass
class Found:
    """What was found in one folder; a defect image without a mask stands among the samples with mask None.

    notes: how what the folder does not say was understood; passed: files and folders that are no samples and need no
    report (more).
    """

    root: Path
    samples: list[Sample] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    passed: set[str] = field(default_factory=set)
    _names: dict[Path, dict[str, list[str]]] = field(default_factory=dict)

    def problem(self, file: Path, what: str, remedy: str, unusable: bool = True) -> None:
        self.problems.append(Problem(relative(file, self.root), what, remedy, unusable))

    def unreadable(self, image: Path, masks: Sequence[Path], error: ValueError | OSError) -> None:
        """One of an image's masks cannot be read, so that the image is left out; error: what reading them raised."""
        what = refusal(error, masks[0])
        mask = next((mask for mask in masks if str(mask) == what.subject), masks[0])
        self.problem(mask, what.what, "replace it, or take it and its image away")
        self.leave_out(image)

    def file(self, path: Path) -> Path | None:
        """The file of that path, else the only one whose name differs in Unicode form or case; None where none is."""
        if path.is_file():
            return path
        if path.parent not in self._names:
            self._names[path.parent] = names = {}
            for one in path.parent.iterdir() if path.parent.is_dir() else ():
                names.setdefault(_alike(one.name), []).append(one.name)
        similar = self._names[path.parent].get(_alike(path.name), [])
        return path.with_name(similar[0]) if len(similar) == 1 and path.with_name(similar[0]).is_file() else None

    def leave_out(self, *paths: Path) -> None:
        """Images, or folders of them, that a reader leaves out knowingly: known to be no data, or reported by it."""
        self.passed.update(relative(path, self.root) for path in paths)

    def add(self, object: str, type: str, part: str, image: Path, mask: Mask | None = None) -> None:
        self.samples.append(Sample(object, type, part, relative(image, self.root), self.root, mask))


@dataclass(frozen=True)
class Layout:
    """A layout of a dataset's folder.

    name: a user's choice; title: its name in words; example: a tree, one path a line; truth: where the mask of a defect
    image belongs; matches: why a folder is one object in this layout, or None; read: (folder, object's name, what to
    put it into); over: layouts of which this one is a special case, so that it wins where both match one folder;
    under: layouts whose masks are more exact, so that they win; fits: as matches, where a user names the layout (None:
    the same); hint: what keeps a folder that comes close from being in it.
    """

    name: str
    title: str
    example: str
    truth: str
    matches: Callable[[Path], str | None]
    read: Callable[[Path, str, Found], None]
    fits: Callable[[Path], str | None] | None = None
    hint: Callable[[Path], str | None] | None = None
    over: tuple[str, ...] = ()
    under: tuple[str, ...] = ()

    def yields_to(self, other: Layout) -> bool:
        """Whether `other` is read where both match one folder."""
        return self.name in other.over or other.name in self.under

    def named(self) -> Layout:
        """The layout as a user's choice: what could be another one is no matter."""
        return replace(self, matches=self.fits or self.matches)


def _alike(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
