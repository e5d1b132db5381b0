"""What every part of the configuration is: typed keys, and nothing else."""

from __future__ import annotations

from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """A part of the configuration; unknown keys are errors, and an empty section means its defaults."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _tidied(cls, value: Any) -> Any:
        """An empty section means its defaults; an older name of a key gives way to the key itself."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            return value
        return {key: item for key, item in value.items() if cls.older_names().get(key) not in value}

    @classmethod
    def older_names(cls) -> dict[str, str]:
        """Older name of a key → the key, for the keys of this section that have one."""
        return {
            str(alias): name
            for name, field in cls.model_fields.items()
            if isinstance(field.validation_alias, AliasChoices)
            for alias in field.validation_alias.choices
            if alias != name
        }
