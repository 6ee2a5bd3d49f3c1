"""Data cards: a Markdown file with YAML front matter makes a source or a benchmark known, without code.

The front matter is the ``Card`` below; the text after it is for people: what the data are, their shape,
their traps and licence, how splits are cut. To add a dataset, drop a card into ``data_cards/`` or pass
the path of one wherever a name is expected.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator

from distill.config import Config
from distill.errors import DistillError
from distill.recipe import parse_yaml
from distill.records import PromptFormat
from distill.registry import did_you_mean

Role = Literal["source", "benchmark"]
USUAL_SPLIT: dict[Role, str] = {"source": "train", "benchmark": "test"}
DATA_SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet", ".csv", ".csv.gz", ".tsv", ".tsv.gz")

Names = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]
"""One name, or several to be tried in order."""


class HubDataset(Config):
    """Where the rows lie on the Hugging Face Hub."""

    id: str
    """Such as 'openai/gsm8k'. '{part}' in it stands for each of ``parts``, when every part is a dataset of its own."""
    config: str | None = None
    """The dataset's configuration; None is its default one."""
    parts: tuple[str, ...] = ()
    """Configurations (or datasets, see ``id``) that are read one after the other as one split."""
    part_column: str = "task"
    """Column that a row gets with the name of its part."""
    revision: str = "main"
    """A commit id wherever one is known, so that the rows cannot change under a run."""


class HashRanks(Config):
    """A slice of a split whose problems stand in the order of a hash: the same ones whatever the order of rows."""

    start: int = Field(0, ge=0)
    stop: int | None = Field(None, ge=1)
    """The first rank outside the slice; None takes all that are left."""

    @model_validator(mode="after")
    def _a_slice_is_not_empty(self) -> HashRanks:
        if self.stop is not None and self.stop <= self.start:
            raise ValueError(f"stop {self.stop} must be greater than start {self.start}")
        return self


class CardSplit(Config):
    """One split as this project names it."""

    hub_split: str = ""
    """The Hub's split that it is taken from; empty means the one of the same name."""
    size: int | None = Field(None, ge=1)
    """Number of problems, where it is known."""
    where: dict[str, str] = Field(default_factory=dict)
    """Only rows whose column holds this text."""
    ranks: HashRanks | None = None
    """Only this slice, for data that bring no split of their own."""


class CardColumns(Config):
    """Which column holds what; of several names the first that is filled in a row counts, ``a.b`` is nested."""

    id: Names = ("id",)
    context: Names = ()
    """A passage that the question is about; it is put before the question."""
    question: Names = ("question", "problem", "prompt", "input")
    answer: Names = ("answer", "gold", "target", "expected_answer", "ground_truth", "solution")
    options: Names = ("options", "choices")
    solution: Names = ("solution", "rationale")


class CardVerifier(Config):
    """Who judges completions of these problems."""

    kind: str
    """A registered verifier, 'pkg.module:function', or 'none' where no verifier of ours can judge them."""
    markers: Names = ()
    """Texts after which completions of this source usually state their answer."""
    without_options: str | None = None
    """The verifier of problems without options, where only some have them."""


class CardPrompt(Config):
    """How a problem of this card becomes a prompt unless the recipe says otherwise."""

    format: PromptFormat = "chat"
    system: str | None = None
    """None is ``distill.prompts.REASONING_SYSTEM``; an empty string sends no system message."""
    template: str = "{question}\n\n{options}"
    plain_template: str = "Question: {question}\n{options}\nAnswer:"
    """Used instead of ``template`` when the format is 'plain'."""
    examples: str = ""
    """Split whose worked solutions serve as examples in few-shot prompts."""


class Card(Config):
    """A source or benchmark: where its rows are, what they mean, how they are prompted and judged."""

    name: str
    title: str
    licence: str
    roles: tuple[Role, ...] = Field(min_length=1)
    homepage: str = ""
    hub: HubDataset | None = None
    generator: str | None = None
    """'pkg.module:function' that makes the problems: called with a split and a limit, it yields ``Problem`` s."""
    checked: bool = False
    """True once the rows were loaded from the Hub with this card and looked right."""
    splits: dict[str, CardSplit] = Field(min_length=1)
    default_splits: dict[Role, str] = Field(default_factory=dict)
    """Split per role; left out, 'train' for a source and 'test' for a benchmark."""
    columns: CardColumns = CardColumns()
    metadata: dict[str, Names] = Field(default_factory=dict)
    """What else of a row is kept with the problem: name -> column."""
    by: str = ""
    """Which of ``metadata`` a report is split by; empty takes 'task', 'category' ... where there is one."""
    descriptions: dict[str, str] = Field(default_factory=dict)
    """What a task, category ... (see ``by``) asks for, in a sentence that templates take as '{description}'."""
    answer_after: str | None = None
    """The gold answer is what follows the last of this marker."""
    question_before: Names = ()
    """Markers of what some data append to a question, options or a cue: it ends before the first one it contains."""
    options_in_question: Literal["keep", "cut"] | None = None
    """Options are lettered lines at the question's end: read them from there, and leave or remove them."""
    without: Names = ()
    """Sources that it may share problems with: an evaluation leaves out those whose question stands in one of them."""
    gold: bool = True
    """False where no gold answer exists."""
    null_answer: str | None = None
    """The gold answer of a row whose answer is empty."""
    answers: dict[str, str] = Field(default_factory=dict)
    """The gold answer for each text of the answer column, where that column holds another word for it."""
    verifier: CardVerifier
    prompt: CardPrompt = CardPrompt()
    decontaminate: Literal["words", "exact"] = "words"
    """How others are compared with these problems: by runs of words; or whole, where they share sentences by design."""
    body: str = Field("", exclude=True)

    def default_split(self, role: Role) -> str:
        """The split that is read when none is asked for."""
        return self.default_splits.get(role, USUAL_SPLIT[role])

    def hub_split(self, split: str) -> str:
        """The Hub's name of the split that ``split`` is taken from."""
        return self.splits[split].hub_split or split

    @model_validator(mode="after")
    def _its_parts_agree(self) -> Card:
        if self.hub and self.generator:
            raise ValueError("has both 'hub' and 'generator'; problems come from one of them")
        if "source" in self.roles and not self.gold:
            raise ValueError("a source needs gold answers: with 'gold: false' the only role is 'benchmark'")
        if self.answers and not self.gold:
            raise ValueError("has 'answers', but with 'gold: false' no answer is read")
        for role in self.roles:
            if self.default_split(role) not in self.splits:
                raise ValueError(f"role '{role}' reads split '{self.default_split(role)}', which is not among 'splits'")
        return self


