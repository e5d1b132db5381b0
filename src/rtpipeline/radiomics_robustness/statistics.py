"""The statistics of a cohort: `python -m rtpipeline.radiomics_robustness.statistics`, in the radiomics environment.

A request names the file of raw values and how features are judged; the reply has a row for every structure, source
and feature. Structures and sources are never pooled. A subject is one structure of one course.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rtpipeline.radiomics_robustness.agreement import Agreement, Form, vectorised, with_pingouin
from rtpipeline.radiomics_robustness.dispersion import (
    coefficient_of_variation_pct,
    median_and_quartiles,
    quartile_coefficient,
)
from rtpipeline.scheduling.worker_process import Message, serve

FloatArray = NDArray[np.float64]
_COLUMNS = (
    "structure",
    "segmentation_source",
    "patient_id",
    "course_id",
    "roi_number",
    "profile",
    "parameter_digest",
    "perturbation_id",
    "feature_name",
    "value",
)
_IMPLEMENTATIONS = {"vectorised": vectorised, "pingouin": with_pingouin}


@dataclass(frozen=True)
class Judgement:
    """How features are judged.

    Attributes:
        implementation: `vectorised` or `pingouin`.
        icc_type: `ICC1`, `ICC2` or `ICC3`.
        by_lower_bound: judge by the lower confidence bound instead of the coefficient.
        icc_robust: least coefficient (or bound) of a robust feature.
        icc_acceptable: least coefficient (or bound) of an acceptable feature.
        cov_enabled: the coefficient of variation is computed, and is part of the label.
        cov_robust_pct: largest coefficient of variation of a robust feature.
        cov_acceptable_pct: largest coefficient of variation of an acceptable feature.
        qcd_enabled: the quartile coefficient of dispersion is computed.
    """

    implementation: str
    icc_type: Form
    by_lower_bound: bool
    icc_robust: float
    icc_acceptable: float
    cov_enabled: bool
    cov_robust_pct: float
    cov_acceptable_pct: float
    qcd_enabled: bool

    def label(self, agreement: float, cov_pct: float) -> str:
        """`robust`, `acceptable` or `poor`; the thresholds belong to the better class, and nothing is rounded."""
        if agreement >= self.icc_robust and cov_pct <= self.cov_robust_pct:
            return "robust"
        if agreement >= self.icc_acceptable and cov_pct <= self.cov_acceptable_pct:
            return "acceptable"
        return "poor"


@dataclass(frozen=True, eq=False)
class Group:
    """All values of one structure from one source.

    Attributes:
        structure: its name.
        source: its segmentation source.
        profile: perturbation profile.
        parameter_digest: digest of PyRadiomics' parameters.
        n_patients: number of patients.
        features: names, in order.
        values: (features, subjects, states); NaN where there is none.
    """

    structure: str
    source: str
    profile: str
    parameter_digest: str
    n_patients: int
    features: tuple[str, ...]
    values: FloatArray


def read_groups(file: Path) -> Iterator[Group]:
    """The groups of a file of raw values, by structure and source.

    Raises:
        ValueError: a value is there twice, or a group mixes profiles or parameters.
    """
    texts = [name for name in _COLUMNS if name not in ("roi_number", "value")]
    with pq.ParquetFile(file, read_dictionary=texts) as parquet:
        table = parquet.read(columns=list(_COLUMNS), use_threads=False).unify_dictionaries()
    codes: dict[str, NDArray[np.int64]] = {}
    names: dict[str, NDArray[Any]] = {}
    for name in texts:
        names[name], codes[name] = _coded(table[name])
    names["roi_number"], codes["roi_number"] = np.unique(table["roi_number"].to_numpy(), return_inverse=True)
    values = table["value"].to_numpy().astype(float)
    pairs = np.unique(np.stack([codes["structure"], codes["segmentation_source"]], axis=1), axis=0)
    for structure, source in pairs:
        rows = np.flatnonzero((codes["structure"] == structure) & (codes["segmentation_source"] == source))
        own = {name: code[rows] for name, code in codes.items()}
        yield _group(
            str(names["structure"][structure]), str(names["segmentation_source"][source]), own, names, values[rows]
        )


def judge(group: Group, judgement: Judgement) -> list[Message]:
    """A row, as in the table `radiomics_robustness_summary`, for every feature of a group."""
    complete: NDArray[np.bool_] = np.all(np.isfinite(group.values), axis=2)
    agreement = _agreement(group.values, complete, judgement)
    cov_pct = coefficient_of_variation_pct(group.values)
    qcd = quartile_coefficient(group.values)
    rows = []
    for number, name in enumerate(group.features):
        row: Message = {
            "structure": group.structure,
            "segmentation_source": group.source,
            "feature_name": name,
            "profile": group.profile,
            "parameter_digest": group.parameter_digest,
            "n_patients": group.n_patients,
            "n_subjects": group.values.shape[1],
            "n_subjects_complete": int(complete[number].sum()),
            "n_subjects_dropped": int((~complete[number]).sum()),
            "n_perturbations": group.values.shape[2],
            "icc_type": judgement.icc_type,
            "icc": _known(agreement.icc[number]),
            "icc_ci95_low": _known(agreement.low[number]) if judgement.by_lower_bound else None,
            "icc_ci95_high": _known(agreement.high[number]) if judgement.by_lower_bound else None,
            **_dispersion("cov", "cov_pct", cov_pct[number, complete[number]], judgement.cov_enabled),
            **_dispersion("qcd", "qcd", qcd[number, complete[number]], judgement.qcd_enabled),
        }
        row["robustness_label"], row["label_reason"] = _label(row, judgement)
        rows.append(row)
    return rows


def summarise(request: Mapping[str, Any]) -> Message:
    """Answer one request: `file` and `judgement` (the fields of `Judgement`) → `rows`."""
    judgement = Judgement(**request["judgement"])
    return {"rows": [row for group in read_groups(Path(request["file"])) for row in judge(group, judgement)]}


def _coded(column: pa.ChunkedArray) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The sorted distinct texts of a dictionary column, and for every row the position of its text among them."""
    combined = column.combine_chunks()
    texts = np.array(combined.dictionary.to_pylist(), dtype=object)
    order = np.argsort(texts)
    position = np.empty(len(texts), dtype=np.int64)
    position[order] = np.arange(len(texts))
    return texts[order], position[combined.indices.to_numpy()]


