"""What the Comfy registry gets: one version, no dependency that ComfyUI ships, and runtime files only."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ROOMS = {name.partition(".")[2] for name in PYPROJECT["tool"]["setuptools"]["packages"]} - {""}
DATA = {"weights", "web", "workflows"}
FILES = {
    "__init__.py",
    "cli.py",
    "cli_arguments.py",
    "cli_progress.py",
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "choices.py",
    "errors.py",
    "seeds.py",
    "settings.py",
}
FORBIDDEN = {"subprocess", "aiohttp", "urllib", "urllib3", "requests", "httpx", "http", "socket"}


def _git(*options: str) -> set[str]:
    listed = subprocess.run(["git", "ls-files", "-z", *options], cwd=ROOT, capture_output=True, text=True, check=True)
    return {path for path in listed.stdout.split("\0") if path and (ROOT / path).exists()}


@pytest.fixture
def shipped() -> set[str]:
    """As `comfy node pack` chooses: what git tracks, without what .comfyignore names."""
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout: what would ship is unknown")
    return _git("--cached") - _git("--cached", "--ignored", "--exclude-from=.comfyignore")


def test_only_runtime_files_ship(shipped):
    assert shipped >= {"__init__.py", "LICENSE", "pyproject.toml", "nodes/__init__.py", "weights/surfaces.safetensors"}
    assert {path.split("/")[0] for path in shipped} <= {room.split(".")[0] for room in ROOMS} | DATA | FILES


def test_shipped_code_starts_no_process_opens_no_connection_and_evaluates_no_text(shipped):
    found = []
    for path in sorted(path for path in shipped if path.endswith(".py")):
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            elif isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called in {"eval", "exec", "os.system", "os.popen"}:
                    found.append(f"{path}:{node.lineno} {called}()")
            found += [f"{path}:{node.lineno} {name}" for name in names if name.split(".")[0] in FORBIDDEN]
    assert not found


def test_the_version_is_the_changelogs_newest():
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest and newest[1] == PYPROJECT["project"]["version"]


def test_installing_leaves_comfyuis_own_packages_alone():
    wanted = {re.split(r"[^\w-]", line, maxsplit=1)[0].lower() for line in PYPROJECT["project"]["dependencies"]}
    assert not wanted & {"torch", "torchvision", "torchaudio", "numpy"}
    assert not (ROOT / "requirements.txt").exists(), "ComfyUI-Manager would install it too; see [project].dependencies"


def test_every_room_is_packaged():
    found = [*ROOT.glob("*/__init__.py"), *ROOT.glob("*/*/__init__.py")]
    folders = [path.parent.relative_to(ROOT).parts for path in found]
    others = {"tests", "benchmarks", "build"}  # of the repository alone
    assert {".".join(parts) for parts in folders if parts[0] not in others and not parts[0].startswith(".")} == ROOMS
