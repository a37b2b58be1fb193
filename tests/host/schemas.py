"""Run by a host's own Python: every schema of the pack, as JSON."""

import asyncio
import inspect
import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

from inside.start import room  # noqa: E402

LIMITS = ("default", "min", "max", "options", "force_input")


def described(node) -> dict:
    schema = node.GET_SCHEMA()
    parameters = list(inspect.signature(node.execute).parameters)
    return {
        "name": schema.display_name,
        "category": schema.category,
        "description": schema.description,
        "inputs": [input_entry(i) for i in schema.inputs],
        "outputs": [output_entry(o) for o in schema.outputs],
        "parameters": parameters,
    }


def input_entry(entry) -> dict:
    limits = {name: value for name in LIMITS if (value := getattr(entry, name, None)) is not None}
    if entry.id in ("base_name", "adapter_name", "choose", "start"):
        limits.pop("options", None)  # the user's files and folders
    if getattr(entry, "control_after_generate", None):
        limits["control_after_generate"] = True  # hosts differ in the values that they know
    return {
        "id": entry.id,
        "type": str(entry.get_io_type()),
        "optional": entry.optional,
        **limits,
        "tooltip": entry.tooltip,
    }


def output_entry(entry) -> dict:
    return {"id": entry.id, "type": str(entry.get_io_type()), "list": entry.is_output_list, "tooltip": entry.tooltip}


pack = asyncio.run(room("nodes").AnomalySynthesis().get_node_list())
print(
    json.dumps(
        {
            "schemas": {node.GET_SCHEMA().node_id: described(node) for node in pack},
        }
    )
)
