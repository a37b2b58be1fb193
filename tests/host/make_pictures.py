"""Not a test: `make pictures` makes the README's screenshot, the workflows' thumbnails and the help pages' pictures
again, in the newest host found. Every surface in them is procedural."""

import json
import math
from pathlib import Path

import pytest
from PIL import Image

from .conftest import REPOSITORY
from .test_browser import VIEW

PROMPTS, WORKFLOWS = REPOSITORY / "tests" / "prompts", REPOSITORY / "workflows"
HELP = REPOSITORY / "web" / "docs"
# Indices of the procedural items.
THUMBNAILS = {
    "aias-synthesis": (1, 3, 5, 8),
    "aias-advanced": (0, 6, 9, 10),
    "fast-synthesis": (1, 3, 5, 9),
    "stage-synthesis": (1, 3, 5, 9),
    "fast-and-stage": (1, 3, 5, 9),
}
# By type, on the same photograph and mask.
MADE = {
    "draw-defects": ("scratch", "pit", "corrosion", "crack"),
    "make-defects": ("pit", "stain", "crack", "missing"),
}
TRAININGS = ("fast-train", "stage-train")
DATASET = "dataset-to-pairs"
THUMBNAIL, TILE = 400, 198
ZOOM = """([x, y, scale]) => {
    app.canvas.ds.scale = scale
    app.canvas.ds.offset = [x, y]
    app.canvas.setDirty(true, true)
}"""


@pytest.fixture
def newest(host):
    if host.name != "ComfyUI":
        pytest.skip("pictures are made in the newest host")


def test_readme_picture(newest, server, page, tmp_path):
    page.tab.set_viewport_size(VIEW)
    page.load_workflow(json.loads((WORKFLOWS / "aias-synthesis.json").read_text()), "aias-synthesis")
    page.run()
    page.screenshot(tmp_path / "graph.png")
    _save(Image.open(tmp_path / "graph.png"), REPOSITORY / "docs" / "workflow.jpg", width=1800)