def _group(
    structure: str,
    source: str,
    codes: Mapping[str, NDArray[np.int64]],
    names: Mapping[str, NDArray[Any]],
    values: FloatArray,
) -> Group:
    only = {}
    for column in ("profile", "parameter_digest"):
        found = [str(names[column][code]) for code in np.unique(codes[column])]
        if len(found) > 1:
            raise ValueError(
                f"{structure} ({source}) has values of different {column} ({', '.join(found)}), not comparable; "
                "run the robustness stage of all courses with one configuration"
            )
        only[column] = found[0]
    subject_key = np.stack([codes["patient_id"], codes["course_id"], codes["roi_number"]], axis=1)
    subjects, subject = np.unique(subject_key, axis=0, return_inverse=True)
    states, state = np.unique(codes["perturbation_id"], return_inverse=True)
    features, feature = np.unique(codes["feature_name"], return_inverse=True)
    shape = (len(features), len(subjects), len(states))
    flat = np.ravel_multi_index((feature.ravel(), subject.ravel(), state.ravel()), shape)
    if len(np.unique(flat)) < len(flat):
        raise ValueError(f"{structure} ({source}) has values that are there twice: is a course's table given twice?")
    cube = np.full(math.prod(shape), np.nan)
    cube[flat] = values
    return Group(
        structure=structure,
        source=source,
        profile=only["profile"],
        parameter_digest=only["parameter_digest"],
        n_patients=len(np.unique(codes["patient_id"])),
        features=tuple(str(names["feature_name"][code]) for code in features),
        values=cube.reshape(shape),
    )


def _agreement(values: FloatArray, complete: NDArray[np.bool_], judgement: Judgement) -> Agreement:
    """Agreement over the complete subjects of each feature; features with the same ones are computed together."""
    result = Agreement(*(np.full(len(values), np.nan) for _ in range(3)))
    patterns, pattern = np.unique(complete, axis=0, return_inverse=True)
    for number, subjects in enumerate(patterns):
        if subjects.sum() < 2 or values.shape[2] < 2:
            continue
        features = np.flatnonzero(pattern.ravel() == number)
        varying = features[np.ptp(values[features][:, subjects], axis=(1, 2)) > 0]
        if len(varying):
            part = _IMPLEMENTATIONS[judgement.implementation](values[varying][:, subjects], judgement.icc_type)
            result.icc[varying], result.low[varying], result.high[varying] = part.icc, part.low, part.high
    return result


def _dispersion(name: str, column: str, values: FloatArray, enabled: bool) -> Message:
    """Columns of one coefficient of dispersion; `values` are those of the complete subjects."""
    if not enabled:
        return {f"n_subjects_{name}": 0, f"{name}_status": "switched off"}
    count = int(np.count_nonzero(~np.isnan(values)))
    median, first, third = (_known(value) for value in median_and_quartiles(values))
    status = "not_evaluable" if count == 0 else "complete" if count == len(values) else "partial"
    return {
        column: median,
        f"{column}_q1": first,
        f"{column}_q3": third,
        f"n_subjects_{name}": count,
        f"{name}_status": status,
    }


def _label(row: Message, judgement: Judgement) -> tuple[str, str]:
    """The label of a feature and what it rests on."""
    if row["n_subjects"] < 2:
        return "not_evaluable", "agreement needs at least two subjects, and there is one"
    if row["n_perturbations"] < 2:
        return "not_evaluable", "agreement needs at least two perturbation states, and there is one"
    if row["n_subjects_complete"] < 2:
        return "not_evaluable", f"only {row['n_subjects_complete']} subjects have a value in every state"
    if row["icc"] is None:
        return "not_evaluable", "the feature does not vary between subjects or states"
    bound = row["icc_ci95_low"] if judgement.by_lower_bound else row["icc"]
    if bound is None:
        return "not_evaluable", "the confidence interval of the intraclass correlation is undefined"
    name = "lower bound of" if judgement.by_lower_bound else "value of"
    basis = f"{name} {judgement.icc_type} {bound:.4g}"
    if not judgement.cov_enabled:
        return judgement.label(bound, 0.0), basis
    if row["cov_status"] != "complete":
        count = row["n_subjects_complete"] - row["n_subjects_cov"]
        return "not_evaluable", f"not all values are positive in {count} subjects, so their CoV is undefined"
    return judgement.label(bound, row["cov_pct"]), f"{basis}, median CoV {row['cov_pct']:.4g} %"


def _known(value: float) -> float | None:
    """The number, or None where it is undefined."""
    return float(value) if math.isfinite(value) else None


if __name__ == "__main__":
    serve(summarise)
