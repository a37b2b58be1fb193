"""The rooms' one-way imports, read from the syntax trees."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALLOWED = {
    "samplers": {"errors"},
    "modules": {"errors", "samplers", "files"},
    "files": {"errors"},
    "images": {"errors", "files"},
    "datasets": {"errors", "files", "images"},
    "training": {"errors", "modules", "samplers", "files", "images", "datasets"},
    "baselines": {"errors", "modules", "samplers", "files", "images", "datasets"},
    "synthesis": {"errors", "seeds", "modules", "samplers", "files", "images", "datasets"},
    "evaluation": {
        "errors",
        "synthesis",
        "baselines",
        "training",
        "modules",
        "samplers",
        "files",
        "images",
        "datasets",
    },
    "batch": {"errors", "files", "images", "datasets"},
}
ROOT_MODULES = {"seeds", "choices", "settings"}  # beside the rooms, for all of them
CORE = {"torch", "numpy", "PIL", "safetensors", "einops", "scipy"}  # scipy: ComfyUI ships it
HOST = {"folder_paths", "latent_preview"}  # ComfyUI's modules whose names do not show that
ONLY_IN_BATCH = {"subprocess", "aiohttp", "ray", "requests", "urllib", "socket"}
ROOMS = {*ALLOWED, "nodes"}
FILES = [*ROOT.glob("*.py")] + [
    path for depth in ("*", "*/*") for path in ROOT.glob(f"{depth}/*.py") if path.relative_to(ROOT).parts[0] in ROOMS
]


def _imports(path: Path) -> list[tuple[int, str]]:
    """(level, module) of every import statement in a file; level 0 is absolute."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append((node.level, node.module))
        elif isinstance(node, ast.ImportFrom):
            found += [(node.level, alias.name) for alias in node.names]
    return found


def test_there_are_files_to_read():
    assert len(FILES) > 20


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_imports_point_one_way(path):
    *folders, _ = path.relative_to(ROOT).parts
    room = folders[0] if folders else ""
    for level, module in _imports(path):
        top = module.split(".")[0]
        if folders and level == len(folders) + 1:
            assert room == "nodes" or top in ALLOWED[room] | ROOT_MODULES, f"{room} must not import {top}"
        if level == 0 and top.startswith("comfy"):
            assert room == "nodes", "only nodes/ imports ComfyUI"
        if level == 0 and top in ONLY_IN_BATCH:
            assert room == "batch", f"{top} belongs in batch/"
        if level == 0 and room == "samplers":
            assert top in {"torch", "collections", "dataclasses", "functools", "itertools", "math", "__future__"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_core_needs_only_what_comfyui_ships(path):
    import sys

    outside = {m.split(".")[0] for level, m in _imports(path) if level == 0} - CORE - set(sys.stdlib_module_names)
    outside = {name for name in outside if not name.startswith("comfy")}
    outside -= HOST if path.parent.name == "nodes" else set()
    room = path.relative_to(ROOT).parts[0]
    outside -= {"matplotlib"} if path == ROOT / "images" / "figures.py" else set()
    assert not outside or room in ("batch", "evaluation"), f"{outside} must be an optional extra"


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_sheets_tables_and_curves_are_drawn_in_images(path):
    text = path.read_text()
    drawn = [name for name in ("ImageDraw", "ImageFont", "matplotlib.figure") if name in text]
    assert not drawn or path.parent.name == "images", f"{drawn} belongs in images/"
