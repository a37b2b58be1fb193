"""The pack's own socket types, declared once."""

from __future__ import annotations

from comfy_api.latest import io

CATEGORY = "anomaly synthesis"

Crop = io.Custom("SIAS_CROP")  # synthesis.crop.Crop: which window of which image every crop is
Scores = io.Custom("SIAS_SCORES")  # list of nodes.pairs.Score, one per pair of a batch
