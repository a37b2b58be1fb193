"""Pixels of pairs that a network of real defects alone, which did not see where they come from, finds least likely."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from ..datasets.pairs import MANIFEST, manifest_lines
from ..datasets.sample import Sample, read_sample
from ..files.progress import tracked
from .segmenter.labels import Labels
from .segmenter.prediction import predict
from .settings import Training


def source_groups(pairs: Sequence[Sample], groups: Mapping[str, str]) -> dict[str, set[str]]:
    """{pair's name: groups of the images that it was made from} of one folder's pairs, as its manifest says; empty
    without one."""
    if not pairs or not (pairs[0].root / MANIFEST).is_file():
        return {}
    lines = manifest_lines(pairs[0].root)
    sources = {line["image"]: (line.get("normal_source"), line.get("mask_source")) for line in lines}
    return {image: {groups[name] for name in names if name in groups} for image, names in sources.items()}


def without(pairs: Sequence[Sample], held: Collection[str], groups: Mapping[str, str]) -> list[Sample]:
    """The pairs whose normal image and mask come from other groups than `held`; all, where nothing says from which."""
    sources = source_groups(pairs, groups)
    return [pair for pair in pairs if not sources.get(pair.name, set()) & set(held)]


def unlikely_pixels(
    pairs: Sequence[Sample],
    networks: Sequence[tuple[frozenset[str], nn.Module]],
    groups: Mapping[str, str],
    training: Training,
) -> dict[Sample, Tensor]:
    """Of every pair the pixels of its label, bool [H, W], that are among the `training.filtered` least likely of all
    pairs' together.

    Args:
        networks: each with the groups that it did not see; a pair is judged by the first that did not see its sources,
            else by the first. None leaves every pixel in.
    """
    if not networks:
        return {}
    labels, likely = Labels(training.labels, training.ignore), {}
    sources = source_groups(pairs, groups)
    for pair in tracked("judging the pairs' pixels", pairs):
        picture, mask = read_sample(pair)
        label, counts = labels.of(pair, mask)
        made_from = sources.get(pair.name, set())
        unseen = [network for held, network in networks if made_from and made_from <= held]
        scores = predict((unseen or [networks[0][1]])[0], picture.image())
        likely[pair] = torch.where(label & counts, scores, torch.nan)
    values = torch.cat([one[~one.isnan()] for one in likely.values()])
    # Sorted, since torch's quantile takes 16 million values at most.
    lowest = values.sort().values[: int(training.filtered * len(values))]
    bound = lowest[-1] if len(lowest) else -1.0
    return {pair: one <= bound for pair, one in likely.items()}
