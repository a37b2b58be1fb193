"""Every out-of-memory error becomes a message with the setting to lower; other errors stay."""

import errno
import pickle

import pytest
import torch
from anomaly_synthesis import cli
from anomaly_synthesis.errors import Refused, out_of_memory, reason


def wrapped(error):
    outer = ValueError("Training: it failed")
    outer.__cause__ = error
    return outer


FULL = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("MPS backend out of memory (MPS allocated: 18 GB)"),
    RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"),
    RuntimeError("Could not allocate tensor with 67108864 bytes. There is not enough GPU video memory available!"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    wrapped(MemoryError()),
]


@pytest.mark.parametrize("error", FULL, ids=repr)
def test_every_out_of_memory_error_names_the_setting_to_lower(error, monkeypatch, capsys, tmp_path):
    def full(_):
        raise error

    assert out_of_memory(error)
    monkeypatch.setitem(cli._COMMANDS, "surfaces", full)
    assert cli.main(["surfaces", "--out", str(tmp_path / "s")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: out of memory") and "lower --batch" in said and said.count("\n") == 1


def test_other_errors_stay_what_they_are(monkeypatch, tmp_path):
    def broken(_):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setitem(cli._COMMANDS, "surfaces", broken)
    with pytest.raises(RuntimeError, match="mat1"):
        cli.main(["surfaces", "--out", str(tmp_path / "s")])
    assert not out_of_memory(ValueError("memory")) and not out_of_memory(OSError(errno.ENOSPC, "full"))


def test_an_allocation_that_is_too_large_is_known():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert out_of_memory(caught.value)


def test_a_refusal_keeps_its_parts_through_doors_files_and_processes():
    error = Refused("steps", 0, accepted="1 or more", remedy="add steps")
    assert str(error) == "steps: 0; accepted is 1 or more; add steps."
    assert str(error.at("Inner").at("AIAS Sigmas")) == "AIAS Sigmas: steps: 0; accepted is 1 or more; add steps."
    assert str(Refused("mask.png", remedy="draw it again").of("other.png")) == "other.png: draw it again."
    locked = Refused("out", "not empty", remedy="choose another", unless="resume").at("Export")
    assert str(locked) == "Export: out: not empty; choose another, or use resume."
    named = pickle.loads(pickle.dumps(locked.with_names({"out": "--out", "resume": "--resume"})))
    assert str(named) == "Export: --out: not empty; choose another, or use --resume."
    moved = pickle.loads(pickle.dumps(error.at("train")))
    assert (moved.subject, moved.got, moved.accepted, moved.remedy, moved.door) == (
        "steps",
        "0",
        "1 or more",
        "add steps",
        "train",
    )


def test_a_refusal_in_a_list_has_no_door_and_no_full_stop():
    error = Refused("a.png", "too dark", accepted="0 to 255", remedy="scan it again", door="train")
    assert error.what == "too dark; accepted is 0 to 255"
    assert error.words == "a.png: too dark; accepted is 0 to 255; scan it again"
    bare = Refused("a.png", remedy="scan it again")
    assert bare.what == "" and bare.words == "a.png: scan it again"


def test_the_reason_of_an_error_fits_into_another_sentence():
    assert reason(Refused("steps", 0, "1 or more", door="Sampler")) == "steps: 0; accepted is 1 or more"
    assert reason(RuntimeError("Error(s) in loading:\n\tsize mismatch.")) == "Error(s) in loading: size mismatch"
    assert reason(MemoryError()) == "MemoryError" and len(reason(ValueError("x" * 1000))) == 300
