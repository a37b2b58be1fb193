"""From a dataset, its split and a base to a folder of checked pairs: what `synthesize` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..choices import ADAPTERS
from ..datasets.pairs import PairWriter, read_manifest
from ..datasets.reading import read_dataset
from ..datasets.sample import check_samples
from ..datasets.split import Split, load_split, part_of
from ..files.folder_lock import check_free
from ..modules.adapter_file import Fit, load_adapter
from ..modules.base_file import base_fit, file_digest, load_base, load_base_of
from ..modules.compact_ldm import CompactLDM
from ..modules.tokens import Type
from ..settings import check_values
from .adapters import Adapters, load_adapters
from .nearest import RealDefects, latent_features
from .pair import Settings
from .plan import Plan
from .run import run
from .settings import DROP, Policy, RunSettings
from .sheets import save_sheet

ON_SHEET = 32


@dataclass(frozen=True)
class Source:
    """Where pairs come from.

    data: a dataset's folder; split: its split.json; base: compact base; types: defect types (None is all);
    normals: part that the normal images come from, "train" or, for studies, "held_back"; foreign_base: accept a base
    that was trained under another split, or on other data; adapter: trained on the base, of FAST or of STAGE, or one of
    each; layout: the data's, None detects it.
    """

    data: str
    split: str
    base: str
    types: Sequence[str] | None = None
    normals: str = "train"
    foreign_base: bool = False
    adapter: str | Sequence[str] | None = None
    layout: str | None = None


def synthesize(
    source: Source,
    out: str | Path,
    count: int,
    settings: Settings,
    *,
    seed: int = RunSettings.seed,
    policy: Policy = DROP,
    negatives: int = RunSettings.negatives,
    resume: bool = False,
    device: str = "cpu",
    report: Callable | None = None,
) -> tuple[list[dict], float]:
    """Make pairs 0 .. count - 1 into `out`, in MVTec layout with manifest.jsonl and sheet.png.

    Args:
        policy, negatives, report: see `synthesis.run.run`.
        resume: continue `out`, which must hold a run of the same source, settings and seed; pairs in it that were lost
            or damaged are made again, all others stay.

    Returns:
        all records of the folder's manifest, and the excess above which a pair counts as visible.

    Raises:
        Refused: another process writes `out`; anything about source, settings or folder that cannot work; found
            before the first pair is made.
        OSError: the folder cannot be written.
    """
    check_values(RunSettings, count=count, negatives=negatives)
    check_free(out)
    samples, split = read_dataset(source.data, source.types, source.layout), load_split(source.split)
    base = _base(source, split)
    train = part_of(split, samples, "train")
    normals = train if source.normals == "train" else part_of(split, samples, source.normals)
    plan = Plan(normals, train, seed)
    for object, type in plan.types:
        base.label(object, type)
    check_samples(plan.samples)
    base_name = file_digest(source.base)
    adapter, adapter_name = _adapter(source, base_fit(base, base_name), split, plan.types)
    described = {
        "base": base_name,
        "adapter": adapter_name,
        "split": split.digest,
        "normals": source.normals,
        "types": [list(key) for key in plan.types],
        "seed": seed,
        "policy": policy.settings,
        "negatives": negatives,
        "settings": asdict(settings),
    }
    with PairWriter(out, described, resume=resume) as writer:
        base = base.to(device)
        real = RealDefects.measured(
            [s for s in train if (s.object, s.type) in plan.types],
            latent_features(base),
            base.config.resolution,
            settings.context,
            split.groups,
        )
        threshold = run(
            base,
            base_name,
            plan,
            count,
            settings,
            writer,
            adapter=adapter and adapter.to(device),
            adapter_name=adapter_name,
            policy=policy,
            negatives=negatives,
            real=real,
            report=report,
        )
        records = read_manifest(out)
        save_sheet(Path(out) / "sheet.png", out, records[:ON_SHEET])
    return records, threshold


def _base(source: Source, split: Split) -> CompactLDM:
    if source.foreign_base:
        return load_base(source.base)[0]
    return load_base_of(source.base, split.digest, unless="foreign_base")


def _adapter(source: Source, base: Fit, split: Split, types: Sequence[Type]) -> tuple[Adapters | None, str | None]:
    paths = [source.adapter] if isinstance(source.adapter, str) else source.adapter
    if not paths:
        return None, None
    # FAST's before STAGE's, however they were given: the name is that of a graph with the same adapters.
    paths = sorted(paths, key=lambda path: ADAPTERS.index(load_adapter(path).method))
    digest = None if source.foreign_base else split.digest
    return load_adapters(paths, base, digest, types), "+".join(file_digest(path) for path in paths)
