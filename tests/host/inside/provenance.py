"""How a pair was made, as the manifest records it from the prompt."""

from __future__ import annotations

from .fast_scenes import ADAPTERS
from .start import room


def _node(kind: str, **inputs) -> dict:
    return {"class_type": kind, "inputs": inputs}


def _sampler(kind: str = "SIAS_KSamplerAIAS", **inputs) -> dict:
    return _node(kind, latent_image=["latent", 0], **inputs)


def _seed(prompt: dict, id: str = "save", item: int = 0):
    return room("nodes.provenance").sampling_seed(prompt, id)(item)


def check_the_nearest_samplers_seed_counts():
    prompt = {
        "far": _sampler(seed=1),
        "near": _sampler(seed=2, latent=["far", 0]),
        "vae": _node("VAEDecode", samples=["near", 0]),
        "save": _node("SIAS_SavePairs", image=["vae", 0]),
    }
    assert _seed(prompt) == 2 and _seed(prompt, "far") == 1


def check_seeds_of_masks_and_datasets_do_not_count():
    prompt = {
        "mask": _node("RandomMask", seed=9),
        "noise": _node("RandomNoise", noise_seed=3),
        "sample": _node("SamplerCustomAdvanced", noise=["noise", 0], latent_image=["data", 0]),
        "save": _node("SIAS_SavePairs", mask=["mask", 0], image=["sample", 0]),
    }
    assert _seed(prompt) == 3
    assert _seed({key: prompt[key] for key in ("mask", "save")}) is None


def check_items_count_on_from_the_seed_where_they_have_seeds_of_their_own():
    for kind, expected in (("SIAS_KSamplerAIAS", 45), ("KSampler", 40)):
        assert _seed({"save": _node("S", x=["k", 0]), "k": _sampler(kind, seed=40)}, item=5) == expected
    noise = {"save": _node("S", x=["n", 0]), "n": _node("SIAS_PerItemNoise", seed=40)}
    assert _seed(noise, item=5) == 45


def check_a_seed_of_0_is_a_seed():
    prompt = {"far": _sampler(seed=5), "near": _sampler(seed=0, x=["far", 0]), "save": _node("S", x=["near", 0])}
    assert _seed(prompt) == 0


def check_a_seed_from_a_primitive_is_found_and_a_computed_one_is_not_guessed():
    prompt = {
        "value": _node("PrimitiveInt", value=11),
        "sum": _node("Add", a=["value", 0], b=1),
        "one": _sampler(seed=["value", 0]),
        "two": _sampler(seed=["sum", 0]),
        "three": _sampler(seed=["gone", 0]),
    }
    assert [_seed(prompt, id) for id in ("one", "two", "three")] == [11, None, None]


def check_secrets_stay_out_of_the_manifest():
    prompt = {"save": _node("S", folder="f", api_key="x", auth_token="y", x=["k", 0]), "k": _node("K", password="z")}
    assert room("nodes.provenance").settings(prompt, "save") == {
        "save": {"node": "S", "folder": "f"},
        "k": {"node": "K"},
    }


def check_the_base_is_found_by_any_loaders_widget():
    module = room("nodes.provenance")
    for widget in ("base_name", "ckpt_name", "unet_name"):
        prompt = {"load": _node("Loader", **{widget: "a"}), "save": _node("S", model=["load", 0])}
        assert module.nearest(prompt, "save", module.BASE_INPUTS) == "a"


def check_adapters_are_recorded_by_file_digest_fast_before_stage():
    """Joined as by the command line; the same name means another file in each loader."""
    pairs, digest = room("nodes.pairs"), room("modules.base_file").file_digest
    bundled = room("nodes.adapters").adapter_path("surfaces (bundled)", "fast")
    (ADAPTERS / "of-stage.safetensors").write_bytes(b"stands for an adapter")
    stage = _node("SIAS_LoadSTAGEAdapter", adapter_name="of-stage.safetensors")
    fast = _node("SIAS_LoadFASTAdapter", adapter_name="surfaces (bundled)")
    both = f"{digest(bundled)}+{digest(ADAPTERS / 'of-stage.safetensors')}"
    for links in (["fast", "stage"], ["stage", "fast"]):
        save = _node("S", **{f"input{place}": [link, 0] for place, link in enumerate(links)})
        assert pairs._adapters({"save": save, "fast": fast, "stage": stage}, "save") == both
    assert pairs._adapters({"save": _node("S", x=["fast", 0]), "fast": fast}, "save") == digest(bundled)
    assert pairs._adapters({"save": _node("S")}, "save") is None
    trained = _node("SIAS_LoadSTAGEAdapter", adapter_name=["other", 0])
    assert pairs._adapters({"save": _node("S", x=["l", 0]), "l": trained}, "save") is None


def check_settings_hold_every_widget_upstream_and_nothing_else():
    prompt = {
        "load": _node("Loader", name="a", aware=True),
        "k": _node("KSampler", model=["load", 0], steps=4),
        "save": _node("S", image=["k", 0], folder="f", scores=["k", 1]),
        "other": _node("Preview", image=["k", 0]),
    }
    assert room("nodes.provenance").settings(prompt, "save") == {
        "save": {"node": "S", "folder": "f"},
        "k": {"node": "KSampler", "steps": 4},
        "load": {"node": "Loader", "name": "a", "aware": True},
    }


def check_every_node_is_visited_once_nearest_first_even_in_a_ring():
    ring = {
        "a": _node("A", x=["b", 0], y=["c", 0]),
        "b": _node("B", x=["d", 0]),
        "c": _node("C", x=["a", 0]),
        "d": _node("D", x=["gone", 0], text=["two", "words"]),
    }
    assert [id for id, _ in room("nodes.provenance").upstream(ring, "a")] == ["a", "b", "c", "d"]
