"""The targets of benchmarks/fuzz.py, each with `prepare()` and `meet(rng, folder, met)`."""

from .dataset_trees import Datasets
from .pair_folders import Pairs
from .served_batches import Batches
from .weight_files import Pickles, Weights

TARGETS = {"datasets": Datasets(), "pairs": Pairs(), "batches": Batches(), "weights": Weights(), "pickles": Pickles()}
