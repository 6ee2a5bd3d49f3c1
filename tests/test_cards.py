"""Data cards: the shipped ones are valid, and a wrong one says what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from distill.cards import Card, card_names, list_cards, load_card, read_card
from distill.errors import DistillError
from distill.prompts import check_template
from tests.loading import loaded_modules

SHIPPED = {
    "advbench", "agieval", "aime24", "aime25", "arc_challenge", "arc_easy", "arithmetic", "bb_sub",
    "bbh", "gsm8k", "gsm_plus", "math500", "mmlu_pro", "open_rs", "open_s1", "xstest",
}  # fmt: skip

MINIMAL = """\
---
name: mine
title: My problems
licence: MIT
roles: [benchmark]
hub: {id: me/mine}
splits: {test: {}}
verifier: {kind: math}
---

# About them
"""


def write_card(folder: Path, text: str) -> Path:
    path = folder / "mine.md"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_documented_cards_are_shipped() -> None:
    assert set(card_names()) >= SHIPPED


@pytest.mark.parametrize("card", list_cards(), ids=lambda card: card.name)
def test_a_shipped_card_has_its_files_name_a_text_for_people_and_templates_that_work(card: Card) -> None:
    assert load_card(card.name) == card
    assert card.body.startswith("# ")
    assert card.hub is None or "This card was never loaded from the Hub by us" in " ".join(card.body.split())
    check_template(card.prompt.template)
    check_template(card.prompt.plain_template)


@pytest.mark.parametrize("card", [card for card in list_cards() if card.hub], ids=lambda card: card.name)
def test_a_cards_revision_is_a_whole_commit_id_or_openly_main(card: Card) -> None:
    assert card.hub is not None
    revision = card.hub.revision
    assert revision == "main" or (len(revision) == 40 and set(revision) <= set("0123456789abcdef"))
    assert card.checked is False, "set it only once the card was really loaded from the Hub, and say so in its text"


def test_hash_cut_splits_of_the_papers_have_their_sizes() -> None:
    # AdvDistill: 553 OPEN-S1, 850 OPEN-RS and 2,284 MMLU-Pro problems are for testing; the rest of a set trains.
    for name, test_size, whole in [("open_s1", 553, 18_615), ("mmlu_pro", 2_284, 12_032), ("bbh", 1_302, 6_511)]:
        splits = load_card(name).splits
        assert splits["test"].ranks is not None
        assert splits["train"].ranks is not None
        assert splits["test"].ranks.stop == splits["train"].ranks.start == splits["test"].size == test_size
        assert splits["train"].size == whole - test_size
        assert splits["all"].size == whole
    assert load_card("open_rs").splits["test"].size == 850
    assert load_card("gsm_plus").default_split("benchmark") == "testmini"


def test_a_card_of_ones_own_is_read_from_its_path(tmp_path: Path) -> None:
    card = load_card(str(write_card(tmp_path, MINIMAL)))
    assert card.name == "mine"
    assert card.body == "# About them"
    assert card.columns.question == ("question", "problem", "prompt", "input")


def test_one_name_and_a_list_of_names_are_both_columns(tmp_path: Path) -> None:
    text = MINIMAL.replace("splits:", "columns: {question: text, answer: [key, gold]}\nsplits:")
    card = read_card(write_card(tmp_path, text))
    assert card.columns.question == ("text",)
    assert card.columns.answer == ("key", "gold")


SEE = "see data_cards/gsm8k.md"


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ("licence: MIT\n", "", "field 'licence' is missing", "every card needs it; see data_cards/gsm8k.md"),
        ("splits:", "splitz:", "no field 'splitz'", "did you mean 'splits'?"),
        ("id: me/mine", "id: me/mine, revison: main", "no field 'hub.revison'", "did you mean 'revision'?"),
        ("{test: {}}", "{test: {sise: 3}}", "no field 'splits.test.sise'", "did you mean 'size'?"),
        ("{test: {}}", "{test: {size: 0}}", "field 'splits.test.size': input should be greater than", SEE),
        ("{test: {}}", "{test: {ranks: {start: 5, stop: 5}}}", "stop 5 must be greater than start 5", SEE),
        ("{test: {}}", "{dev: {}}", "role 'benchmark' reads split 'test', which is not among 'splits'", SEE),
        ("[benchmark]", "[benchmarks]", "field 'roles.0': input should be 'source' or 'benchmark'", SEE),
        ("[benchmark]", "[source]\ngold: false", "a source needs gold answers", SEE),
        (
            "splits:",
            "gold: false\nanswers: {a: b}\nsplits:",
            "has 'answers', but with 'gold: false' no answer is read",
            SEE,
        ),
        ("hub: {id", "generator: m:f\nhub: {id", "has both 'hub' and 'generator'", SEE),
        ("title: My problems", "title: [", "mine.md:5: front matter is no valid YAML", SEE),
        ("---\nname", "name", "has no front matter", "it starts with YAML between two lines '---'"),
        ("name: mine\n", "name: 5\n", "field 'name': input should be a valid string, found '5'", SEE),
    ],
)
def test_a_wrong_card_names_its_file_the_field_and_the_reason(
    tmp_path: Path, old: str, new: str, message: str, hint: str
) -> None:
    assert old in MINIMAL
    path = write_card(tmp_path, MINIMAL.replace(old, new, 1))
    with pytest.raises(DistillError) as caught:
        read_card(path)
    assert "mine.md" in str(caught.value)
    assert message in str(caught.value)
    assert caught.value.hint.startswith(hint)


def test_an_unknown_name_suggests_the_nearest_and_says_that_paths_work() -> None:
    with pytest.raises(DistillError, match="no data card is called 'gsm8'") as caught:
        load_card("gsm8")
    assert "did you mean 'gsm8k'?" in caught.value.hint
    assert ".jsonl" in caught.value.hint


def test_a_missing_card_file_is_an_error_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(DistillError, match=r"nowhere\.md' cannot be read: No such file"):
        load_card(str(tmp_path / "nowhere.md"))


def test_importing_cards_loads_neither_torch_nor_transformers_nor_datasets() -> None:
    loaded = loaded_modules("import distill.cards, distill.problems, distill.prompts")
    assert {"distill.cards", "distill.problems", "distill.prompts"} <= loaded
    assert loaded & {"torch", "transformers", "datasets", "pyarrow", "huggingface_hub", "sympy"} == set()
