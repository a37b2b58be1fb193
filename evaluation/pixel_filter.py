"""Pixels of pairs that a network of real defects alone, which did not see where they come from, finds least likely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from ..datasets.pairs import MANIFEST, manifest_lines
from ..datasets.sample import Sample, read_sample
from ..files.progress import tracked
from .segmenter.labels import Labels
from .segmenter.prediction import predict
from .settings import Training


def sources_of(pair: Sample, groups: Mapping[str, str]) -> set[str]:
    """The groups of the images that a pair was made from; empty where no manifest names them."""
    return {groups[name] for name in _sources(pair.root).get(pair.name, ()) if name in groups}


@lru_cache(maxsize=4)
def _sources(root: Path) -> dict[str, tuple[str, ...]]:
    """{image: names of its sources} of a folder of pairs, whose manifest no longer changes."""
    if not (root / MANIFEST).is_file():
        return {}
    names = ("normal_source", "mask_source")
    return {line["image"]: tuple(str(line[key]) for key in names if line.get(key)) for line in manifest_lines(root)}


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
    for pair in tracked("judging the pairs' pixels", pairs):
        picture, mask = read_sample(pair)
        label, counts = labels.of(pair, mask)
        made_from = sources_of(pair, groups)
        unseen = [network for held, network in networks if made_from and made_from <= held]
        scores = predict((unseen or [networks[0][1]])[0], picture.image())
        likely[pair] = torch.where(label & counts, scores, torch.nan)
    values = torch.cat([one[~one.isnan()] for one in likely.values()])
    # Sorted, since torch's quantile takes 16 million values at most.
    lowest = values.sort().values[: int(training.filtered * len(values))]
    bound = lowest[-1] if len(lowest) else -1.0
    return {pair: one <= bound for pair, one in likely.items()}
