"""Words of folders, categories, labels and classes that mean "no defect", in several languages."""

from __future__ import annotations

import re
import unicodedata

_FAULTS = ("defect", "defects", "defective", "anomaly", "anomalies", "anomalous", "damage", "damaged", "fault", "flaw")
# Written as `_words` gives them: small letters, without punctuation.
_NORMAL = {"good", "normal", "normals", "ok", "okay", "background", "bg", "none", "clean", "intact", "undamaged"}
_NORMAL |= {"flawless", "healthy"}
_NORMAL |= {"pass", "passed", "negative", "acceptable", "nodefect", "nodefects", "defectfree", "nondefect"}
_NORMAL |= {"nondefective", "defectless", "noanomaly", "anomalyfree"}
_NORMAL |= {f"{word} {fault}" for word in ("no", "non", "not", "without") for fault in _FAULTS}
_NORMAL |= {f"{fault} free" for fault in _FAULTS}
_NORMAL |= {"gut", "gutteil", "gutteile", "in ordnung", "io", "i o", "fehlerfrei", "hintergrund"}  # German
_NORMAL |= {f"{word} {fault}" for word in ("kein", "keine", "ohne") for fault in ("defekt", "defekte", "fehler")}
_NORMAL |= {"bon", "bonne", "conforme", "sain", "fond", "sans defaut", "sans defauts", "pas de defaut"}  # French
_NORMAL |= {"bueno", "buena", "fondo", "sin defecto", "sin defectos"}  # Spanish
_NORMAL |= {"buono", "buoni", "normale", "sfondo", "senza difetti", "nessun difetto"}  # Italian
_NORMAL |= {"bom", "boa", "fundo", "sem defeito", "sem defeitos"}  # Portuguese
_NORMAL |= {"goed", "achtergrond", "geen defect", "dobry", "dobre", "годен", "норма", "фон", "без дефектов"}
_NORMAL |= {"正常", "良品", "良好", "合格", "合格品", "正常品", "无缺陷", "無缺陷", "背景"}
_NORMAL |= {"欠陥なし", "정상", "양품", "배경"}
_THINGS = {"area", "areas", "image", "images", "part", "parts", "piece", "pieces", "product", "products", "region"}
_THINGS |= {"regions", "sample", "samples", "surface"}  # "good part" and "normal surface" mean what "good" does
_IGNORED = ("ignore", "ignored", "unlabeled", "unlabelled")


def means_normal(name: str) -> bool:
    """Whether a folder, category, label or class name says that there is no defect, in any case and spelling:
    "good", "OK", "_background_", "no-defect", "Normal (OK)", "Gutteile"."""
    text = _words(name)
    words = text.split()
    return text in _NORMAL or bool(set(words) - _THINGS) and all(word in _NORMAL | _THINGS for word in words)


def no_defect(label: str) -> bool:
    """Whether a region of this label is no defect: `means_normal`, or to be ignored."""
    return means_normal(label) or _words(label) in _IGNORED


def _words(name: str) -> str:
    """Small letters without accents, one space between words."""
    parts = unicodedata.normalize("NFKD", name).casefold()
    bare = "".join(one for one in parts if not "\u0300" <= one <= "\u036f")
    return " ".join(re.findall(r"[^\W_]+", unicodedata.normalize("NFC", bare)))
