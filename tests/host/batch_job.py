"""The job of docs/batch.md, adapted to a test's server, and its result."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from .conftest import REPOSITORY

EXAMPLE = next(
    yaml.safe_load(block)
    for block in re.findall(r"```yaml\n(.*?)```", (REPOSITORY / "docs" / "batch.md").read_text(), re.DOTALL)
    if block.startswith("workflow")
)


def write_job(folder: Path, workflow: Path, **changes) -> Path:
    """job.yaml in a new folder, of three sampling steps; changes replace keys, None removes one."""
    inputs = EXAMPLE["inputs"] | {"KSampler (AIAS)": EXAMPLE["inputs"]["KSampler (AIAS)"] | {"steps": 3}}
    job = EXAMPLE | {"workflow": str(workflow), "out": "pairs", "inputs": inputs} | changes
    folder.mkdir()
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in job.items() if value is not None}))
    return path


def made(path: Path) -> dict[str, bytes]:
    """Every picture of a job's output folder."""
    out = path.parent / "pairs"
    return {file.relative_to(out).as_posix(): file.read_bytes() for file in out.rglob("*.png")}
