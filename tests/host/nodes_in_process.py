"""Run by a host's own Python: every check of `inside`, as JSON {name: {"seconds", "figures" or "error"}}."""

import importlib
import json
import sys
import time
import traceback
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE))

import inside.start  # noqa: E402, F401 isort:skip  before anything of ComfyUI is imported
import torch  # noqa: E402


def run(check) -> dict:
    before = time.perf_counter()
    try:
        with torch.inference_mode():  # as core runs its nodes
            result = {"figures": check()}
    except Exception:
        result = {"error": traceback.format_exc()}
    return result | {"seconds": time.perf_counter() - before}


results = {}
for path in sorted((HERE / "inside").glob("*.py")):
    module = importlib.import_module(f"inside.{path.stem}")
    checks = {name: check for name, check in vars(module).items() if name.startswith("check_")}
    results |= {f"{path.stem}.{name.removeprefix('check_')}": run(check) for name, check in checks.items()}
print(json.dumps(results))
