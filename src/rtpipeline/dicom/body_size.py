"""Measures of body size that SUV are normalised by."""

from __future__ import annotations

from typing import Literal

Sex = Literal["M", "F"]


def lean_body_mass_james_kg(weight_kg: float, height_cm: float, sex: Sex) -> float:
    """Lean body mass after James: men `1.10 W - 128 (W/H)²`, women `1.07 W - 148 (W/H)²`, W in kg, H in cm.

    W. P. T. James, Research on Obesity, HMSO, London 1976. Men's coefficient is often printed as 120; DICOM calls the
    formula with 128 LBMJAMES128 (PS3.3 C.8.9.1, SUV Type).

    Raises:
        ValueError: the patient is so heavy that the parabola falls with weight; it does not describe such bodies.
    """
    slope, curvature = (1.10, 128.0) if sex == "M" else (1.07, 148.0)
    heaviest_kg = slope * height_cm**2 / (2.0 * curvature)
    if weight_kg > heaviest_kg:
        raise ValueError(
            f"the formula of James does not hold for {weight_kg:g} kg at {height_cm:g} cm (it falls with weight from "
            f"{heaviest_kg:.0f} kg on); that of Janmahasatian does"
        )
    return slope * weight_kg - curvature * (weight_kg / height_cm) ** 2


def lean_body_mass_janmahasatian_kg(weight_kg: float, height_cm: float, sex: Sex) -> float:
    """Lean body mass after Janmahasatian: men `9270 W / (6680 + 216 B)`, women `9270 W / (8780 + 244 B)`.

    W is in kg, B the body mass index in kg/m² (Janmahasatian et al., Clinical Pharmacokinetics 44(10):1051-1065,
    2005). DICOM calls it LBMJANMA.
    """
    index = weight_kg / (height_cm / 100.0) ** 2
    offset, slope = (6680.0, 216.0) if sex == "M" else (8780.0, 244.0)
    return 9270.0 * weight_kg / (offset + slope * index)


def body_surface_area_cm2(weight_kg: float, height_cm: float) -> float:
    """Body surface area after D. and E. F. Du Bois: `71.84 W^0.425 H^0.725` cm², W in kg, H in cm.

    Archives of Internal Medicine 17:863-871, 1916.
    """
    return float(71.84 * weight_kg**0.425 * height_cm**0.725)
