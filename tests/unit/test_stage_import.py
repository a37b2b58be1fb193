"""STAGE's released files become an adapter; hostile pickles are refused before any of their calls runs."""

import builtins
import os
import pickle
import sys
import types
import zipfile

import pytest
import torch
from anomaly_synthesis import cli
from anomaly_synthesis.modules.adapter_file import load_adapter
from anomaly_synthesis.modules.restricted_pickle import read_saved
from anomaly_synthesis.modules.stage import from_adapter
from anomaly_synthesis.modules.stage_import import import_stage
from torch import nn

from .refusals import refused

TYPES = [("cable", "bent_wire"), ("hazel_nut", "crack")]
RELEASED_MODULE = "ldm.models.diffusion.ddpm"


@pytest.fixture
def released_class(monkeypatch):
    """A class that pickles under the released name, in the layout of the released code."""

    class MGA(nn.Module):
        def __init__(self, channels=4):
            super().__init__()
            widths, layers = (2 * channels, 64, 256, 512, 256, 64), []
            for inputs, outputs in zip(widths[:-1], widths[1:], strict=True):
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
            self.conv = nn.Sequential(*layers, nn.Conv2d(64, channels, 1))

        def forward(self, x, mask):
            return self.conv(torch.cat([x, mask.repeat(1, x.shape[1], 1, 1)], dim=1))

    parts = RELEASED_MODULE.split(".")
    for depth in range(1, len(parts) + 1):
        monkeypatch.setitem(sys.modules, ".".join(parts[:depth]), types.ModuleType(".".join(parts[:depth])))
    MGA.__module__, MGA.__qualname__ = RELEASED_MODULE, "MGA"
    sys.modules[RELEASED_MODULE].MGA = MGA
    return MGA


def save(value, path, zipped=True):
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


@pytest.fixture(params=[True, False], ids=["zip", "legacy"])
def released(request, released_class, tmp_path):
    """(embeddings, fine_image, fine_mask) paths and what they hold."""
    torch.manual_seed(0)
    heads = [released_class().eval() for _ in range(2)]
    for head in heads:
        for norm in (head.conv[i] for i in (1, 4, 7, 10, 13)):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
    names = ["+".join(type) for type in TYPES]
    params = nn.ParameterDict({name: nn.Parameter(torch.randn(4, 1280)) for name in [*names, "*"]})
    embeddings = {"string_to_token": {"*": torch.tensor(1008)}, "string_to_param": params}
    paths = [
        save(value, tmp_path / f"{name}-19999.pt", request.param)
        for name, value in (("embeddings_gs", embeddings), ("fine_image", heads[0]), ("fine_mask", heads[1]))
    ]
    return paths, params, heads


def test_the_released_files_become_an_adapter(released, tmp_path, capsys):
    paths, params, heads = released
    out = tmp_path / "stage.safetensors"
    command = [
        "import-stage",
        "--embeddings",
        str(paths[0]),
        "--fine-image",
        str(paths[1]),
        "--fine-mask",
        str(paths[2]),
        "--out",
        str(out),
    ]
    assert cli.main(command) == 0 and "2 types, 4 tokens each" in capsys.readouterr().out
    adapter = load_adapter(out)
    assert adapter.method == "stage" and adapter.split == ""
    assert (adapter.base.latent_channels, adapter.base.token_channels, adapter.base.prediction) == (4, 1280, "eps")
    modules = from_adapter(adapter)
    assert modules.tokens.types == tuple(TYPES)
    for row, type in enumerate(TYPES):
        assert torch.equal(modules.tokens([row])[0], params["+".join(type)])
    eps, mask, t = torch.randn(2, 4, 9, 7), torch.ones(2, 1, 9, 7), torch.tensor([1, 900])
    for mine, theirs in zip(modules.branches, heads, strict=True):
        assert mine.released and torch.equal(mine(eps, mask, t), theirs(eps, mask))
    assert cli.main(command) == 1 and "does not exist yet" in capsys.readouterr().err


