"""Standard names of structures, after the report of AAPM Task Group 263 (doi:10.1016/j.ijrobp.2017.12.013).

A name is given only where a rule is certain; an empty text is better than a wrong organ.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

import yaml

from rtpipeline.outcome import StageError
from rtpipeline.structures.vocabulary import LATERALITY, PAIRED, PLURALS, SINGLE

TARGET = re.compile(r"^(gtv|ctv|itv|ptv|igtv|ictv)(p|n|m|sb)?([1-9])?(?: ?(\d{2,4})( ?c?gy)?)?$")
VERTEBRA = re.compile(r"^(?:vertebrae?|vb) ?([ctls]) ?0?(\d{1,2})$")
RIB = re.compile(r"^rib (?:(left|right) )?0?(\d{1,2})(?: (left|right))?$")
WORDS = re.compile(r"[A-Za-z][a-z]+|[A-Z]+(?![a-z])|[a-z]+|\d+|[^\W\d_]+")
LARGEST_VERTEBRA = {"C": 7, "T": 13, "L": 6, "S": 5}


@dataclass(frozen=True)
class NameRule:
    """One line of the user's mapping: a shell pattern of names, without regard to case, and what it stands for."""

    pattern: str
    standard_name: str


def standard_name(roi_name: str, rules: Sequence[NameRule] = ()) -> str:
    """The TG-263 name of a structure, or an empty text where no rule is certain.

    The user's rules come first, in their order. Then: targets with their number and dose level (`ptv1 54Gy` →
    `PTV1_5400`, in cGy; two digits without a unit are Gy), vertebrae, ribs, and a vocabulary of organs in English and
    in TotalSegmentator's names, with laterality (`Lung-Left` → `Lung_L`) and plurals (`kidneys` → `Kidneys`).
    """
    name = roi_name.strip().lower()
    for rule in rules:
        if fnmatchcase(name, rule.pattern.lower()):
            return rule.standard_name
    plain = re.sub(r"[^a-z0-9.]+", " ", name).strip()
    words = " ".join(word.lower() for word in WORDS.findall(roi_name))
    return _target(plain) or _bone(words) or _organ(words)


@lru_cache(maxsize=8)
def load_rules(file: Path) -> tuple[NameRule, ...]:
    """Read the user's mapping: a YAML file of `pattern: standard name` lines.

    Raises:
        StageError: the file cannot be read, or is not a mapping of texts to texts.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StageError(f"structures.names: {file} cannot be read as YAML: {error}") from error
    if content is None:
        return ()
    texts = isinstance(content, dict) and all(
        isinstance(key, str) and isinstance(value, str) for key, value in content.items()
    )
    if not texts:
        raise StageError(
            f"structures.names: {file} must hold lines of the form `pattern: standard name`; put both in quotes "
            "where they are not plain words"
        )
    return tuple(NameRule(pattern, name) for pattern, name in content.items())


def _target(plain: str) -> str:
    """A target volume: kind, classifier (primary, node, metastasis, boost bed), number, dose in cGy."""
    compact = re.sub(r"(?<=[a-z]) (?=[1-9](?: |$))", "", plain)
    match = TARGET.match(re.sub(r"^(i?[gcp]tv|itv) (p|n|m|sb)(?=\d|\b)", r"\1\2", compact))
    if match is None:
        return ""
    kind, classifier, number, dose, unit = match.groups()
    name = kind.upper() + (classifier or "") + (number or "")
    if dose is None:
        return name
    level = int(dose)
    unit = (unit or "").strip()
    if len(dose) == 2 and unit != "cgy" and level >= 20:
        return f"{name}_{level * 100}"
    if len(dose) == 4 and unit != "gy":
        return f"{name}_{level}"
    return ""


def _bone(words: str) -> str:
    vertebra = VERTEBRA.match(words)
    if vertebra is not None:
        region, number = vertebra.group(1).upper(), int(vertebra.group(2))
        return f"VB_{region}{number}" if 1 <= number <= LARGEST_VERTEBRA[region] else ""
    rib = RIB.match(words)
    if rib is not None and (rib.group(1) is None) != (rib.group(3) is None):
        side = (rib.group(1) or rib.group(3))[0].upper()
        return f"Rib{int(rib.group(2)):02d}_{side}" if 1 <= int(rib.group(2)) <= 12 else ""
    return ""


def _organ(words: str) -> str:
    sides = {LATERALITY[word] for word in words.split() if word in LATERALITY}
    rest = " ".join(word for word in words.split() if word not in LATERALITY)
    if not sides:
        return SINGLE.get(rest) or PLURALS.get(rest) or ""
    if len(sides) == 1 and rest in PAIRED:
        return f"{PAIRED[rest]}_{sides.pop()}"
    return SINGLE.get(words, "")
