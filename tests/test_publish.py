"""Datasets on a Hub: what arrives, what a card says, what people wrote into it, and what is said when it fails."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from distill import DistillError, curate_dataset, load_groups, publish_dataset
from distill.publish import tables
from distill.publish.card import FIELD, hide_secrets, merge_card, split_card, template_path
from distill.publish.dataset import CONFIGS
from distill.schema import row_to_group, row_to_scores
from tests.curate_parts import SCRIPTED, ScriptedBackend, scripted
from tests.hub_repository import card_errors
from tests.hub_server import Hub, serve_hub
from tests.train_fixtures import CORRECT, completion, row, save_rows, sums

# the Hub's client gives its HTTP client files in a way that this one is about to drop
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
TOKEN = "aSecretThatLooksLikeNoTokenAtAll"
REPO = "me/sums"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A Hub that this process takes for the real one; whoever waits between two tries does not wait."""
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    with serve_hub() as served:
        served.tokens = {TOKEN: ("me", "write"), "reader": ("me", "read")}
        monkeypatch.setattr(constants, "ENDPOINT", served.endpoint)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{served.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        )
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(_http.time, "sleep", lambda _: None)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield served


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A curated run of ten problems: their pass rates are all there, and those without a right answer are dropped."""
    ScriptedBackend.script()
    return curate_dataset(SCRIPTED, tmp_path_factory.mktemp("runs") / "ten").run


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset without the run that made it."""
    return save_rows(tmp_path_factory.mktemp("alone") / "sums", sums(6))


def rows_of(hub: Hub, config: str, repo: str = REPO) -> list[dict[str, Any]]:
    """What unmodified ``datasets`` loads."""
    import io

    import pyarrow.parquet as pq

    files = hub.dataset(repo).files()
    names = sorted(name for name in files if name.startswith(f"{config}/"))
    return [found for name in names for found in pq.read_table(io.BytesIO(files[name])).to_pylist()]


def card_of(hub: Hub, repo: str = REPO) -> tuple[dict[str, Any], str]:
    return split_card(hub.dataset(repo).files()["README.md"].decode())


def test_everything_arrives_in_one_commit_in_a_private_repository(hub: Hub, run: Path) -> None:
    result = publish_dataset(run, REPO)
    stored = hub.dataset(REPO)
    assert stored.private
    assert result.private
    assert len(stored.messages) == 1
    assert result.commit == stored.revisions["main"]
    assert set(result.files) == set(stored.files()) - {".gitattributes"}
    assert {"manifest.json", "config.yaml", "report.json", "charts/rewards.svg"} < set(stored.files())
    assert {path for path in stored.files() if path.endswith(".parquet")} == stored.large
    groups = [(row_to_group(found), row_to_scores(found)) for found in rows_of(hub, "groups")]
    assert groups == list(load_groups(run, kept_only=True))
    assert result.rows == {config: len(rows_of(hub, config)) for config in CONFIGS}


def test_a_card_has_its_numbers_from_the_run(hub: Hub, run: Path) -> None:
    publish_dataset(run, REPO, public=True, languages=["en"])
    assert not hub.dataset(REPO).private
    metadata, body = card_of(hub)
    # of problem i the first i mod 5 of 4 completions are right: 10 groups, of which 0 and 5 have none
    assert "40 completions of 10 problems, in groups of 4" in body
    assert "8 groups were kept" in body
    assert re.search(r"\| correct \| 20 \| 50\.0% \|", body)
    assert "| no_correct | 2 |" in body
    for said in ("scripted", "Apache-2.0", "2.0 × cosine", "any_correct", "Not compared with", "distill train data"):
        assert said in body
    assert metadata["license"] == "apache-2.0"
    assert metadata["language"] == ["en"]
    assert metadata["size_categories"] == ["n<1K"]
    assert metadata["annotations_creators"] == ["machine-generated"]
    assert "synthetic" in metadata["tags"]
    assert [config["config_name"] for config in metadata["configs"]] == list(CONFIGS)
    assert [config["config_name"] for config in metadata["configs"] if config.get("default")] == ["groups"]
    assert metadata["dataset_info"][0]["splits"] == [
        {"name": "train", "num_bytes": metadata["dataset_info"][0]["dataset_size"], "num_examples": 8}
    ]