def test_a_plain_table_of_tensors_serves_as_embeddings(released, tmp_path):
    paths, params, _ = released
    table = {"string_to_param": {name: value.detach() for name, value in params.items()}}
    assert import_stage(save(table, tmp_path / "e.pt"), *paths[1:]).types == tuple(TYPES)


def test_the_wrong_file_is_refused(released, released_class, tmp_path):
    (embeddings, image, mask), params, _ = released
    with refused(subject="missing.pt$", got="no such file"):
        import_stage(tmp_path / "missing.pt", image, mask)
    with refused(subject="fine_image-19999.pt$", got="no table string_to_param"):
        import_stage(image, image, mask)
    with refused(got="no layer conv.15, the last", remedy="fine_image"):
        import_stage(embeddings, embeddings, mask)
    lone = {"string_to_param": nn.ParameterDict({"*": params["*"]})}
    with refused(got="0 entries class.type"):
        import_stage(save(lone, tmp_path / "e.pt"), image, mask)
    mixed = {"string_to_param": {"a+b": torch.zeros(4, 8), "a+c": torch.zeros(2, 8)}}
    with refused(got="2 entries class.type of shapes", accepted="all .tokens, channels."):
        import_stage(save(mixed, tmp_path / "e.pt"), image, mask)
    other = released_class()
    other.conv[3] = nn.Conv2d(64, 128, 3)
    with refused(subject="other.pt$", got="no head of STAGE .*size mismatch"):
        import_stage(embeddings, image, save(other, tmp_path / "other.pt"))
    with refused(subject="heads", got="4 and 3 latent channels"):
        import_stage(embeddings, image, save(released_class(3), tmp_path / "other.pt"))
    for content in (b"", b"\x00" * 100, image.read_bytes()[:5000], b"PK\x03\x04" + b"\x00" * 50):
        (tmp_path / "broken.pt").write_bytes(content)
        with refused(subject="broken.pt$", got="not read"):
            import_stage(embeddings, tmp_path / "broken.pt", mask)
    with refused(got="it names torch.nn.modules.linear.Linear"):
        read_saved(save(nn.Linear(2, 2), tmp_path / "linear.pt"), "MGA")


# Hostile files


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments, state=None):
        self.reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.reduced

    def __call__(self):
        """Only what is callable may be pickled as the function of a call."""


def hostile(folder):
    """Values whose pickles would run code, each with a part of the refusal."""
    trap = f"touch {folder / 'trapped'}"
    chain = Call(getattr, Call(__import__, "os"), "system")
    return {
        "system": (Call(os.system, trap), "system"),
        "eval": (Call(eval, f"__import__('os').system('{trap}')"), "eval"),
        "exec": (Call(exec, f"import os; os.system('{trap}')"), "exec"),
        "getattr chain": (Call(chain, trap), "getattr"),
        "import": (Call(__import__, "os"), "__import__"),
        "in a table": ({"string_to_param": {"a+b": Call(os.system, trap)}}, "system"),
        "in arguments": (Call(set, Call(list, Call(os.system, trap))), "list|system"),
        "in a state": (Call(set, [], state=Call(os.system, trap)), "system"),
        "in a container": (nn.Sequential(Evil(trap)), "Evil|names"),
        "open": (Call(open, str(folder / "trapped"), "w"), "open"),
        "torch.load": (Call(torch.load, str(folder / "x")), "names torch"),
        "partial": (Call(__import__("functools").partial, os.system, trap), "partial|system"),
        "map": (Call(map, os.system, [trap]), "map|system"),
    }


class Evil(nn.Module):
    def __init__(self, trap):
        super().__init__()
        self.trap = Call(os.system, trap)


HOSTILE = (
    "system",
    "eval",
    "exec",
    "getattr chain",
    "import",
    "in a table",
    "in arguments",
    "in a state",
    "in a container",
    "open",
    "torch.load",
    "partial",
    "map",
)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_are_refused_and_nothing_runs(tmp_path, monkeypatch, name, zipped):
    value, word = hostile(tmp_path)[name]
    path = save(value, tmp_path / "evil.pt", zipped)
    called = []
    for owner, function in ((os, "system"), (builtins, "eval"), (builtins, "exec")):
        monkeypatch.setattr(owner, function, lambda *_, f=function: called.append(f))
    with refused(subject="evil.pt$", got=f"not read .*({word})"):
        read_saved(path, "MGA")
    assert not called and not (tmp_path / "trapped").exists()


