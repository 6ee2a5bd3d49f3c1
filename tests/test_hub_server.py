"""The Hub of the tests is honest: unmodified clients push to it and load from it, and it refuses what the real one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hub_repository import card_errors
from tests.hub_server import Hub, serve_hub

CLIENT = """
import json, sys
from datasets import Dataset, load_dataset
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError

folder, models = sys.argv[1:]
rows = [{"n": number, "text": "x" * number} for number in range(40)]
for config in ("default", "second"):
    Dataset.from_list(rows).push_to_hub("me/pushed", config, private=True)
found = {"loaded": load_dataset("me/pushed", "second", split="train").to_list() == rows}
found["streamed"] = list(load_dataset("me/pushed", split="train", streaming=True)) == rows
api = HfApi()
api.create_repo("me/model", exist_ok=True)
api.upload_folder(folder_path=models, repo_id="me/model")
api.upload_folder(folder_path=models, repo_id="me/model", path_in_repo="again")
found["copy"] = snapshot_download("me/model")
refused = {}
for token in ("reader", "stranger", "unknown", False):
    try:
        HfApi(token=token).upload_folder(folder_path=models, repo_id="me/model", path_in_repo="theirs")
    except HfHubHTTPError as error:
        refused[str(token)] = error.response.status_code
    try:
        HfApi(token=token).dataset_info("me/pushed")
    except HfHubHTTPError as error:
        refused[str(token)] = [refused[str(token)], type(error).__name__]
print(json.dumps({**found, "refused": refused}))
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with serve_hub() as served:
        served.tokens = {"writer": ("me", "write"), "reader": ("me", "read"), "stranger": ("else", "write")}
        yield served


@pytest.fixture(scope="module")
def found(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process with unmodified clients saw; the first upload of a large file breaks off in the middle."""
    home, models = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("models")
    (models / "weights.safetensors").write_bytes(bytes(range(256)) * 400)
    (models / "notes.txt").write_text("some")
    hub.tears = 1
    environment = {**os.environ, **hub.environment(str(home), "writer")}
    command = [sys.executable, "-c", CLIENT, str(home), str(models)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout.splitlines()[-1]), "weights": (models / "weights.safetensors").read_bytes()}


def test_what_datasets_pushes_it_loads_back(hub: Hub, found: dict[str, Any]) -> None:
    assert found["loaded"]
    assert found["streamed"]
    pushed = hub.dataset("me/pushed")
    assert pushed.private
    assert {"data/train-00000-of-00001.parquet", "second/train-00000-of-00001.parquet"} == pushed.large
    assert "config_name: second" in pushed.files()["README.md"].decode()


def test_a_torn_upload_is_sent_again_and_a_stored_file_is_not(hub: Hub, found: dict[str, Any]) -> None:
    assert hub.tears == 0
    assert (Path(found["copy"]) / "weights.safetensors").read_bytes() == found["weights"]
    assert hub.model("me/model").files()["again/weights.safetensors"] == found["weights"]
    sent = [request for request in hub.requests if request.startswith("PUT")]
    assert len(sent) == 3  # two parquet files that are one, sent twice because it was torn, and the weights once


def test_a_token_opens_what_is_its_own(found: dict[str, Any]) -> None:
    assert found["refused"] == {"reader": 403, "stranger": [403, "RepositoryNotFoundError"]} | {
        "unknown": [401, "HfHubHTTPError"],
        "False": [401, "RepositoryNotFoundError"],
    }


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ("license: mit\nsize_categories: [1K<n<10K]", ""),
        ("license: free", '"license" must be one of'),
        ("size_categories: [many]", '"size_categories" cannot be many'),
        ("configs: [{config_name: a, default: true}, {config_name: b, default: true}]", "one default at most"),
        ("a: [", "the front matter is no YAML"),
    ],
)
def test_metadata_that_the_hub_does_not_take_is_named(metadata: str, error: str) -> None:
    errors = card_errors(f"---\n{metadata}\n---\n# Title\n")
    assert [error in found for found in errors] == ([True] if error else [])