def test_the_hubs_own_check_takes_the_card(hub: Hub, run: Path) -> None:
    from huggingface_hub import DatasetCard

    card = DatasetCard(publish_dataset(run, REPO, dry_run=True).card)
    card.validate(repo_type="dataset")
    assert card.data.license == "apache-2.0"
    card.data.license = "no such licence"
    with pytest.raises(ValueError, match="license"):
        card.validate(repo_type="dataset")


@pytest.mark.filterwarnings("ignore")
def test_datasets_loads_every_config_by_its_name(hub: Hub, run: Path, tmp_path: Path) -> None:
    import os
    import subprocess
    import sys

    publish_dataset(run, REPO)
    code = (
        "import json, sys, datasets\n"
        "load = lambda *names: datasets.load_dataset(*names, split='train')\n"
        f"rows = {{name: len(load('{REPO}', name)) for name in {CONFIGS!r}}}\n"
        f"load('{REPO}').save_to_disk(sys.argv[1])\n"
        "print(json.dumps(rows))"
    )
    environment = {**os.environ, **hub.environment(str(tmp_path / "home"), TOKEN)}
    command = [sys.executable, "-c", code, str(tmp_path / "data")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"groups": 8, "samples": 32, "sft": 8, "preference": 6, "kto": 32}
    assert list(load_groups(tmp_path / "data")) == list(load_groups(run, kept_only=True))


def test_publishing_again_keeps_what_people_wrote_and_renews_the_rest(
    hub: Hub, run: Path, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "BYTES_PER_FILE", 1)
    monkeypatch.setattr(tables, "BYTES_PER_ROW_GROUP", 1)
    publish_dataset(alone, REPO, licence="mit")
    stored = hub.dataset(REPO)
    card = stored.files()["README.md"].decode()
    edited = card.replace("# sums\n", "# Sums for everybody\n\nPlease cite us.\n").replace(
        "license: mit", "license: cc0-1.0"
    )
    edited = edited.replace("- distill\n", "- distill\n- ours\n") + "\n## Thanks\n\nTo all.\n"
    extra = {"extra/train-0.parquet": b"theirs", "groups/train-00007-of-00008.parquet": b"stale"}
    stored.add({**stored.files(), "README.md": edited.encode(), **extra}, "main", "an edit")
    publish_dataset(run, REPO)
    metadata, body = card_of(hub)
    assert body.startswith("\n# Sums for everybody\n\nPlease cite us.\n")
    assert body.endswith("## Thanks\n\nTo all.\n")
    assert "8 groups were kept" in body
    assert body.count("<!-- distill: end -->") == 1
    assert metadata["license"] == "cc0-1.0"
    assert {"ours", "teacher:scripted", "teacher:tiny"} <= set(metadata["tags"])
    assert metadata["dataset_info"][0]["splits"][0]["num_examples"] == 8
    assert "extra/train-0.parquet" in stored.files()
    assert "groups/train-00007-of-00008.parquet" not in stored.files()
    publish_dataset(run, REPO, licence="mit")
    assert card_of(hub)[0]["license"] == "mit"


def test_a_card_without_marks_keeps_its_text_and_its_configs() -> None:
    theirs = "---\nlicense: mit\nconfigs:\n- config_name: old\n  default: true\n- config_name: groups\n---\n# Mine\n\nWords.\n"
    fresh = (
        "---\nlicense: other\nconfigs:\n- {config_name: groups, default: true}\n---\n# New\n\n"
        "<!-- distill: what stands between -->\n\nnumbers\n\n<!-- distill: end -->\n"
    )
    metadata, body = split_card(merge_card(theirs, fresh))
    assert body.startswith("# Mine\n\nWords.\n\n<!-- distill: what stands between")
    assert "# New" not in body
    assert metadata["configs"] == [{"config_name": "groups", "default": True}, {"config_name": "old"}]
    assert metadata["license"] == "mit"
    assert card_errors(merge_card(theirs, fresh)) == []


