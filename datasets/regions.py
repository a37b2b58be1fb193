"""Where a defect is when one binary mask file does not say it: several files, a class value, or outlines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..errors import Refused
from ..images.decoding import fitting_turn, turn
from ..images.mask_colours import Colour, hexadecimal
from ..images.mask_files import read_colour, read_labels, read_marked, read_mask
from ..images.outlines import draw
from ..images.pictures import read_picture


@dataclass(frozen=True, order=True)
class MaskFiles:
    """The pixels where one of the files holds `value`, a class number or a colour; None: anything but 0."""

    files: tuple[Path, ...]
    value: int | Colour | None = None

    def __str__(self) -> str:
        shown = hexadecimal(self.value) if isinstance(self.value, tuple) else f"value {self.value}"
        return ", ".join(map(str, self.files)) + ("" if self.value is None else f" ({shown})")

    def read(self, size: tuple[int, int], of: Path) -> torch.Tensor:
        """bool [H, W] of `size`, the picture `of`'s. Raises Refused for a damaged file or one of another size,
        OSError for one that cannot be opened."""
        mask = np.zeros(size, dtype=bool)
        for file in self.files:
            if self.value is None:
                mask |= read_marked(file, size, of)
            elif isinstance(self.value, tuple):
                mask |= read_colour(file, self.value, size, of)
            else:
                mask |= read_labels(file, size, of) == self.value
        return torch.from_numpy(mask)


@dataclass(frozen=True, order=True)
class ColourMask:
    """The pixels of a mask file with exactly this colour, (red, green, blue) in 0..255, a palette's included."""

    file: Path
    colour: tuple[int, int, int]

    def __str__(self) -> str:
        return f"{self.file} (colour {', '.join(map(str, self.colour))})"

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.file,)

    def read(self, size: tuple[int, int], of: Path) -> torch.Tensor:
        """bool [H, W] of `size`, the picture `of`'s. Raises Refused for a damaged file or one of another size,
        OSError for one that cannot be opened."""
        pixels = colour_pixels(self.file)
        pixels = turn(pixels, fitting_turn(pixels.shape[:2], size, of))
        if pixels.shape[:2] != tuple(size):
            got = f"the mask is {_sides(pixels.shape)} (height x width), but {of} is {_sides(size)}"
            raise Refused(self.file, got, "the same size for both", "export the mask again from that picture")
        return torch.from_numpy((pixels == np.array(self.colour, pixels.dtype)).all(2))


def colour_pixels(mask: Path) -> np.ndarray:
    """[H, W, C] of a mask file in colours, black where it is transparent. Raises as `read_picture`."""
    picture = read_picture(mask)
    return picture.pixels if picture.alpha is None else np.where(picture.alpha[..., None] > 127, picture.pixels, 0)


@dataclass(frozen=True, order=True)
class Outlines:
    """Polygons and their like from an annotation file.

    file: the annotation file; size: (height, width) that they were drawn on, None where the file does not say; shapes:
    JSON text of what `outlines.draw` takes, in which a sample stays small, hashable and comparable.
    """

    file: Path
    size: tuple[int, int] | None
    shapes: str

    def __str__(self) -> str:
        return str(self.file)

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.file,)

    def read(self, size: tuple[int, int], of: Path) -> torch.Tensor:
        """bool [H, W] of `size`, the picture `of`'s; outlines that fit it only as stored are turned as it is by EXIF.

        Raises Refused for outlines of another size or damaged ones.
        """
        drawn = tuple(self.size or size)
        turned = fitting_turn(drawn, size, of)
        if drawn != tuple(size) and turned == 1:
            got = f"the outlines were drawn on {_sides(drawn)} (height x width), but {of} is {_sides(size)}"
            raise Refused(self.file, got, "the same size for both", "export the annotations for that picture")
        try:
            return torch.from_numpy(turn(draw(self.shapes, drawn), turned))
        except ValueError as error:
            what = error.what if isinstance(error, Refused) else error
            raise Refused(self.file, f"the outline of {of} cannot be drawn: {what}", remedy="draw it again") from error


def _sides(size: tuple[int, ...]) -> str:
    return f"{size[0]} x {size[1]}"


@dataclass(frozen=True, order=True)
class Union:
    """Everywhere that one of several regions is: the defects of one image, whatever their type."""

    parts: tuple[Path | MaskFiles | ColourMask | Outlines, ...]

    def __str__(self) -> str:
        return ", ".join(map(str, self.parts))

    @property
    def files(self) -> tuple[Path, ...]:
        found = (file for part in self.parts for file in ((part,) if isinstance(part, Path) else part.files))
        return tuple(dict.fromkeys(found))

    def read(self, size: tuple[int, int], of: Path) -> torch.Tensor:
        """bool [H, W]; raises as the parts do."""
        read = (read_mask(part, size, of) if isinstance(part, Path) else part.read(size, of) for part in self.parts)
        return torch.stack(list(read)).any(0)
