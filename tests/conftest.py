"""Fixtures that several test files share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The models of the tests are tiny: a second thread costs more than it gives, most of all on a machine that is busy.
# Set before anything loads torch, and handed on to the commands that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")


REPOSITORY = Path(__file__).parents[1]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"

# How long an example takes says more of the machine than of the code.
settings.register_profile("distill", deadline=None)
settings.load_profile("distill")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real benchmark data and real completions beside the checkout; tests that need it skip without it."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no shared data beside the checkout")
    return SHARED_DATA