@pytest.mark.parametrize("name", THUMBNAILS)
def test_thumbnail(newest, server, name):
    sheet = Image.new("RGB", (THUMBNAIL, THUMBNAIL), "white")
    for place, index in enumerate(THUMBNAILS[name]):
        prompt = json.loads((PROMPTS / f"{name}.json").read_text())
        prompt["2"]["inputs"]["index"] = index
        prompt["24"]["inputs"]["folder"] = f"thumbnail-{name}"
        entry = server.run(prompt)
        (result,) = [path for path in server.images(entry) if "thumbnail" in str(path)]
        tile = Image.open(result).resize((TILE, TILE), Image.Resampling.LANCZOS)
        sheet.paste(tile, (place % 2 * (THUMBNAIL - TILE), place // 2 * (THUMBNAIL - TILE)))
    sheet.save(WORKFLOWS / f"{name}.jpg", quality=88)


@pytest.mark.parametrize("name", MADE)
def test_made_thumbnail(newest, server, name):
    sheet = Image.new("RGB", (THUMBNAIL, THUMBNAIL), "white")
    for place, kind in enumerate(MADE[name]):
        prompt = json.loads((PROMPTS / f"{name}.json").read_text())
        prompt["2"]["inputs"]["type"] = kind
        entry = server.run(prompt)
        (result,) = server.images({"outputs": {"3": entry["outputs"]["3"]}})
        tile = Image.open(result).convert("RGB").crop((80, 50, 300, 270)).resize((TILE, TILE), Image.Resampling.LANCZOS)
        sheet.paste(tile, (place % 2 * (THUMBNAIL - TILE), place // 2 * (THUMBNAIL - TILE)))
    sheet.save(WORKFLOWS / f"{name}.jpg", quality=88)


@pytest.mark.parametrize("name", TRAININGS)
def test_training_thumbnail(newest, server, name):
    """The error on held-out defects while it trained, over the pair that the adapter then makes."""
    prompt = json.loads((PROMPTS / f"{name}.json").read_text())
    (curve,) = [id for id, node in prompt.items() if node["class_type"] == "PreviewImage"]
    entry = server.run(prompt)
    sheet = Image.new("RGB", (THUMBNAIL, THUMBNAIL), "white")
    files = [server.images({"outputs": {id: entry["outputs"][id]}})[0] for id in (curve, "23")]
    plot, pair = (Image.open(file).convert("RGB") for file in files)
    plot = plot.crop((plot.width // 2, 0, plot.width, 360))
    for image, top in ((plot, 0), (pair, THUMBNAIL - 150)):
        sheet.paste(
            image.resize((THUMBNAIL, THUMBNAIL * image.height // image.width), Image.Resampling.LANCZOS), (0, top)
        )
    sheet.save(WORKFLOWS / f"{name}.jpg", quality=88)


def test_dataset_thumbnail(newest, server):
    """The first rows of the dataset's picture over the worst pairs."""
    entry = server.run(json.loads((PROMPTS / f"{DATASET}.json").read_text()))
    files = [server.images({"outputs": {id: entry["outputs"][id]}})[0] for id in ("30", "31")]
    dataset, worst = (Image.open(file).convert("RGB") for file in files)
    sheet, height = Image.new("RGB", (THUMBNAIL, THUMBNAIL), "white"), THUMBNAIL * worst.height // worst.width
    dataset = dataset.crop((0, 0, dataset.width, dataset.width * (THUMBNAIL - height) // THUMBNAIL))
    sheet.paste(dataset.resize((THUMBNAIL, THUMBNAIL - height), Image.Resampling.LANCZOS), (0, 0))
    sheet.paste(worst.resize((THUMBNAIL, height), Image.Resampling.LANCZOS), (0, THUMBNAIL - height))
    sheet.save(WORKFLOWS / f"{DATASET}.jpg", quality=88)


def test_help_pictures(newest, server, page, tmp_path):
    page.tab.set_viewport_size({"width": 2000, "height": 1000})
    made = set()
    # A node is shown in the first that has it.
    others = "core-ksampler", "evaluate", "baselines", "refine-pairs", DATASET, "nearest-real"
    for name in (*MADE, *THUMBNAILS, *others, *TRAININGS):
        workflow = WORKFLOWS / f"{name}.json"
        if workflow.exists():
            page.load_workflow(json.loads(workflow.read_text()), name)
        else:
            page.load_prompt(json.loads((PROMPTS / f"{name}.json").read_text()), name)
        page.run()
        page.screenshot(tmp_path / "all.png")  # draws every node once, so that images are loaded
        for id, kind in page.tab.evaluate("() => app.graph.nodes.map(node => [node.id, node.type])"):
            if kind.startswith("SIAS_") and kind not in made:
                made.add(kind)
                _save(_portrait(page, id, tmp_path / f"{kind}.png"), HELP / f"{kind}.jpg")
    for kind in sorted({id for id in server.object_info() if id.startswith("SIAS_")} - made):
        page.load_prompt({"1": {"class_type": kind, "inputs": {}}}, kind)  # needs a file that only a user has
        _save(_portrait(page, 1, tmp_path / f"{kind}.png"), HELP / f"{kind}.jpg")


def _portrait(page, id, path: Path) -> Image.Image:
    """The node alone with its surroundings, at a size where its words are easy to read."""
    x, y, width, height = page.tab.evaluate("id => [...app.graph.getNodeById(id).boundingRect]", id)
    scale = min(1.5, 900 / height)
    margin = 24
    left, top = 300, 60
    page.tab.evaluate(ZOOM, [left / scale - x, top / scale - y, scale])
    page.tab.wait_for_timeout(400)
    page.tab.screenshot(path=path)
    box = (
        left - margin,
        top - margin,
        left + math.ceil(width * scale) + margin,
        top + math.ceil(height * scale) + margin,
    )
    return Image.open(path).crop(box)


def _save(image: Image.Image, path: Path, width: int = 0) -> None:
    if width:
        image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.convert("RGB").save(path, quality=88)
