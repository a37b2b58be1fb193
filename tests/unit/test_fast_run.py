"""The command line's FAST: an adapter from a dataset, and pairs made with it."""

import pytest
import torch
from anomaly_synthesis.datasets.pairs import read_manifest
from anomaly_synthesis.datasets.split import save_split
from anomaly_synthesis.images.pictures import Picture, read_picture
from anomaly_synthesis.modules.base_file import base_fit, file_digest, save_base
from anomaly_synthesis.modules.fast import FastModules, from_adapter, load_fast, to_adapter
from anomaly_synthesis.synthesis.folder import Source, synthesize
from anomaly_synthesis.synthesis.pair import Job, Settings, make_pairs
from anomaly_synthesis.synthesis.policy import Policy
from anomaly_synthesis.training import defects
from anomaly_synthesis.training.adapter import train_adapter_file
from anomaly_synthesis.training.fast import FastTraining

from .refusals import refused

QUICK = FastTraining(steps=3, batch=2, tokens=2, evaluate_every=2)


@pytest.fixture
def files(tmp_path, surfaces, split, tiny_base, monkeypatch):
    """Paths of data, split, base and adapter-to-be; a few crops are enough."""
    monkeypatch.setattr(defects, "FITTING", 8)
    monkeypatch.setattr(defects, "HELD_OUT", 4)
    save_split(split, tmp_path / "split.json")
    save_base(tmp_path / "base.safetensors", tiny_base, {"split": split.digest})
    return surfaces, tmp_path / "split.json", tmp_path / "base.safetensors", tmp_path / "adapter.safetensors"


@pytest.mark.slow
def test_an_adapter_is_trained_written_and_used(files, tmp_path, split):
    data, split_file, base, out = files
    notes = train_adapter_file(*files, QUICK)
    assert notes["split"] == split.digest and not out.with_name("adapter.safetensors.state").exists()
    with refused(subject="adapter.safetensors$", got="exists", remedy="choose another output"):
        train_adapter_file(*files, QUICK)
    assert train_adapter_file(*files, QUICK, resume=True)["seconds"] == notes["seconds"]
    with refused(subject="adapter.safetensors$", got="with other settings than asked for", remedy="another output"):
        train_adapter_file(*files, FastTraining(steps=9), resume=True)

    settings = Settings(steps=3, guidance=1.0)
    quiet = Settings(steps=3, guidance=1.0, farm=0.0)
    runs = [("with", str(out), settings), ("without", None, settings), ("no farm", str(out), quiet)]
    pixels = {}
    for name, adapter, chosen in runs:
        source = Source(str(data), str(split_file), str(base), adapter=adapter)
        synthesize(source, tmp_path / name, 2, chosen, negatives=2, policy=Policy("keep"))
        records = read_manifest(tmp_path / name)
        assert records[0]["adapter"] == (file_digest(out) if adapter else None)
        pixels[name] = read_picture(tmp_path / name / records[0]["image"]).pixels
    assert (pixels["with"] != pixels["without"]).any() and (pixels["with"] != pixels["no farm"]).any()


@pytest.mark.slow
def test_a_killed_training_resumes(files, tmp_path):
    data, split_file, base, out = files
    train_adapter_file(*files, QUICK)
    steps = []

    def stop():
        steps.append(1)
        if len(steps) == 4:
            raise KeyboardInterrupt

    other = tmp_path / "other.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train_adapter_file(data, split_file, base, other, QUICK, check_interrupt=stop)
    train_adapter_file(data, split_file, base, other, QUICK, resume=True)
    one, two = (load_fast(path, base_fit_of(base)) for path in (out, other))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


def base_fit_of(path):
    from anomaly_synthesis.modules.base_file import load_base

    return base_fit(load_base(path)[0], file_digest(path))


def _modules(base, types=None):
    types = types or [label for label in base.config.labels if label[1] != "good"]
    torch.manual_seed(0)
    return FastModules(types, base.config.latent_channels, base.config.token_channels, count=2).eval()


def _jobs(base, count=2):
    label = next(label for label in base.config.labels if label[1] != "good")
    mask = torch.zeros(80, 70, dtype=torch.bool)
    mask[30:42, 20:31] = True
    grey = torch.full((80, 70, 1), 120, dtype=torch.uint8).numpy()
    return [Job(Picture(grey), mask, *label, seed=index) for index in range(count)]


def test_farm_fills_the_mask_alone_and_an_item_is_itself_in_any_batch(tiny_base):
    modules, jobs = _modules(tiny_base), _jobs(tiny_base)
    pairs = make_pairs(tiny_base, jobs, Settings(steps=3), modules)
    alone = make_pairs(tiny_base, jobs[1:], Settings(steps=3), modules)[0]
    assert abs(pairs[1].picture.pixels.astype(int) - alone.picture.pixels).max() <= 1
    outside = ~jobs[0].mask.numpy()
    assert (pairs[0].picture.pixels[outside] == 120).all()


@pytest.mark.parametrize("preset", ["paper", "recommended", "fast"])
def test_strength_0_is_the_sampler_without_farm(tiny_base, preset):
    modules, jobs = _modules(tiny_base), _jobs(tiny_base, 1)
    off, half, on = (
        make_pairs(tiny_base, jobs, Settings(preset, 4, farm=share), modules)[0].picture.pixels
        for share in (0.0, 0.0 if preset == "paper" else 0.5, 1.0)
    )
    silent = FastModules(modules.tokens.types, 4, tiny_base.config.token_channels, count=2).eval()
    silent.load_state_dict(modules.state_dict())
    silent.farm = None  # would fail if it were called
    assert (make_pairs(tiny_base, jobs, Settings(preset, 4, farm=0.0), silent)[0].picture.pixels == off).all()
    assert (off != on).any() and (preset == "paper" or (half != on).any())


def test_what_does_not_fit_is_refused(files, tiny_base, split):
    data, split_file, base, out = files
    train_adapter_file(*files, QUICK, types=["pit"])
    fit = base_fit_of(base)
    with refused(subject="^cast_grain/crack$", got="not in the adapter .*, which has .*pit"):
        load_fast(out, fit, split.digest, [("cast_grain", "crack")])
    with refused(
        subject="adapter.safetensors$", got="not trained under this split", remedy="train an adapter with this split"
    ):
        load_fast(out, fit, "other")
    adapter = to_adapter(_modules(tiny_base), fit, "d", {})
    adapter.tensors.pop("tokens.rows")
    with refused(got="not whole", remedy="train or fetch it again"):
        from_adapter(adapter)
    with refused(subject="adapter.pt$", accepted=".safetensors file"):
        train_adapter_file(data, split_file, base, out.with_suffix(".pt"), QUICK)
    with pytest.raises(ValueError, match="farm: 2"):
        Settings(farm=2)
