"""Small files that would need much time or memory, and weights that are no numbers: refused quickly."""

import json
import struct
import zipfile
from dataclasses import asdict
from time import perf_counter

import pytest
import torch
from anomaly_synthesis.modules.adapter_file import Adapter, Fit, load_adapter, save_adapter
from anomaly_synthesis.modules.adapter_modules import rebuilt
from anomaly_synthesis.modules.base_file import load_base
from anomaly_synthesis.modules.compact_ldm import CompactLDM, CompactLDMConfig
from anomaly_synthesis.modules.restricted_pickle import read_saved
from anomaly_synthesis.modules.stage import from_adapter
from anomaly_synthesis.modules.tensor_file import check_shapes, write_tensors

from .refusals import refused

PUT, GET = b"q\x01", b"h\x01"
MODULE, STATE = b"cx\nMGA\n)\x81", b"X\x08\x00\x00\x00_modules"


def raw(path, program):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/data/0", b"\x00" * 16)
    return path


def nested(levels):
    """A tuple of the tuple before, twice, and so on: its hash takes 2 ** levels steps."""
    return b"K\x01" + (PUT + GET + b"\x86") * levels


def modules(names, depth):
    """A module that holds the module before under many names, and so on: names ** depth layers."""
    program = MODULE
    for _ in range(depth):
        children = b"".join(b"X\x04\x00\x00\x00" + b"%04d" % number + GET for number in range(names))
        program = program + PUT + MODULE + b"}" + STATE + b"}(" + children + b"usb"
    return program


def float_storage(numel):
    return b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + numel + b"tQ"


