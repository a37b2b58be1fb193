"""What the manifest says of a pair's making, read off prompts."""

from __future__ import annotations

from .start import room


def _node(kind: str, **inputs) -> dict:
    return {"class_type": kind, "inputs": inputs}


def _names():
    module = room("nodes.provenance")
    return module.nearest, module.SEED_INPUTS, module.BASE_INPUTS


def check_the_nearest_seed_counts():
    nearest, seeds, _ = _names()
    prompt = {
        "far": _node("KSampler", seed=1), "near": _node("KSampler", seed=2, latent=["far", 0]),
        "vae": _node("VAEDecode", samples=["near", 0]), "save": _node("SIAS_SavePairs", image=["vae", 0]),
    }  # fmt: skip
    assert nearest(prompt, "save", seeds) == 2 and nearest(prompt, "far", seeds) == 1


def check_noise_seed_counts_as_a_seed_and_a_datasets_plan_seed_does_not():
    nearest, seeds, _ = _names()
    prompt = {
        "data": _node("SIAS_LoadDefectDataset", plan_seed=9), "noise": _node("RandomNoise", noise_seed=3),
        "sample": _node("SamplerCustomAdvanced", noise=["noise", 0], latent=["data", 0]),
        "save": _node("SIAS_SavePairs", mask=["data", 1], image=["sample", 0]),
    }  # fmt: skip
    assert nearest(prompt, "save", seeds) == 3
    assert nearest({key: prompt[key] for key in ("data", "save")}, "save", seeds) is None


def check_a_seed_of_0_is_a_seed():
    nearest, seeds, _ = _names()
    prompt = {"far": _node("K", seed=5), "near": _node("K", seed=0, x=["far", 0]), "save": _node("S", x=["near", 0])}
    assert nearest(prompt, "save", seeds) == 0


def check_a_seed_from_a_primitive_is_found_and_a_computed_one_is_not_guessed():
    nearest, seeds, _ = _names()
    prompt = {
        "value": _node("PrimitiveInt", value=11), "sum": _node("Add", a=["value", 0], b=1),
        "one": _node("KSampler", seed=["value", 0]), "two": _node("KSampler", seed=["sum", 0]),
        "three": _node("KSampler", seed=["gone", 0]),
    }  # fmt: skip
    assert [nearest(prompt, id, seeds) for id in ("one", "two", "three")] == [11, None, None]


def check_the_base_is_found_by_any_loaders_widget():
    nearest, _, bases = _names()
    for widget in ("base_name", "ckpt_name", "unet_name"):
        prompt = {"load": _node("Loader", **{widget: "a"}), "save": _node("S", model=["load", 0])}
        assert nearest(prompt, "save", bases) == "a"


def check_settings_hold_every_widget_upstream_and_nothing_else():
    prompt = {
        "load": _node("Loader", name="a", aware=True), "k": _node("KSampler", model=["load", 0], steps=4),
        "save": _node("S", image=["k", 0], folder="f", scores=["k", 1]), "other": _node("Preview", image=["k", 0]),
    }  # fmt: skip
    assert room("nodes.provenance").settings(prompt, "save") == {
        "save": {"node": "S", "folder": "f"}, "k": {"node": "KSampler", "steps": 4},
        "load": {"node": "Loader", "name": "a", "aware": True},
    }  # fmt: skip


def check_every_node_is_visited_once_nearest_first_even_in_a_ring():
    ring = {"a": _node("A", x=["b", 0], y=["c", 0]), "b": _node("B", x=["d", 0]), "c": _node("C", x=["a", 0]),
            "d": _node("D", x=["gone", 0], text=["two", "words"])}  # fmt: skip
    assert [id for id, _ in room("nodes.provenance").upstream(ring, "a")] == ["a", "b", "c", "d"]
