"""An adapter's training that is killed and resumed ends with the same file."""

import os
import signal
import subprocess
import sys
import time

import pytest
from anomaly_synthesis.datasets.split import save_split
from anomaly_synthesis.modules.adapter_file import load_adapter
from anomaly_synthesis.modules.base_file import save_base

_TRAIN = """
import sys
from functools import partial
from anomaly_synthesis.training import adapter_loop, defects
from anomaly_synthesis.training.fast import FastTraining
from anomaly_synthesis.training.adapter import train_adapter_file
defects.FITTING, defects.HELD_OUT = 8, 4
adapter_loop.train = partial(adapter_loop.train, save_every=0)
train_adapter_file(*sys.argv[1:], FastTraining(steps=16, batch=2, tokens=2, evaluate_every=3), resume=True)
"""


@pytest.mark.slow
def test_kill_9_three_times_and_resume_gives_the_same_adapter(tmp_path, surfaces, split, tiny_base):
    script, base = tmp_path / "train.py", tmp_path / "base.safetensors"
    script.write_text(_TRAIN)
    save_split(split, tmp_path / "split.json")
    save_base(base, tiny_base, {"split": split.digest})
    whole, broken = tmp_path / "whole.safetensors", tmp_path / "broken.safetensors"

    def start(out):
        arguments = [sys.executable, "-P", script, surfaces, tmp_path / "split.json", base, out]
        return subprocess.Popen(list(map(str, arguments)), env={**os.environ, "OMP_NUM_THREADS": "1"})

    assert start(whole).wait(300) == 0
    for writes in (3, 4, 3):
        process = start(broken)
        _wait_for_writes(tmp_path / "broken.safetensors.state", writes)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    assert start(broken).wait(300) == 0
    one, two = map(load_adapter, (whole, broken))
    assert {name: value.tobytes() for name, value in _arrays(one)} == {name: v.tobytes() for name, v in _arrays(two)}
    timed = {"seconds"}
    assert {k: v for k, v in one.training.items() if k not in timed} == {
        k: v for k, v in two.training.items() if k not in timed
    }


def _arrays(adapter):
    return [(name, tensor.numpy()) for name, tensor in adapter.tensors.items()]


def _wait_for_writes(state, writes):
    seen, deadline = set(), time.monotonic() + 120
    while len(seen) <= writes:
        assert time.monotonic() < deadline, f"{state.name} was not written {writes} times within two minutes"
        if state.exists():
            seen.add(state.stat().st_mtime_ns)
        time.sleep(0.001)