def raw(path, program):
    """A file in torch's zip format with the given bytes for its pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/data/0", b"\x00" * 16)
    return path


STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"


FLOATS = b"\x80\x02(X\x07\x00\x00\x00storagectorch\nFloatStorage\n"


def rebuilt(offset, size, stride):
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + offset + size + stride + b"\x89}tR."


@pytest.mark.parametrize(
    ("program", "word"),
    [
        (rebuilt(b"K\x00", b"K\x05\x85", b"K\x01\x85"), "larger than its storage"),
        (rebuilt(b"K\x02", b"K\x03\x85", b"K\x01\x85"), "out of bounds"),
        (rebuilt(b"K\x00", b"K\x02\x85", b"K\x08\x85"), "out of bounds"),
        (rebuilt(b"K\x00", b"J\x00\x00\x00\x40\x85", b"K\x00\x85"), "larger than its storage"),
        (rebuilt(b"J\xff\xff\xff\xff", b"K\x01\x85", b"K\x01\x85"), "offset"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x08\x00\x00\x00functionK\x01sb.", "sets attributes"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}X\x08\x00\x00\x00functionK\x01s\x86b.", "sets attributes"),
        (b"\x80\x02cx\nMGA\n}X\x0c\x00\x00\x00__setstate__K\x01sb.", "missing 1 required"),
        (b"\x80\x02ccollections\nOrderedDict\n}X\x08\x00\x00\x00__init__K\x01sb.", "mappingproxy|immutable"),
        (b"\x80\x04\x8c\x08builtins\x8c\x0dset.__class__\x93.", "names builtins.set.__class__"),
        (b"\x80\x02c__main__\nMGA.forward\n.", "names __main__.MGA.forward"),
        (b"\x80\x02X\x01\x00\x00\x00aQ.", "points to something"),
        (b"\x80\x02(X\x07\x00\x00\x00storagecx\nMGA\nX\x01\x00\x00\x000NK\x04tQ.", "not described"),
        (FLOATS + b"X\x0b\x00\x00\x00../data.pklNK\x04tQ.", "no item named"),
        (FLOATS + b"X\x01\x00\x00\x000NK\x09tQ.", "16 bytes for 9 values"),
        (b"\x80\x02\x82\x01.", "extension code"),
        (b"\x80\x02", "Ran out"),
    ],
)
def test_forged_pickles_are_refused(tmp_path, program, word):
    with refused(subject="forged.pt$", got=f"not read .*({word})"):
        read_saved(raw(tmp_path / "forged.pt", program), "MGA")


def test_an_honest_tensor_passes_the_same_way(tmp_path):
    found = read_saved(raw(tmp_path / "good.pt", rebuilt(b"K\x01", b"K\x03\x85", b"K\x01\x85")), "MGA")
    assert torch.equal(found, torch.zeros(3))


def test_what_a_file_sets_stays_in_its_containers(tmp_path):
    """A module's state may carry any name; it lands in a table that nothing calls."""
    program = pickle.dumps({"a": 1}, 2)[2:-1]
    made = read_saved(raw(tmp_path / "m.pt", b"\x80\x02cx\nMGA\n)\x81" + program + b"b."), "MGA")
    assert made.a == 1 and made.tensors() == {}
    looped = b"\x80\x02cx\nMGA\n)\x81q\x00}X\x08\x00\x00\x00_modules}X\x01\x00\x00\x00ah\x00ssb."
    with refused(got="at most four levels"):
        read_saved(raw(tmp_path / "loop.pt", looped), "MGA").tensors()


def test_a_compressed_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02N.")
        archive.writestr("archive/data/0", b"\x00" * 10_000_000)
    with refused(got="a compressed archive"):
        read_saved(tmp_path / "bomb.pt", "MGA")