def cards_folder() -> Path:
    """Where the shipped cards lie: inside the installed package, or at the top of a source checkout."""
    package = Path(__file__).parent
    inside = package / "data_cards"
    return inside if inside.is_dir() else package.parent / "data_cards"


def card_names() -> list[str]:
    """Names of the shipped cards, sorted."""
    return sorted(path.stem for path in cards_folder().glob("*.md"))


def list_cards() -> list[Card]:
    """All shipped cards, sorted by name."""
    return [load_card(name) for name in card_names()]


def load_card(name_or_path: str) -> Card:
    """The card of this name, or the one that lies at this path (a file ending in '.md').

    Raises:
        DistillError: no such card, or it is not a valid one.

    >>> load_card("gsm8k").splits["test"].size
    1319
    """
    if name_or_path.endswith(".md"):
        return read_card(Path(name_or_path).expanduser())
    names = card_names()
    if name_or_path not in names:
        raise DistillError(
            f"no data card is called '{name_or_path}'",
            hint=did_you_mean(
                name_or_path,
                names,
                "the path of a card (.md) or file (.jsonl, .csv, .parquet ...), 'owner/name' on the Hub, or "
                "'reasoning-gym:TASK'",
            ),
        )
    return read_card(cards_folder() / f"{name_or_path}.md")


def read_card(path: Path) -> Card:
    """Read and check one card; ``DistillError`` names the file, the field and the reason."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise DistillError(
            f"data card '{path}' cannot be read: {reason}", hint="'distill list sources' shows the cards that there are"
        ) from None
    front, body = _split_front_matter(text, path)
    try:
        return Card.model_validate({**front, "body": body})
    except ValidationError as error:
        raise _explain(error, path) from None


def _split_front_matter(text: str, path: Path) -> tuple[dict[str, Any], str]:
    """The front matter as a mapping and the text after it."""
    lines = text.splitlines()
    if not lines or lines[0].strip() != "---" or "---" not in (line.rstrip() for line in lines[1:]):
        raise DistillError(
            f"data card '{path}' has no front matter", hint="it starts with YAML between two lines '---'"
        )
    end = next(number for number, line in enumerate(lines[1:], start=1) if line.rstrip() == "---")
    try:
        # The first line becomes a blank one, so that YAML counts lines as an editor does.
        front = parse_yaml("\n" + "\n".join(lines[1:end]))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        raise DistillError(
            f"{place}: front matter is no valid YAML: {getattr(error, 'problem', error)}",
            hint="see data_cards/gsm8k.md; a text with ': ' or '#' in it needs quotes",
        ) from None
    if not isinstance(front, dict):
        raise DistillError(f"{path}: front matter is no mapping", hint="expected lines such as 'name: gsm8k'")
    return front, "\n".join(lines[end + 1 :]).strip()


def _explain(error: ValidationError, path: Path) -> DistillError:
    """The first thing wrong in a card, and the nearest right name of an unknown field."""
    errors = error.errors(include_url=False)
    # A misspelt field is also a missing one; the misspelling is what helps.
    first = next((found for found in errors if found["type"] == "extra_forbidden"), errors[0])
    place = [str(part) for part in first["loc"]]
    field = ".".join(place)
    if first["type"] == "extra_forbidden":
        return DistillError(f"{path}: no field '{field}'", hint=did_you_mean(place[-1], _fields_at(place[:-1])))
    if first["type"] == "missing":
        return DistillError(f"{path}: field '{field}' is missing", hint="every card needs it; see data_cards/gsm8k.md")
    reason = first["msg"].removeprefix("Value error, ")
    found = "" if isinstance(first["input"], dict | BaseModel) else f", found '{first['input']}'"
    named = f"field '{field}': " if field else ""
    return DistillError(f"{path}: {named}{reason[:1].lower()}{reason[1:]}{found}", hint="see data_cards/gsm8k.md")


def _fields_at(place: Sequence[str]) -> list[str]:
    """Names of the fields of the model that a place in the front matter leads to; keys of mappings are skipped."""
    model: type[BaseModel] = Card
    for name in place:
        if name in model.model_fields:
            annotation = model.model_fields[name].annotation
            candidates = [annotation, *get_args(annotation)]
            model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), model)
    return [name for name in model.model_fields if name != "body"]
