"""Opening backends by name; what each of them promises is in test_generate_contract.py."""

from __future__ import annotations

import pytest

from distill.config import RecordedConfig, SamplingConfig, TeacherConfig
from distill.errors import DistillError
from distill.generate import open_backend
from tests.loading import loaded_modules


def test_an_unknown_backend_is_an_error() -> None:
    with pytest.raises(DistillError, match="no backend is called 'vlm'"):
        open_backend(TeacherConfig(backend="vlm"), SamplingConfig(), RecordedConfig(), 0)


def test_a_backend_of_ones_own_gets_all_options() -> None:
    teacher = TeacherConfig(backend="tests.test_generate_backends:OwnBackend", model="mine")
    opened = open_backend(teacher, SamplingConfig(), RecordedConfig(), 3, inline_entropies=False)
    assert opened.teacher == "mine 3 False"


class OwnBackend:
    """Shows what a registered backend is made from."""

    def __init__(self, options) -> None:  # type: ignore[no-untyped-def]
        self.teacher = f"{options.teacher.model} {options.seed} {options.inline_entropies}"


def test_importing_the_room_loads_no_torch() -> None:
    loaded = loaded_modules("import distill.generate, distill.models")
    assert {"distill.generate", "distill.models"} <= loaded
    assert loaded & {"torch", "transformers", "numpy"} == set()
