"""What every section of a recipe shares."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, model_validator

ResumePolicy = Literal["never", "always", "if-possible"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]


class Config(BaseModel):
    """Frozen, and an unknown field is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=(), allow_inf_nan=False
    )
    number_is: ClassVar[str] = ""
    """The field that is meant where a number stands in the section's place; none where empty."""

    @model_validator(mode="before")
    @classmethod
    def _widen_number(cls, value: Any) -> Any:
        return cls.widened(value)

    @classmethod
    def widened(cls, value: Any) -> Any:
        """A number in the section's place as the mapping that it is short for; anything else as it is."""
        return {cls.number_is: value} if cls.number_is and is_number(value) else value


def is_number(value: Any) -> bool:
    """True for what YAML reads as a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def without_nulls(values: Any) -> Any:
    """A mapping without the keys that a recipe removes by setting them to null."""
    return {name: value for name, value in values.items() if value is not None} if isinstance(values, dict) else values
