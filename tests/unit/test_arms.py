"""A method's pairs: blank ones are left out, and a method that makes nothing else is refused."""

import numpy as np
import pytest
from anomaly_synthesis.datasets.pairs import read_dropped, read_manifest
from anomaly_synthesis.evaluation import arms
from anomaly_synthesis.evaluation.methods import Tools
from anomaly_synthesis.synthesis.plan import Plan

from .refusals import refused


@pytest.fixture
def make(monkeypatch, train_part, tmp_path):
    """make(changed) runs a method of 10 pairs that inverts the items whose index in the run `changed` accepts."""

    def made(changed):
        count = iter(range(100))

        def method(items, _):
            pictures = [_inverted(item.job) if changed(next(count)) else item.job.picture for item in items]
            return [(picture, item.job.mask.numpy()) for picture, item in zip(pictures, items, strict=True)]

        monkeypatch.setattr(arms, "method_of", lambda _: method)
        arms.make_arm("some", Plan(train_part, train_part, 0), 10, Tools(train_part), tmp_path / "arm", {"split": "s"})
        return tmp_path / "arm"

    return made


def _inverted(job):
    pixels = job.picture.pixels
    return job.picture.with_pixels(np.where(job.mask.numpy()[..., None], 255 - pixels, pixels))


def test_blank_pairs_of_a_method_are_left_out(make):
    root = make(lambda index: index % 3 > 0)
    assert [line["index"] for line in read_dropped(root)] == [0, 3, 6, 9]
    lines = read_manifest(root)
    assert [line["index"] for line in lines] == [1, 2, 4, 5, 7, 8] and {line["changed"] for line in lines} == {1.0}
    assert len({line["identity"] for line in lines}) == 6


def test_a_method_that_changes_nothing_is_refused(make):
    with refused(subject="^some$", got="none of its 10 pairs shows a defect"):
        make(lambda _: False)
