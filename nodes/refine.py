"""Refine Pairs: pairs made again in the same place until they are worth training on, and the best of each kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, median

from comfy_api.latest import io
from torch import Tensor

from ..errors import Refused
from ..modules.tokens import Type
from ..synthesis.refine import Refined, Varied, refine
from ..synthesis.scores import Scores
from ..synthesis.settings import Policy, Settings
from ..synthesis.windows import Crop
from . import sockets
from .compose import Batch, Score
from .images import lines, to_batch
from .latents import latent_seed
from .nearest import Measured
from .provenance import graph_seed
from .redraw import SamplerInputs, Search, nearest_to
from .sockets import CATEGORY, MAX_SEED, widget

MEDIANS = ("strength", "completeness", "boundary", "nearest_real")
WHICH = ["all", "not visible"]


class RefinePairs(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_RefinePairs",
            display_name="Refine Pairs",
            category=f"{CATEGORY}/dataset",
            description=(
                "Makes every pair a few times more in the same place, with new seeds and one setting changed at a "
                "time, and keeps the best: visible first, then near to a real defect, then complete, then matching "
                "in outline. The first draw takes part, so no pair gets worse by this order. Use it between Compose "
                "Pair and Save Pairs, with any model and any sampler."
            ),
            inputs=[
                io.Model.Input("model", tooltip="The model that made the first draw, with its patches: any kind."),
                io.Conditioning.Input("positive", tooltip="The first draw's: the anomaly."),
                io.Conditioning.Input("negative", tooltip="The first draw's."),
                io.Vae.Input("vae", tooltip="The model's VAE, which the first draw was decoded with."),
                io.Sampler.Input("sampler", tooltip="AIAS Sampler, Graded Diffusion Sampler, or any of core's."),
                io.Sigmas.Input(
                    "sigmas",
                    tooltip="The levels of a round, from AIAS Sigmas or any scheduler: every "
                    "round costs as many steps as there are.",
                ),
                io.Image.Input("normal", tooltip="The normal images, at full size, as Compose Pair got them."),
                io.Mask.Input("mask", tooltip="Where the defects are, as Compose Pair got it; it stays."),
                io.Image.Input("image", tooltip="The first draw: Compose Pair's images."),
                sockets.Scores.Input(
                    "scores",
                    tooltip="Compose Pair's scores of these images. Its mode, feather and "
                    "visible_above are read off them.",
                ),
                io.Latent.Input("latent", tooltip="Defect Latent's latent: normal image and mask. Not the sampler's."),
                widget(Policy, "rounds", max=100),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=MAX_SEED,
                    control_after_generate=True,
                    tooltip="The random choice of all rounds: each has seeds of its own, also where this is the first "
                    "draw's seed. Item i of a batch uses its round's seed + i.",
                ),
                widget(
                    Settings,
                    "guidance",
                    "cfg",
                    more="Use that of the first draw; rounds 2 and 4 try 1.5 times and 1/1.5 of it.",
                    max=100.0,
                    step=0.1,
                ),
                io.Combo.Input(
                    "refine",
                    options=WHICH,
                    default=WHICH[0],
                    tooltip="all (default): every pair in every round, as the command line. not visible: only pairs "
                    "that show nothing, and only until one is visible; costs little where most are.",
                ),
                sockets.Crop.Input(
                    "crop",
                    optional=True,
                    tooltip="Crop to Mask's crop, where the latent is of crops. Open: whole images.",
                ),
                sockets.RealDefects.Input(
                    "real",
                    optional=True,
                    tooltip="From Measure Real Defects: pairs near to a real "
                    "defect are then preferred. Open: nearness is not looked at.",
                ),
                io.String.Input(
                    "object",
                    default="object",
                    multiline=True,
                    optional=True,
                    tooltip="For real: the object, as the dataset calls it; one line for all, or one per image.",
                ),
                io.String.Input(
                    "type",
                    default="anomaly",
                    multiline=True,
                    optional=True,
                    tooltip="For real: the defect type, as the dataset calls it; lines as for object.",
                ),
            ],
            outputs=[
                io.Image.Output("refined", display_name="image", tooltip="The best of each, for Save Pairs."),
                sockets.Scores.Output(
                    "refined_scores",
                    display_name="scores",
                    tooltip="Its scores, and which round it is of, for Preview Pair and Save Pairs.",
                ),
                io.String.Output(
                    "report",
                    display_name="report",
                    tooltip="Share visible and median scores of first "
                    "draws and of kept pairs, and what it cost; for Preview Any.",
                ),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model,
        positive,
        negative,
        vae,
        sampler,
        sigmas,
        normal,
        mask,
        image,
        scores,
        latent,
        rounds: int,
        seed: int,
        cfg: float,
        refine: str,
        crop=None,
        real=None,
        object: str = "object",
        type: str = "anomaly",
    ) -> io.NodeOutput:
        batch = Batch.checked(normal, image, mask, scores)
        inputs = SamplerInputs(model, positive, negative, vae, sampler, sigmas, cfg, latent)
        seed = latent_seed(latent, graph_seed(seed, cls.hidden))
        count = len(batch.images)
        kinds = [lines(text, count, what) for text, what in ((object, "object"), (type, "type"))]
        return io.NodeOutput(
            *refined_pairs(
                inputs,
                batch,
                crop,
                rounds,
                seed,
                only_hidden=refine == WHICH[1],
                real=real,
                kinds=list(zip(*kinds, strict=True)),
            )
        )


def refined_pairs(
    inputs: SamplerInputs,
    batch: Batch,
    crop: Crop | None,
    rounds: int,
    seed: int,
    only_hidden: bool,
    real: Measured | None = None,
    kinds: Sequence[Type] = (),
) -> tuple[Tensor, list[Score], str]:
    """The best of every pair and of `rounds` more draws, by `rank`: images [B, H, W, 3], scores, and a report.

    Args:
        batch: the first draw, with scores.
        only_hidden: leave out pairs that are visible, from the round on where they are.
        real: what every draw's distance to the nearest real defect is measured by, with the (object, type) of every
            pair; without it no draw is ranked by that.

    Raises:
        Refused: before anything is sampled, for what cannot be of one batch.
    """
    if rounds < 1:
        raise Refused("rounds", rounds, "at least 1", "leave the node out for no round")
    search = Search(inputs, batch, crop, rounds, seed, nearest_to(batch, crop, real, kinds) if real else None)
    found = refine(
        search.make,
        search.first(),
        search.again,
        search.given,
        _visible,
        rounds,
        has_farm=search.given.farm > 0,
        pays=(lambda best: not best.pair.visible) if only_hidden else _always,
    )
    kept = [_kept(one, first, search.given) for one, first in zip(found, batch.scores, strict=True)]
    return to_batch([one.pair.image for one in found]), kept, report(batch.scores, kept, search.calls)


def _kept(one: Refined, first: Score, given: Varied) -> Score:
    """The kept pair's score with the search behind it; `first`: the first draw's, as it came.

    A graph does not know what the first draw cost: `calls` are those of the rounds.
    """
    record = one.record(_visible, given) | {"first": first.entries | {"visible": first.visible}, "first_calls": None}
    return replace(one.pair.score if one.round else first, search=record)


def _visible(pair: Scores) -> bool:
    return pair.visible


def _always(best: Refined) -> bool:
    return True


def report(first: Sequence[Score], kept: Sequence[Score], calls: int) -> str:
    """Share visible and median scores of first draws and kept pairs, which rounds were kept, and calls of the model.

    first, kept: scores of the same pairs; kept with `search`. A median is left out where a score is not known.
    """
    share = [100 * fmean(one.visible for one in scores) for scores in (first, kept)]
    lines = [f"{len(kept)} pairs, first draw -> kept", f"visible: {share[0]:.0f} % -> {share[1]:.0f} %"]
    for name in MEDIANS:
        values = [[getattr(one, name) for one in scores] for scores in (first, kept)]
        if None not in values[0] + values[1]:
            lines.append(f"{name}, median: {median(values[0]):.2f} -> {median(values[1]):.2f}")
    rounds = Counter(one.search["round"] for one in kept)
    chosen = ", ".join(f"{f'round {n}' if n else 'first draw'} {rounds[n]}" for n in sorted(rounds))
    return "\n".join([*lines, f"kept: {chosen}", f"calls of the model: {calls} ({calls / len(kept):.1f} per pair)"])


NODES = [RefinePairs]