COSTLY = {
    "key": (b"\x80\x02}" + nested(48) + b"Ns.", "no plain values"),
    "keys": (b"\x80\x02}(" + nested(48) + b"Nu.", "no plain values"),
    "old table": (b"(" + nested(48) + b"Nd.", "no plain values"),
    "set": (b"\x80\x02c__builtin__\nset\n]" + nested(48) + b"a\x85R.", "no plain values"),
    "frozen set": (b"\x80\x04(" + nested(48) + b"\x91.", "does not write"),
    "set of protocol 4": (b"\x80\x04\x8f(" + nested(48) + b"\x90.", "does not write"),
    "ordered table": (b"\x80\x02ccollections\nOrderedDict\n]" + nested(48) + b"N\x86a\x85R.", "positional argument"),
    "claimed bytes": (b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b".", "Ran out"),
    "claimed frame": (b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b".", "Ran out"),
    "claimed byte array": (b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".", "does not write"),
    "large memo": (b"\x80\x02Nr\xff\xff\xff\x7f}K\x01Ns.", None),
    "large key": (b"\x80\x02}\x8b" + struct.pack("<i", 9) + b"\x01" * 9 + b"Ns.", "no plain values"),
    "attributes": (
        b"\x80\x02" + MODULE + b"}(" + b"".join(b"M%sN" % struct.pack("<H", n) for n in range(300)) + b"ub.",
        "more than 200 attributes",
    ),
    "tensor's state": (b"\x80\x02" + float_storage(b"K\x04") + b"}b.", "attributes of a tensor"),
    "sizes": (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n("
        + float_storage(b"K\x04")
        + b"K\x00("
        + b"K\x01" * 30
        + b"tK\x01\x85\x89}tR.",
        "not described as torch does",
    ),
}


@pytest.mark.parametrize("name", COSTLY)
def test_small_files_that_would_take_long_or_much_are_refused_at_once(name, tmp_path):
    program, words = COSTLY[name]
    before = perf_counter()
    if words is None:
        assert read_saved(raw(tmp_path / "f.pt", program), "MGA") == {1: None}
    else:
        with refused(subject="f.pt$", got=f"not read .*({words})", remedy="a file of torch.save"):
            read_saved(raw(tmp_path / "f.pt", program), "MGA")
    assert perf_counter() - before < 2


def test_the_file_of_261_bytes_is_one_of_them():
    assert len(COSTLY["key"][0]) < 261


def test_a_module_that_repeats_itself_is_not_walked_through(tmp_path):
    found = read_saved(raw(tmp_path / "m.pt", b"\x80\x02" + modules(120, 4) + b"."), "MGA")
    before = perf_counter()
    with refused(got="more than 10000 layers"):
        found.tensors()
    assert perf_counter() - before < 2


def test_members_that_overlap_are_not_read_again_and_again(tmp_path):
    """One storage's bytes under many names: a file of some kB that would be read once per name."""
    path = raw(
        tmp_path / "o.pt",
        b"\x80\x02("
        + b"".join(
            b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x00%dX\x03\x00\x00\x00cpuM\x00\x04tQ" % n
            for n in range(9)
        )
        + b"t.",
    )
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data/1", b"\x00" * 4096)
        first = archive.infolist()[-1]
        for number in (2, 3, 4, 5, 6, 7, 8):
            again = zipfile.ZipInfo(f"archive/data/{number}")
            for field in ("header_offset", "file_size", "compress_size", "CRC"):
                setattr(again, field, getattr(first, field))
            archive.filelist.append(again)
            archive.NameToInfo[again.filename] = again
        archive._didModify = True
    with refused(subject="o.pt$", got="not read"):
        read_saved(path, "MGA")


def adapter(**changed):
    tensors = {"tokens.rows": torch.zeros(1, 4, 8)}
    fields = {
        "method": "stage",
        "base": Fit("CompactLDM", "", 4, 8, "v"),
        "types": (("a", "b"),),
        "split": "",
        "shapes": {"count": 4, "released": False, "widths": [16, 16, 16, 16, 16]},
        "training": {},
        "tensors": tensors,
    }
    return Adapter(**fields | changed)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_refused_by_name(value, tmp_path):
    rows = torch.zeros(1, 4, 8)
    rows[0, 2, 3] = value
    save_adapter(tmp_path / "a.safetensors", adapter(tensors={"x": torch.ones(2), "tokens.rows": rows}))
    with refused(subject="/a.safetensors$", got="holds NaN or infinity in tokens.rows"):
        load_adapter(tmp_path / "a.safetensors")
    metadata = {"format": "anomaly_synthesis.base", "version": "1", "config": "{}", "record": "{}"}
    write_tensors(tmp_path / "b.safetensors", {"unet.x": torch.ones(2), "unet.y": rows.half()}, metadata)
    with refused(subject="/b.safetensors$", got="holds NaN or infinity in unet.y"):
        load_base(tmp_path / "b.safetensors")


def test_sizes_beyond_the_file_allocate_no_memory(tmp_path):
    for shapes in ({"count": 2**40}, {"count": 4, "widths": [2**30] * 5}, {"widths": []}, {"widths": None}, {"x": 1}):
        with refused(subject="^adapter$", got="not whole"):
            from_adapter(adapter(shapes=shapes))
    with refused(subject="^adapter$", got="not whole"):
        rebuilt(adapter(base=Fit("CompactLDM", "", 2**40, 2**40, "v")), "stage", lambda *_, **__: torch.nn.Linear(3, 2))


def base_of(path, changed=None, tensors=None):
    """A small base, as `save_base` writes it, with another description or other weights; changed: of the config."""
    config = CompactLDMConfig((("a", "b"),), unet_widths=(32,), autoencoder_widths=(32, 32))
    base = CompactLDM(config)
    metadata = {"format": "anomaly_synthesis.base", "version": "1", "record": "{}"}
    metadata["config"] = json.dumps(asdict(config) | (changed or {}))
    write_tensors(path, base.state_dict() | (tensors or {}), metadata)
    return path


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"unet_widths": [32] * 100_000}, "unet_widths: it describes 100000 layers"),
        ({"labels": [["a", 3]]}, "no names"),
        ({"labels": ["abc"]}, "too many values"),
        *(
            ({"resolution": size}, "resolution: .*; accepted is 1 to 16384")
            for size in (None, 0, -1, 2**40, 1e308, float("nan"), "x", [], True, [10**6] * 9)
        ),
    ],
)
def test_a_bases_configuration_is_checked_before_memory_is_allocated(changed, words, tmp_path):
    assert load_base(base_of(tmp_path / "good.safetensors"))[0].config.resolution == 128
    before = perf_counter()
    with pytest.raises(ValueError, match=f"b.safetensors: not whole .*{words}"):
        load_base(base_of(tmp_path / "b.safetensors", changed))
    assert perf_counter() - before < 2


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"split": ["x"]}, "split: "),
        ({"split": None}, "split: None"),
        *(
            (
                {
                    "base": Fit(
                        **{
                            "kind": "CompactLDM",
                            "digest": "",
                            "latent_channels": 4,
                            "token_channels": 8,
                            "prediction": "v",
                        }
                        | {name: value}
                    )
                },
                f"base.{name}: ",
            )
            for name, value in (
                ("kind", 3),
                ("digest", None),
                ("latent_channels", 4.0),
                ("token_channels", True),
                ("prediction", ["v"]),
            )
        ),
    ],
)
def test_an_adapters_description_of_another_type_is_refused(changed, words, tmp_path):
    save_adapter(tmp_path / "a.safetensors", adapter(**changed))
    with pytest.raises(ValueError, match=rf"a.safetensors: not whole .{words}"):
        load_adapter(tmp_path / "a.safetensors")


