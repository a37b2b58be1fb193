"""Settings: one place for default, range and help, from which values are checked and options are generated."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from math import inf, nan

import pytest
from anomaly_synthesis import cli_arguments
from anomaly_synthesis.datasets.settings import ExportSettings, SplitSettings, SurfaceSettings
from anomaly_synthesis.evaluation.settings import Study, Training
from anomaly_synthesis.images import windows
from anomaly_synthesis.settings import check_settings, setting, settings_of
from anomaly_synthesis.synthesis.settings import DROP, Policy, RunSettings, Settings, WorstSettings
from anomaly_synthesis.training.settings import AdapterTraining, BaseTraining, FastTraining, StageTraining

from .refusals import refused

EVERY = (
    AdapterTraining,
    BaseTraining,
    ExportSettings,
    FastTraining,
    Policy,
    RunSettings,
    Settings,
    SplitSettings,
    StageTraining,
    Study,
    SurfaceSettings,
    Training,
    WorstSettings,
)


@dataclass(frozen=True)
class Toy:
    count: int = setting(2, "How many.", low=1, high=9)
    share: float = setting(0.5, "How much.", above=0, below=1)
    side: int = setting(64, "How large.", low=32, multiple=16)
    rate: float | None = setting(None, "How fast.", low=0)
    kind: str = setting("a", "Which.", choices=("a", "b"))
    widths: tuple[int, ...] = setting((16, 32), "How wide.", low=16, multiple=16)
    plain: float = 0.0

    def __post_init__(self):
        check_settings(self)


@pytest.mark.parametrize(
    ("change", "got", "accepted"),
    [
        ({"count": 0}, "0", "1 to 9"),
        ({"count": 10}, "10", "1 to 9"),
        ({"share": 0.0}, "0.0", "above 0, below 1"),
        ({"share": 1.0}, "1.0", "above 0, below 1"),
        ({"side": 40}, "40", "a multiple of 16, 32 or more"),
        ({"side": 16}, "16", "a multiple of 16, 32 or more"),
        ({"rate": nan}, "nan", "0 or more"),
        ({"rate": inf}, "inf", "0 or more"),
        ({"kind": "c"}, "'c'", "one of a, b"),
        ({"widths": (16, 24)}, "24", "a multiple of 16, 16 or more"),
        ({"widths": ()}, "none", "a multiple of 16, 16 or more"),
    ],
)
def test_a_value_out_of_range_is_refused_by_the_settings_name(change, got, accepted):
    with refused(f"^{next(iter(change))}$", f"^{got}$", f"^{accepted}$"):
        Toy(**change)


def test_values_in_range_and_the_default_none_are_taken():
    Toy(count=9, share=0.99, side=48, rate=0, kind="b", widths=(16,), plain=nan)
    assert "plain" not in settings_of(Toy)
    assert settings_of(Toy(count=3))["count"].default == 3


@pytest.mark.parametrize("of", EVERY, ids=lambda of: of.__name__)
def test_every_setting_has_help_in_sentences_and_a_default_in_its_range(of):
    for found in settings_of(of).values():
        assert found.help[0].isupper()
        assert found.help.endswith(".") and "--" not in found.help
        if found.type == "bool" and found.default:
            assert not found.off or found.off.endswith(".")
        if hasattr(of, found.name):
            found.check(found.default)


def test_the_windows_default_context_is_that_of_the_settings():
    assert Settings().context == windows.CONTEXT


def _commands() -> dict[str, argparse.ArgumentParser]:
    actions = cli_arguments.parser()._actions
    return next(one.choices for one in actions if isinstance(one, argparse._SubParsersAction))


def test_help_states_range_and_default():
    text = " ".join(_commands()["synthesize"].format_help().split())
    assert "twice with guidance. [1 to 1000; default: 20]" in text
    assert "[default: drop]" in text and "[0 or more; default: 2]" in text
    text = " ".join(_commands()["train"].format_help().split())
    assert "[above 0; default: fast 0.00015, stage 0.001]" in text
    assert "default: 64 256 512 256 64]" in text


def test_every_option_with_a_default_says_so():
    for name, command in _commands().items():
        for action in command._actions:
            if action.default not in (None, False, [], argparse.SUPPRESS):
                assert "default" in action.help, f"{name} {action.dest}"


def test_options_give_the_settings_that_they_were_made_from():
    words = ["--data", "d", "--split", "s", "--base", "b", "--count", "7", "--out", "o"]
    options = cli_arguments.parser().parse_args(["synthesize", *words])
    assert Settings(**cli_arguments.values_of(options, Settings)) == Settings()
    assert Policy(**cli_arguments.values_of(options, Policy)) == DROP
    assert RunSettings(**cli_arguments.values_of(options, RunSettings)) == RunSettings(7)
    more = ["--unaware", "--compose", "paste", "--graded", "mga", "--farm-until", "2"]
    options = cli_arguments.parser().parse_args(["synthesize", *words, *more])
    changed = Settings(aware=False, mode="paste", graded="mga", farm_until=2.0)
    assert Settings(**cli_arguments.values_of(options, Settings)) == changed
    assert options.flags["mode"] == "--compose" and options.flags["count"] == "--count"


def test_each_method_keeps_its_own_learning_rate_and_widths():
    words = ["train", "--data", "d", "--split", "s", "--base", "b", "--out", "o"]
    options = cli_arguments.parser().parse_args(words)
    for method in (FastTraining, StageTraining):
        assert method(**cli_arguments.values_of(options, AdapterTraining)) == method()
    assert cli_arguments.values_of(options, StageTraining) == {}
    options = cli_arguments.parser().parse_args([*words, "--learning-rate", "0.5", "--widths", "16", "32"])
    assert cli_arguments.values_of(options, AdapterTraining)["learning_rate"] == 0.5
    assert cli_arguments.values_of(options, StageTraining) == {"widths": (16, 32)}
