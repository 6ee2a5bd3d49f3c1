"""What a release promises: typed public names, a citation, a changelog that knows the version."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import distill

REPOSITORY = Path(__file__).parents[1]
SNIPPET = REPOSITORY / "tests" / "data" / "public_api.py"


def test_the_typed_program_uses_every_public_name() -> None:
    used = set(re.findall(r"distill\.(\w+)", SNIPPET.read_text("utf-8")))
    assert set(distill.__all__) <= used


@pytest.mark.slow
def test_a_strict_type_checker_knows_every_public_name(tmp_path: Path) -> None:
    # as a user has it: without our settings, without pydantic's plugin
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", str(SNIPPET)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert (REPOSITORY / "distill" / "py.typed").exists()


def test_the_citation_has_the_fields_of_its_format_and_the_version() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text("utf-8"))
    # required by the schema of format 1.2.0
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0"
    assert all("name" in author or "family-names" in author for author in citation["authors"])
    assert citation["license"] == "Apache-2.0"
    assert citation["version"] == distill.__version__


def test_the_changelog_has_a_section_for_what_the_version_holds() -> None:
    changelog = (REPOSITORY / "CHANGELOG.md").read_text("utf-8")
    expected = "Unreleased" if "dev" in distill.__version__ else distill.__version__
    assert re.findall(r"^## (\S+)", changelog, re.MULTILINE)[0] == expected


def test_the_sdist_leaves_nothing_out_that_the_wheel_is_built_of() -> None:
    for name in ("LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "SECURITY.md", "CONTRIBUTING.md"):
        assert (REPOSITORY / name).is_file()
