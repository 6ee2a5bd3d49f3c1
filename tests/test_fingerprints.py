"""Fingerprints of settings, files and models: what changes them, and how a difference reads."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill import fingerprints
from distill.errors import DistillError
from distill.fingerprints import (
    MISSING,
    differences,
    file_fingerprint,
    fingerprint,
    folder_fingerprint,
    mismatch,
    plain,
)
from distill.models import model_fingerprint

nested = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc.", min_size=1, max_size=2), inner, max_size=3)
    ),
    max_leaves=6,
)
settings_of_a_run = st.dictionaries(st.text("ab.", min_size=1, max_size=3), nested)


@given(settings_of_a_run, settings_of_a_run)
def test_settings_differ_exactly_when_their_fingerprints_do(old: dict[str, Any], new: dict[str, Any]) -> None:
    if differences(old, new) == []:
        assert plain(old) == plain(new)
    else:
        assert fingerprint(old) != fingerprint(new)


@given(settings_of_a_run)
def test_settings_never_differ_from_what_json_keeps_of_them(settings: dict[str, Any]) -> None:
    assert differences(plain(settings), settings) == []


DIFFERENCES = [
    ({"a": 1}, {}, [("a", 1, MISSING)]),
    ({}, {"a": None}, [("a", MISSING, None)]),
    ({}, {"a": "nothing"}, [("a", MISSING, "nothing")]),
    ({"a": {}}, {}, [("a", {}, MISSING)]),
    ({"a": {}}, {"a": {"b": 1}}, [("a.b", MISSING, 1)]),
    ({"lora": None}, {"lora": {"rank": 4}}, [("lora", None, {"rank": 4})]),
    ({"a": {"b": 1}}, {"a.b": 1}, [("a", {"b": 1}, MISSING), ("a.b", MISSING, 1)]),
    ({"z": 1, "a": {"y": (1,), "b": 2}}, {"a": {"b": 3, "y": [1]}, "z": 2}, [("a.b", 2, 3), ("z", 1, 2)]),
]


@pytest.mark.parametrize(("old", "new", "expected"), DIFFERENCES)
def test_every_differing_leaf_is_named_with_both_values(
    old: dict[str, Any], new: dict[str, Any], expected: list[tuple[str, Any, Any]]
) -> None:
    assert differences(old, new) == expected


def test_a_mismatch_reads_the_same_in_every_room() -> None:
    differing = differences({"sampling": {"stops": ("a",)}}, {"sampling": {"stops": ()}, "name": "x"})
    assert mismatch(Path("out"), differing) == (
        "'out' holds a run with other settings: name was nothing, is 'x'; sampling.stops was ['a'], is []"
    )


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    one, same, other = (tmp_path / name for name in ("one", "same", "other"))
    one.write_bytes(b"rows")
    same.write_bytes(b"rows")
    other.write_bytes(b"more")
    assert file_fingerprint(one) == file_fingerprint(same) != file_fingerprint(other)


def everything(path: Path) -> bool:
    return True


@pytest.mark.parametrize("size", [4 * 64, 4 * 64 + 1, 4 * 64 * 10 + 7])
def test_large_files_are_sampled_from_the_first_byte_to_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(fingerprints, "CHUNK_BYTES", 4)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(bytes(size))
    before = folder_fingerprint(tmp_path, everything)
    seen = 0
    for position in range(size):
        touched = bytearray(size)
        touched[position] = 1
        weights.write_bytes(touched)
        differs = folder_fingerprint(tmp_path, everything) != before
        assert differs or position not in {0, size - 1}
        seen += differs
    # up to 64 chunks of 4 bytes a file is read whole; one byte more, and the 64 chunks reach all but that byte
    assert seen == 4 * 64


def test_two_files_are_not_one_that_reads_like_both(tmp_path: Path) -> None:
    for folder, contents in (("a", {"1": "x", "2": "y"}), ("b", {"1": "x2y"})):
        (tmp_path / folder).mkdir()
        for name, content in contents.items():
            (tmp_path / folder / name).write_text(content)
    assert folder_fingerprint(tmp_path / "a", everything) != folder_fingerprint(tmp_path / "b", everything)


LOADED_FILES = (
    "chat_template.jinja", "config.json", "generation_config.json", "merges.txt", "model.safetensors", "tokenizer.json",
)  # fmt: skip


def model_folder(path: Path) -> Path:
    path.mkdir(parents=True)
    for name in LOADED_FILES:
        (path / name).write_bytes(b"weights" if name == "model.safetensors" else b"{}")
    return path


@pytest.mark.parametrize("name", LOADED_FILES)
def test_a_model_is_another_when_a_file_that_is_loaded_is_another(tmp_path: Path, name: str) -> None:
    folder = model_folder(tmp_path / "model")
    before = model_fingerprint(str(folder))
    assert len(before) == 16
    (folder / name).write_bytes(b"changed")
    changed = model_fingerprint(str(folder))
    (folder / name).rename(folder / f"another_{name}")
    assert len({before, changed, model_fingerprint(str(folder))}) == 3


def test_a_model_is_the_same_wherever_it_lies_and_whatever_lies_beside_it(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    os.utime(copy / "model.safetensors", (0, 0))
    (copy / "README.md").write_text("a card")
    (copy / "distill_train.json").write_text('{"cpu_seconds": 3}')
    (copy / ".gitattributes").touch()
    (copy / "checkpoints").mkdir()
    assert model_fingerprint(str(copy)) == model_fingerprint(str(folder))


def test_a_tiny_model_is_known_by_its_files_and_one_of_the_hub_by_its_name() -> None:
    assert model_fingerprint("tiny-teacher") != model_fingerprint("tiny-student")
    assert model_fingerprint("Qwen/Qwen2.5-7B") == ""


def adapter_folder(path: Path, base: str) -> Path:
    path.mkdir()
    (path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    (path / "adapter_model.safetensors").write_bytes(b"adapters")
    return path


def test_an_adapter_is_another_when_its_base_is(tmp_path: Path) -> None:
    base = model_folder(tmp_path / "base")
    adapter = str(adapter_folder(tmp_path / "adapter", str(base)))
    before = model_fingerprint(adapter)
    (base / "model.safetensors").write_bytes(b"others")
    assert model_fingerprint(adapter) != before
    (base / "model.safetensors").write_bytes(b"weights")
    assert model_fingerprint(adapter) == before


def test_an_adapter_of_a_hub_model_goes_by_its_own_files(tmp_path: Path) -> None:
    adapters = [adapter_folder(tmp_path / name, f"Qwen/{name}") for name in ("a", "b")]
    assert len({model_fingerprint(str(adapter)) for adapter in adapters} | {""}) == 3
    with pytest.raises(DistillError, match="does not name its base model"):
        model_fingerprint(str(adapter_folder(tmp_path / "c", "")))