def test_a_list_of_more_layers_than_weights_is_refused_in_an_adapter():
    before = perf_counter()
    with pytest.raises(
        ValueError, match="is not whole .*widths: it describes 100000 layers, and the file has 1 weights"
    ):
        from_adapter(adapter(shapes={"count": 4, "widths": [16] * 100_000}))
    assert perf_counter() - before < 2


@pytest.mark.parametrize("kind", [torch.int32, torch.uint8, torch.bool, torch.complex64])
def test_whole_numbers_in_place_of_weights_are_refused(kind, tmp_path):
    wrong = {"latent_std": torch.ones(1, 4, 1, 1, dtype=kind)}
    with pytest.raises(ValueError, match=f"b.safetensors: not whole .*latent_std: {kind}"):
        load_base(base_of(tmp_path / "b.safetensors", tensors=wrong))


def test_counts_stay_whole_numbers_and_weights_stay_floats():
    tensors = torch.nn.BatchNorm2d(3).state_dict()
    check_shapes(lambda: torch.nn.BatchNorm2d(3), {**tensors, "weight": torch.ones(3).half()}, {})
    for name, value in (("num_batches_tracked", torch.tensor(1.0)), ("weight", torch.ones(3, dtype=torch.int64))):
        with pytest.raises(ValueError, match=f"{name}: {value.dtype} in the file"):
            check_shapes(lambda: torch.nn.BatchNorm2d(3), tensors | {name: value}, {})


def test_floats_of_8_bits_are_looked_at(tmp_path):
    for value, words in ((float("nan"), "holds NaN or infinity in tokens.rows"), (1.0, None)):
        rows = torch.full((1, 4, 8), value).to(torch.float8_e5m2)
        save_adapter(tmp_path / "a.safetensors", adapter(tensors={"tokens.rows": rows}))
        if words:
            with pytest.raises(ValueError, match=words):
                load_adapter(tmp_path / "a.safetensors")
        else:
            assert torch.equal(load_adapter(tmp_path / "a.safetensors").tensors["tokens.rows"].float(), rows.float())


@pytest.mark.parametrize(
    "changed",
    [
        {"version": "x"},
        {"version": None},
        {"version": "2"},
        {"config": "[]"},
        {"config": "[" * 100_000},
        {"config": json.dumps({"labels": 3, "autoencoder_widths": [], "unet_widths": []})},
        {"config": "{}"},
        {"record": "[]"},
    ],
)
def test_descriptions_of_a_base_that_no_training_wrote_are_refused(changed, tmp_path):
    metadata = {"format": "anomaly_synthesis.base", "version": "1", "config": "{}", "record": "{}"} | changed
    metadata = {key: value for key, value in metadata.items() if value is not None}
    write_tensors(tmp_path / "b.safetensors", {"x": torch.ones(2)}, metadata)
    with refused(subject="/b.safetensors$", got="version is |is version 2|^not whole"):
        load_base(tmp_path / "b.safetensors")
