"""Every name that can be chosen exists in the table of the room that implements it."""

import subprocess
import sys

import pytest
from anomaly_synthesis import choices
from anomaly_synthesis.datasets import exports, layouts
from anomaly_synthesis.datasets.surfaces import defects
from anomaly_synthesis.evaluation import methods, networks
from anomaly_synthesis.samplers import presets, stage_presets
from anomaly_synthesis.synthesis import worst

TABLES = {
    "PRESETS": presets._PRESETS,
    "STAGES": stage_presets._PRESETS,
    "LAYOUTS": [layout.name for layout in layouts.LAYOUTS],
    "FORMATS": exports.FORMATS,
    "DEFECTS": defects.TYPES,
    "NETWORKS": networks.NETWORKS,
    "METHODS": [methods.REAL_ONLY, *methods.METHODS, *methods.SHORT],
    "SCORES": worst.SCORES,
}


@pytest.mark.parametrize("name", TABLES)
def test_the_names_are_those_of_the_rooms_table(name):
    assert sorted(getattr(choices, name)) == sorted(TABLES[name])


def test_help_and_names_come_without_torch():
    code = (
        "import sys; from anomaly_synthesis import cli_arguments; cli_arguments.parser(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
