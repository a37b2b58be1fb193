"""The report as files: report.md with figures beside it, and report.html, which needs nothing beside it."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ...files.durable import write_atomic
from ...images import figures
from ..methods import REAL_ONLY
from ..pair_statistics import VISIBLE
from . import answer, compare, tables

TITLE = "Does it train better segmentation?"
_INSTALL = "`pip install 'anomaly-synthesis[eval]'`"


@dataclass(frozen=True)
class _Picture:
    """path: below the report's folder, with "/"."""

    caption: str
    path: str

    @property
    def link(self) -> str:
        """The path as a URL; `as_uri` quotes everything that Markdown or HTML could stumble over but brackets."""
        quoted = PurePosixPath("/", self.path).as_uri().removeprefix("file:///")
        return quoted.replace("(", "%28").replace(")", "%29")

    @property
    def markdown(self) -> str:
        return f"![{tables.escape(self.caption)}]({self.link})\n\n*{tables.escape(self.caption)}*\n"


def write_report(cells: Sequence[dict], out: Path, against: Sequence[str] = ()) -> str:
    """Write out/report.md, out/figures/*.png and out/report.html, which holds its pictures itself.

    Without matplotlib there are no figures, without markdown and jinja2 no report.html; the report says so.

    Args:
        cells: as `evaluation.cell.fill` makes them, or with "method", "network", "seed" and "error"; may be none.
        out: the study's folder, which holds the cells' pictures; made where it is missing.
        against: methods that all others are compared with, beside the best baseline.

    Returns:
        the text of report.md.

    Raises:
        OSError: a file could not be written.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    page = _Page(cells, out, against)
    # A file system's names need not be UTF-8: halves of characters are shown as escapes.
    text = page.text().encode("utf-8", "backslashreplace").decode()
    html = _html(text, page.pictures, out)
    if html is None:
        (out / "report.html").unlink(missing_ok=True)  # an earlier one would show earlier cells
        text += f"\nThere is no report.html: {_INSTALL} brings the packages markdown and jinja2, which make it.\n"
    else:
        write_atomic(out / "report.html", html.encode())
    write_atomic(out / "report.md", text.encode())
    return text


class _Page:
    """The Markdown, and the pictures that it shows."""

    def __init__(self, cells: Sequence[dict], out: Path, against: Sequence[str]) -> None:
        self.cells, self.out, self.against, self.pictures = cells, out, against, []
        self.good = [cell for cell in cells if "error" not in cell]
        self.methods = compare.methods(self.good)
        self.styles = figures.styles(self.methods, grey=REAL_ONLY)

    def text(self) -> str:
        parts = [f"# {TITLE}\n", *self._answers(), tables.HOW if self.good else "No cell is finished.\n"]
        for network in dict.fromkeys(cell["network"] for cell in self.good):
            own = [cell for cell in self.good if cell["network"] == network]
            for shots in dict.fromkeys(cell.get("shots") for cell in own):
                parts += self._network(network, shots, [cell for cell in own if cell.get("shots") == shots])
        parts += self._pairs()
        parts.append(tables.failed(self.cells))
        return "\n".join(part for part in parts if part)

    def _answers(self) -> list[str]:
        """What every network says in a sentence, and its curve over the number of real defects."""
        parts = []
        networks = dict.fromkeys(cell["network"] for cell in self.good if "real_defects" in cell)
        for network in networks:
            points = answer.curves([cell for cell in self.good if cell["network"] == network])
            words = answer.answer(points)
            if words:
                parts += [f"With {tables.escape(network)}:\n"] * (len(networks) > 1) + [words]
            drawn = self._curve(points)
            parts += [self._figure(drawn, f"curve-{network}", _CURVE), answer.curve_table(points)]
        return parts

    def _curve(self, points: dict[str, list[answer.Point]]) -> bytes | None:
        """AP over the number of real defects; None with one number alone, or without matplotlib."""
        numbers = {point.images: point.name for own in points.values() for point in own}
        if len(numbers) < 2:
            return None
        spans = {
            method: {point.images: (point.value.mean, point.value.low, point.value.high) for point in own}
            for method, own in points.items()
        }
        bins = {images: f"{name}\n({images} images)" for images, name in sorted(numbers.items())}
        try:
            return figures.spans_by_bin(bins, spans, self.styles, "real defects per type", "AP, %")
        except ImportError:
            return None

    def _network(self, network: str, shots: int | None, own: list[dict]) -> list[str]:
        title = tables.escape(network) + ("" if shots is None else f", {shots} real defects per type")
        name = network if shots is None else f"{network}-{shots}"
        try:
            area, validation = self._area(own), self._validation(own)
        except ImportError:
            area = validation = None
        references = compare.references(own, self.against)
        return [
            f"## {title}\n",
            tables.setup(own),
            tables.headline(own, references),
            tables.intervals(own, references),
            tables.findings(own, references),
            self._figure(validation, f"validation-{name}", _VALIDATION),
            tables.per_type(own),
            tables.by_size(own),
            self._figure(area, f"area-{name}", _AREA),
            self._cases(own),
        ]

    def _pairs(self) -> list[str]:
        missing = ""
        try:
            drawn = self._contrasts()
        except ImportError:
            drawn, missing = None, f"There are no figures: {_INSTALL} brings matplotlib, which draws them.\n"
        return [tables.statistics(self.good), self._figure(drawn, "contrasts", _CONTRASTS), missing]

    def _area(self, cells: Sequence[dict]) -> bytes | None:
        """IoU by defect size; None where no defect has an area. ImportError without matplotlib, here and below."""
        areas = compare.by_area(cells)
        if areas is None:
            return None
        bins = [
            f"{low} to {high}\n({images} images)"
            for (low, high), images in zip(areas.bounds, areas.images, strict=True)
        ]
        shares = {method: areas.iou[method] for method in self.methods if method in areas.iou}
        return figures.dots_by_bin(bins, shares, self.styles, "mask area, px", "pooled IoU, %")

    def _validation(self, cells: Sequence[dict]) -> bytes | None:
        trainings = {method: compare.validation(cells, method) for method in self.methods}
        trainings = {method: own for method, own in trainings.items() if own and len(own[0]) > 1}
        if not trainings:
            return None
        means = {method: compare.mean_curve(own) for method, own in trainings.items()}
        steps = f"training step (grey: {next(iter(trainings))})"
        return figures.curve_panels(trainings, means, self.styles, steps, "validation IoU, %")

    def _contrasts(self) -> bytes | None:
        rows = compare.contrasts(self.good, self.methods)
        types = sorted({type for found in rows.values() for type, values in found.items() if values})
        return figures.box_panels(rows, types, self.styles, VISIBLE, _CONTRAST_AXIS) if types else None

    def _figure(self, drawn: bytes | None, name: str, caption: str) -> str:
        if drawn is None:
            return ""
        path = f"figures/{re.sub(r'[^A-Za-z0-9_.-]', '-', name)}.png"
        (self.out / path).parent.mkdir(exist_ok=True)
        write_atomic(self.out / path, drawn)
        return self._shown(_Picture(caption, path))

    def _cases(self, cells: Sequence[dict]) -> str:
        """The pictures of each method's first seed; "" where none is there."""
        shown = []
        for method in compare.methods(cells):
            first = min(compare.of(cells, method), key=lambda cell: cell["seed"])
            few = "" if first.get("shots") is None else f"shots-{first['shots']}/"
            path = f"cells/{method}/{first['network']}/{few}{first['seed']}.png"
            if (self.out / path).is_file():
                shown.append(self._shown(_Picture(f"{method}, seed {first['seed']}", path)))
        return "\n".join(["### Best and worst cases\n", *shown]) if shown else ""

    def _shown(self, picture: _Picture) -> str:
        self.pictures.append(picture)
        return picture.markdown


_VALIDATION = "IoU on groups held out of further trainings (thin lines, other groups in each); the cells train on all."
_AREA = "IoU by defect size: mean over seeds, bars from the lowest seed to the highest."
_CURVE = "AP over the number of real defects that train: mean and 95 % interval over seeds and groups."
_CONTRAST_AXIS = "signed contrast, SD of the surface around (negative: darker; grey band: hardly visible)"
_CONTRASTS = f"Signed contrasts: median, quartiles, 5 and 95 %; a dot is a defect, at most {figures.DOTS} a row."


def _html(text: str, pictures: Sequence[_Picture], out: Path) -> str | None:
    """The whole page with every picture inside it; None without the packages that make it."""
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
        from markdown import markdown
        from markupsafe import Markup
    except ImportError:
        return None
    body = markdown(text, extensions=["tables"])  # `text` holds no markup of others: `tables.escape`
    for picture in pictures:
        data = base64.b64encode((out / picture.path).read_bytes()).decode()
        body = body.replace(f'src="{picture.link}"', f'src="data:image/png;base64,{data}"')
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    return environment.get_template("page.html.jinja").render(title=TITLE, body=Markup(body))
