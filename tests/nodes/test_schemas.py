"""The nodes' schemas: complete for readers, and compatible with saved workflows."""

import json
import os
from pathlib import Path

import pytest

pytestmark = pytest.mark.host
FROZEN = Path(__file__).parent / "schemas.json"
HELP = Path(__file__).parents[2] / "web" / "docs"
RENEW = "RENEW_SCHEMAS"
RULE = (
    "Saved workflows hold a node's widgets by their place and its outputs by their number, so a released node may only "
    "be given new inputs and outputs at the end, and its ids, types, defaults and options stay. If that is what was "
    f"done, run `{RENEW}=1 pytest tests/nodes` and commit schemas.json."
)
# For readers, or checked against `execute`: no workflow depends on these.
TEXTS = {"name", "category", "description", "tooltip", "parameters"}
_dumps = {}


@pytest.fixture
def dump(host, in_host):
    """All schemas as one host sees them; each host is queried once."""
    if host not in _dumps:
        _dumps[host] = in_host("schemas.py")
    return _dumps[host]


@pytest.fixture
def schemas(dump):
    return dump["schemas"]


def test_ids_categories_and_names(schemas):
    assert len(schemas) > 10
    for id, schema in schemas.items():
        assert id.startswith("SIAS_") and schema["category"].startswith("anomaly synthesis/")
        assert schema["name"] and not schema["name"].startswith("SIAS")
    assert len({schema["name"] for schema in schemas.values()}) == len(schemas)


def test_execute_takes_the_inputs_in_their_order(schemas):
    for id, schema in schemas.items():
        assert [entry["id"] for entry in schema["inputs"]] == schema["parameters"], id


def test_everything_is_described(schemas):
    mute = [id for id, schema in schemas.items() if not schema["description"].strip()]
    mute += [
        f"{id}.{entry['id']}"
        for id, schema in schemas.items()
        for entry in schema["inputs"] + schema["outputs"]
        if not (entry["tooltip"] or "").strip()
    ]
    assert not mute


def test_every_node_has_a_help_page_with_a_row_for_every_input(schemas):
    missing = []
    for id, schema in schemas.items():
        page = HELP / f"{id}.md"
        text = page.read_text() if page.is_file() else ""
        missing += [f"{page.name}: {entry['id']}" for entry in schema["inputs"] if f"| `{entry['id']}` |" not in text]
        missing += [] if text.strip() else [f"{page.name} itself"]
    assert not missing


def test_the_help_folder_holds_nothing_else(schemas):
    assert {page.stem for page in HELP.glob("SIAS_*.md")} <= set(schemas), "a help page of a node that is gone"


def test_schemas_are_those_of_saved_workflows(schemas):
    now = _without(schemas, TEXTS)
    if os.environ.get(RENEW):
        FROZEN.write_text(json.dumps(now, indent=1) + "\n")
    frozen = json.loads(FROZEN.read_text())
    changed = [
        f"{id}: {_difference(frozen.get(id), now.get(id))}" for id in {**frozen, **now} if frozen.get(id) != now.get(id)
    ]
    assert not changed, "\n".join([*changed, RULE])


def _without(tree, keys: set):
    if isinstance(tree, dict):
        return {key: _without(value, keys) for key, value in tree.items() if key not in keys}
    return [_without(value, keys) for value in tree] if isinstance(tree, list) else tree


def _difference(before: dict | None, after: dict | None) -> str:
    """The first thing that differs between two versions of a node, as text."""
    if before is None or after is None:
        return "is new" if before is None else "is gone"
    for kind in ("inputs", "outputs"):
        for place, old in enumerate(before[kind]):
            new = after[kind][place] if place < len(after[kind]) else None
            if old != new:
                return f"{kind[:-1]} {place} was {old}, is {new}"
    return "has more inputs or outputs"