def test_an_upload_that_broke_off_sends_only_what_is_missing(hub: Hub, run: Path) -> None:
    hub.tears = 1  # the client sends that file again by itself
    hub.fail("POST", "/commit/", 503, times=100)
    with pytest.raises(DistillError, match=r"the Hub is out of order \(status 503, 'me/sums'\)"):
        publish_dataset(run, REPO)
    assert "README.md" not in hub.dataset(REPO).files()
    sent = [request for request in hub.requests if request.startswith("PUT")]
    assert len(sent) == len(CONFIGS) + 1
    hub.failures.clear()
    publish_dataset(run, REPO)
    assert [request for request in hub.requests if request.startswith("PUT")] == sent


def test_who_edits_the_card_while_it_is_being_published_wins(
    hub: Hub, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def edited_meanwhile(*arguments: Any) -> str:
        stored = hub.dataset(REPO)
        stored.add({**stored.files(), "README.md": b"# Theirs\n"}, "main", "an edit")
        return merge_card(*arguments)

    monkeypatch.setattr("distill.publish.hub.merge_card", edited_meanwhile)
    with pytest.raises(DistillError, match="was changed by somebody else meanwhile"):
        publish_dataset(alone, REPO, licence="mit")
    monkeypatch.undo()
    assert hub.dataset(REPO).files()["README.md"] == b"# Theirs\n"


@pytest.mark.parametrize(
    ("method", "path", "status", "said", "hint"),
    [
        ("POST", "/repos/create", 401, "does not know this token", "hf auth login"),
        ("POST", "/repos/create", 403, "does not let this token write there", "write permission"),
        ("GET", "/api/datasets/", 404, "has no such repository", "check the name"),
        ("POST", "/commit/", 409, "is busy with another change", "publish again"),
        ("POST", "/commit/", 412, "was changed by somebody else meanwhile", "publish again"),
        ("POST", "/preupload/", 429, "has had too many requests", "wait some minutes"),
        ("PUT", "/large/", 500, "is out of order", "try again later"),
        ("POST", "/commit/", 400, "refuses what was sent", "nothing was changed"),
    ],
)
def test_what_the_hub_says_against_it_is_one_line_without_the_token(
    method: str, path: str, status: int, said: str, hint: str, hub: Hub, alone: Path
) -> None:
    hub.fail(method, path, status, times=100, message=f"no, {TOKEN}")
    with pytest.raises(DistillError, match=said) as caught:
        publish_dataset(alone, REPO, licence="mit")
    assert f"status {status}, '{REPO}'" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert hint in caught.value.hint


def test_a_token_that_may_only_read_and_one_that_is_not_there(
    hub: Hub, alone: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("HF_TOKEN", "reader")
    with pytest.raises(DistillError, match="does not let this token write there"):
        publish_dataset(alone, REPO, licence="mit")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(DistillError, match="under the namespace 'somebody'"):
        publish_dataset(alone, "somebody/sums", licence="mit")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(DistillError, match="there is no Hub token"):
        publish_dataset(alone, REPO, licence="mit")


def test_a_hub_that_is_not_there_is_said_to_be_out_of_reach(
    hub: Hub, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DistillError, match="the Hub cannot be reached"):
        publish_dataset(alone, REPO, licence="mit")


def test_the_token_stands_nowhere(
    hub: Hub, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where somebody wrote it into the command and into the recipe."""
    from distill.__main__ import main

    ScriptedBackend.script()
    teacher = SCRIPTED.teacher.model_copy(update={"extra_body": {"key": TOKEN}})
    monkeypatch.setattr("sys.argv", ["distill", "curate", "--set", f"teacher.extra_body.key={TOKEN}"])
    made = curate_dataset(scripted(teacher=teacher), tmp_path / "run").run
    assert TOKEN in (made / "config.yaml").read_text()
    monkeypatch.setattr("sys.argv", ["distill", "publish", str(made), REPO])
    with pytest.raises(SystemExit, match="0"):
        main()
    stored = b"\0".join(hub.dataset(REPO).files().values())
    said = capfd.readouterr()
    assert "me/sums" in said.out
    for text in (stored.decode(errors="replace"), said.out, said.err, *hub.requests, *hub.dataset(REPO).messages):
        assert TOKEN not in text
    assert "extra_body.key=***" in hub.dataset(REPO).files()["README.md"].decode()


def test_a_dry_run_asks_nobody_and_says_all(hub: Hub, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    result = publish_dataset(run, REPO, dry_run=True)
    assert hub.requests == []
    assert result.url is None
    assert result.files["README.md"] == len(result.card.encode())
    assert "8 groups were kept" in result.card


def test_a_licence_is_never_guessed(alone: Path) -> None:
    with pytest.raises(DistillError, match=r"the licence of .* is not known") as caught:
        publish_dataset(alone, REPO, dry_run=True)
    assert "--licence" in caught.value.hint
    with pytest.raises(DistillError, match="says 'my own one'"):
        publish_dataset(alone, REPO, licence="my own one", dry_run=True)
    assert publish_dataset(alone, REPO, licence="MIT", dry_run=True).card.count("license: mit") == 1


def test_configs_without_a_row_are_left_out_and_named(tmp_path: Path) -> None:
    right = save_rows(tmp_path / "right", [row(1, [(completion("2"), CORRECT)])])
    result = publish_dataset(right, REPO, licence="mit", dry_run=True)
    assert set(result.rows) == {"groups", "samples", "sft", "kto"}
    assert "no row for preference: left out" in result.notes
    dropped = save_rows(tmp_path / "dropped", [row(1, [(completion("2"), CORRECT)], drop_reason="short")])
    with pytest.raises(DistillError, match="has nothing to say in the shape 'groups'"):
        publish_dataset(dropped, REPO, licence="mit", dry_run=True)


@pytest.mark.parametrize("name", ["sums", "a/b/c", "me/two words", "me/"])
def test_a_name_that_no_repository_can_have_is_said_before_any_work(name: str, tmp_path: Path) -> None:
    with pytest.raises(DistillError, match="cannot be the name of a repository"):
        publish_dataset(tmp_path / "nowhere", name)


@pytest.mark.parametrize("path", sorted(template_path("dataset").parent.glob("*.md")), ids=lambda path: path.stem)
def test_a_shipped_template_is_a_card_with_marks_and_known_fields(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    metadata, body = split_card(text.replace("{{library}}", "transformers"))
    assert card_errors(FIELD.sub("x", text)) == []
    assert {"tags", "pipeline_tag" if path.stem == "model" else "annotations_creators"} <= set(metadata)
    assert "distill" in metadata["tags"]
    assert body.count("<!-- distill: what stands between") == body.count("<!-- distill: end -->") == 1
    assert body.index("# {{title}}") < body.index("<!-- distill") < body.index("{{summary}}")
    assert yaml.safe_load(yaml.safe_dump(metadata)) == metadata


def test_a_home_is_nobodys_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    assert hide_secrets("--out /home/anna/runs and /home/annabel") == "--out ~/runs and /home/annabel"


def test_metadata_that_the_hub_refuses_are_named_in_one_line(hub: Hub, alone: Path) -> None:
    with pytest.raises(DistillError, match=r"'me/sums'.*\"license\" must be one of") as caught:
        publish_dataset(alone, REPO, licence="no-such-licence-1.0")
    assert "\n" not in str(caught.value)
    assert not [request for request in hub.requests if request.startswith("PUT")]
