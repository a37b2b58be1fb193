"""Save Pairs with pairs that are blank, already saved, or from another image."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from .scenes import base, one, refused
from .start import OUTPUT, call, own, room


def _save(folder: str, image, mask, normal, *, seed=40, prompt=None, object="plate", type="spot", **changed):
    hidden = SimpleNamespace(prompt=prompt or {}, unique_id="1", extra_pnginfo=None)
    node = type_of(own("SavePairs"), hidden)
    return node.execute(
        image=image, mask=mask, normal=normal, folder=folder, object=object, type=type, seed=seed, **changed
    )


def type_of(node, hidden):
    return type("WithHidden", (node,), {"hidden": hidden})


def _batch(count: int, first: float = 0.0):
    """`count` pairs of one image, each with its own grey in the mask."""
    image, mask = one((64, 64))
    images = [torch.where(mask[0, ..., None] > 0, (place + first) / 99, image[0]) for place in range(count)]
    return torch.stack(images), mask, image


def _lines(folder: str) -> list[list[dict]]:
    read = room("datasets.pairs")
    return [lines(OUTPUT / folder) for lines in (read.read_manifest, read.read_dropped)]


def check_the_counts_of_saved_known_and_blank_pairs_are_given():
    images, mask, normal = _batch(6)
    _save("counts", images, mask, normal)
    more = torch.cat([images, _batch(6, 20)[0], normal])
    done = _save("counts", more, mask, normal, seed=90)
    assert done.ui["text"][0] == "6 saved, 6 already there, 1 blank"
    assert "bypassed" in done.ui["text"][1]
    kept, dropped = _lines("counts")
    assert [line["index"] for line in kept] == list(range(12)) and [line["index"] for line in dropped] == [12]
    assert (dropped[0]["changed"], dropped[0]["visible"]) == (0, False)
    shown = [one["filename"] for one in done.ui["images"]]
    assert shown == [f"{place:06d}.png" for place in range(12)]
    assert _save("counts", more, mask, normal).ui["text"][0] == "0 saved, 12 already there, 1 blank"
    assert [len(lines) for lines in _lines("counts")] == [12, 1]


def check_refined_masks_of_the_scores_are_saved_within_the_mask():
    images, mask, normal = _batch(4, 30)
    inside, values = mask[0].numpy() > 0.5, dict.fromkeys(room("synthesis.scores").NOT_SCORED, 1.0)
    half = inside.copy()
    half[:, : half.nonzero()[1].min() + 2] = False
    given = (half, half | ~inside, half[1:], None)  # as it is, beyond the mask, of another size, without controls
    scores = [
        room("nodes.compose").Score(**values, visible=True, windows=(), refined_mask=refined) for refined in given
    ]
    _save("refined_scores", images, mask, normal, scores=scores)
    lines, _ = _lines("refined_scores")
    expected = [f"plate/refined/spot/00000{index}_mask.png" for index in (0, 1)]
    assert [line["refined_mask"] for line in lines] == [*expected, None, None]
    for name in expected:
        assert (room("images.mask_files").read_mask(OUTPUT / "refined_scores" / name).numpy() == half).all()


def check_an_image_that_equals_its_normal_is_blank_whatever_not_visible_says():
    image, mask = one((64, 64))
    for choice in ("keep", "drop"):
        done = _save(f"blank {choice}", image, mask, image, not_visible=choice)
        assert done.ui["text"][0] == "0 saved, 1 blank" and not done.ui["images"]
        assert [len(lines) for lines in _lines(f"blank {choice}")] == [0, 1]
        assert not list((OUTPUT / f"blank {choice}").rglob("*.png"))


def check_a_bypassed_sampler_is_blank_in_both_modes_of_compose_pair():
    model, vae, resolution = base()
    image, mask = one()
    crops, masks, crop = call("CropToMask", image=image, mask=mask, resolution=resolution, context=1.0)
    (latent,) = call("DefectLatent", image=crops, mask=masks, vae=vae, crop=crop)
    decoded = vae.decode(latent["samples"])
    for mode in ("difference", "paste"):
        images, scores = call(
            "ComposePair",
            normal=image,
            mask=mask,
            made=decoded,
            roundtrip=decoded,
            mode=mode,
            feather=0,
            visible_above=0.0,
            crop=crop,
        )
        done = _save(f"bypassed {mode}", images, mask, image, scores=scores, not_visible="keep")
        assert done.ui["text"][0] == "0 saved, 1 blank", mode
        assert not scores[0].visible and (_lines(f"bypassed {mode}")[1][0]["changed"] == 0)


def check_a_pair_of_another_type_mask_or_image_is_another_pair():
    images, mask, normal = _batch(1)
    _save("once others", images, mask, normal)
    wider = mask.clone()
    wider[0, 0, 0] = 1
    faint = images.clone()
    faint[0][mask[0] > 0] += 2 / 255
    for given in ({"type": "dent"}, {"mask": wider}, {"images": faint, "seed": 41}):
        done = _save(
            "once others",
            given.get("images", images),
            given.get("mask", mask),
            normal,
            **{key: value for key, value in given.items() if key in ("type", "seed")},
        )
        assert done.ui["text"][0] == "1 saved", given
    assert len(_lines("once others")[0]) == 4


def check_pairs_that_were_deleted_or_painted_over_are_saved_again():
    images, mask, normal = _batch(3)
    _save("deleted", images, mask, normal)
    first, second, _ = _lines("deleted")[0]
    (OUTPUT / "deleted" / first["image"]).unlink()
    (OUTPUT / "deleted" / second["mask"]).write_bytes(b"not a mask any more")
    assert _save("deleted", images, mask, normal).ui["text"][0] == "2 saved, 1 already there"
    assert _save("deleted", images, mask, normal).ui["text"][0] == "0 saved, 3 already there"


def check_lines_from_before_identities_are_compared_by_their_files():
    images, mask, normal = _batch(4)
    _save("older", images, mask, normal)
    manifest = OUTPUT / "older" / "manifest.jsonl"
    new = {"identity", "changed", "changed_outside", "unchanged_pieces"}
    import json

    lines = [{k: v for k, v in line.items() if k not in new} for line in _lines("older")[0]]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = _save("older", _batch(6)[0], mask, normal)
    assert done.ui["text"][0] == "2 saved, 4 already there"


def check_names_that_a_manifest_cannot_hold_are_refused_and_leave_nothing():
    images, mask, normal = _batch(1)
    for folder in ("C:\\pairs", "\\\\host\\share", "C:/pairs", "a\nb", "a\x1b[31mb", "x" * 256):
        with refused("Save Pairs: folder: ", "give a name such as 'pairs'"):
            _save(folder, images, mask, normal)
        assert not (OUTPUT / folder[:255]).exists()
    for type in ("a\x07b", "C:", "a\\b", "x" * 256):
        with refused("Save Pairs: type: ", "at most 255 bytes"):
            _save("bad names", images, mask, normal, type=type)
    for object in ("manifest.jsonl", "run.json", "Dropped.jsonl"):
        with refused("Save Pairs: object: ", "no object 'run.json'"):
            _save("bad names", images, mask, normal, object=object)
    assert not (OUTPUT / "bad names").exists()


def check_an_image_of_whole_numbers_is_refused_by_its_type():
    images, mask, normal = _batch(1)
    with refused("Save Pairs: ", "image: torch.uint8", "floats from 0 to 1"):
        _save("bytes", (images * 255).byte(), mask, normal)


def check_one_pair_twice_in_a_batch_is_saved_once():
    images, mask, normal = _batch(1)
    done = _save("twice", torch.cat([images, images]), mask, normal)
    assert done.ui["text"][0] == "1 saved, 1 already there" and len(_lines("twice")[0]) == 1


def check_the_last_bit_of_a_repeated_run_makes_no_other_pair():
    images, mask, normal = _batch(1, 50)
    _save("last bit", images, mask, normal)
    near = images.clone()
    row, column = (mask[0] > 0).nonzero()[0].tolist()
    near[0, row, column] += 1 / 255
    assert _save("last bit", near, mask, normal, seed=40).ui["text"][0] == "0 saved, 1 already there"
    assert _save("last bit", near, mask, normal, seed=41).ui["text"][0] == "1 saved", "another seed is another pair"


def check_pieces_and_foreign_images_are_reported():
    images, mask, normal = _batch(1)
    two = mask.clone()
    two[0, 2:6, 2:6] = 1
    done = _save("pieces", images, two, normal)
    assert any(text.startswith("1 show no defect in some pieces of their mask") for text in done.ui["text"])
    line = _lines("pieces")[0][0]
    share = float(mask.sum() / two.sum())
    assert line["unchanged_pieces"] == 1 and abs(line["changed"] - share) < 1e-3 and line["changed_outside"] == 0
    done = _save("once foreign", images.flip(1), mask, normal)
    assert done.ui["text"][0] == "1 saved" and any("1 differ from their normal" in text for text in done.ui["text"])
    assert _lines("once foreign")[0][0]["changed_outside"] > 0.5


def check_dropping_without_scores_keeps_all_but_blank_pairs_and_says_so():
    images, mask, normal = _batch(2)
    done = _save("unscored", torch.cat([images, normal]), mask, normal, not_visible="drop")
    assert done.ui["text"][0] == "2 saved, 1 blank" and any("scores is open" in line for line in done.ui["text"])
    assert [line["visible"] for line in _lines("unscored")[0]] == [None, None]


def check_a_list_place_changes_a_widgets_seed_and_not_a_computed_one():
    seeds, latents = room("nodes.provenance"), room("nodes.latents")
    latent = {"samples": torch.zeros(2, 4, 2, 2)}
    later = latent | {"sias_place": 3}
    derived = room("datasets.batch_plan").derived_seed(7, 3, "list")
    assert latents.sampling_seeds(latent, 7).items == [7, 8]
    found = latents.sampling_seeds(later, 7)
    assert found == derived and found.items == [derived, derived + 1]
    assert latents.sampling_seeds(later, seeds.GraphSeed(7, computed=True)).items == [7, 8]
    noise = latents.PerItemNoise(7)
    made = [noise.generate_noise(one) for one in (latent, later, latent)]
    assert torch.equal(made[0], made[2]) and not torch.equal(made[0], made[1])
    assert noise.seed == 7 and noise.seed.items == [7, 8]


def check_used_seeds_are_known_by_what_the_sampler_depends_on():
    from types import SimpleNamespace as Graph

    from comfy_execution.utils import CurrentNodeContext

    module = room("nodes.provenance")
    prompt = {
        "5": {"class_type": "SIAS_KSamplerAIAS", "inputs": {"seed": 7, "latent_image": ["4", 0]}},
        "9": {"class_type": "S", "inputs": {"image": ["5", 0]}},
    }
    for place, seeds in enumerate(([7], [20], [30])):
        with CurrentNodeContext("run", "5", place):
            module.remember(module.graph_seed(7, Graph(prompt=prompt, unique_id="5")), seeds)
    for place, seed in enumerate((7, 20, 30)):
        with CurrentNodeContext("run", "9", place):
            assert module.used_seeds(prompt, "5", "5", 1) == [seed]
    assert module.used_seeds(prompt, "5", "5", 3) == [7, 20, 30], "the list as one batch"
    assert module.used_seeds(prompt, "5", "5", 2) is None
    other = prompt | {"5": {"class_type": "SIAS_KSamplerAIAS", "inputs": {"seed": 8, "latent_image": ["4", 0]}}}
    assert module.used_seeds(other, "5", "5", 1) is None
    wired = {
        "5": {"class_type": "K", "inputs": {"seed": ["2", 5]}},
        "2": {"class_type": "L", "inputs": {"a": 1, "b": 2}},
    }
    graphs = Graph(prompt=wired, unique_id="5"), Graph(prompt=prompt, unique_id="5"), None
    assert [module.graph_seed(3, graph).computed for graph in graphs] == [True, False, False]


def check_core_latent_nodes_keep_a_latents_place():
    import nodes as core

    later = {"samples": torch.zeros(2, 4, 8, 8), "sias_place": 3}
    for node, given in (
        (core.RepeatLatentBatch, {"amount": 2}),
        (core.LatentFromBatch, {"batch_index": 1, "length": 1}),
        (core.LatentFlip, {"flip_method": "x-axis: vertically"}),
    ):
        assert call(node, samples=later, **given)[0]["sias_place"] == 3, node
