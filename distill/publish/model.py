"""A student on the Hub: its folder, a card with its training and what it can do, and results that machines read."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distill.curate import Progress
from distill.errors import DistillError
from distill.evals.gather import Run
from distill.evals.page.content import Content, gather_content
from distill.files import write_atomically
from distill.models import STUDENT_REPORT_FILE, TINY_MODELS, model_fingerprint
from distill.publish.card import fill_template, hide_secrets, licence_id
from distill.publish.eval_results import hub_results, model_index
from distill.publish.hub import CARD_FILE, PublishResult, Upload, check_repo_id, find_token, publish
from distill.publish.model_facts import ModelFacts, model_card_fields

ADAPTER_FILE = "adapter_config.json"
CONFIG_FILES = ("config.json", ADAPTER_FILE)
RESULTS_FOLDER = ".eval_results"


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """What is said of a student that its folder does not know."""

    licence: str | None = None
    """The Hub's identifier; a card that stands there already may have one."""
    languages: Sequence[str] = ()
    base_model: str | None = None
    """The base's name on the Hub, where the student was trained from a folder."""
    datasets: Sequence[str] = ()
    """Names on the Hub of what it was trained on."""
    evaluations: Sequence[Path | str] = ()
    """Folders that 'distill eval' wrote: this student's, and others' to compare it with."""
    baseline: str | None = None
    """The label that differences are taken from; None is the first."""
    public: bool = False


def is_student(path: Path) -> bool:
    """True where a path is a model's folder, or a training run that has made one."""
    return _student_folder(path) is not None


def publish_model(
    model: Path | str,
    repo_id: str,
    options: ModelOptions = ModelOptions(),
    *,
    dry_run: bool = False,
    progress: Progress = lambda stage, advance, total: None,  # noqa: ARG005
) -> PublishResult:
    """Put a student or an adapter on the Hub, or replace what was published before.

    Args:
        model: its folder, or the training run that holds it.
        repo_id: OWNER/NAME.
        options: licence, base model, evaluations ...
        dry_run: make all of it, and upload nothing.

    Raises:
        DistillError: no such student, no licence, evaluations of other models, no token, or what the Hub refuses.
    """
    check_repo_id(repo_id)
    folder = _student_folder(Path(model))
    if folder is None:
        raise DistillError(f"'{model}' holds no model", hint="expected a student's folder, or a finished training run")
    licence = licence_id(options.licence or "")
    if licence is None:
        said = f"'{options.licence}' is no licence of the Hub's" if options.licence else "the student has no licence"
        raise DistillError(said, hint="say which one, as the base model's asks: --licence apache-2.0, mit, other ...")
    token = "" if dry_run else find_token()
    facts = _read_facts(folder, options)
    content = (
        gather_content([Path(path) for path in options.evaluations], options.baseline) if options.evaluations else None
    )
    own = _own_run(facts, content, Path(model))
    card = hide_secrets(_card(facts, repo_id, licence, options, (content, own)), [token])
    with tempfile.TemporaryDirectory(prefix="distill-publish-") as name:
        made = Path(name)
        _gather_files(facts, made, token)
        for path, text in (hub_results(own) if own else {}).items():
            (made / RESULTS_FOLDER).mkdir(exist_ok=True)
            write_atomically(made / RESULTS_FOLDER / path, text)
        wanted = Upload(
            repo_id=repo_id,
            repo_type="model",
            folder=made,
            card=card,
            settled=("license", "language") if options.languages else ("license",),
            replaced=(RESULTS_FOLDER,),
            message=f"distill publish: {facts.report.get('method', 'model')}",
            public=options.public,
        )
        result = publish(wanted, token, progress)
    return replace(result, notes=tuple(_notes(facts, own)))


def _student_folder(path: Path) -> Path | None:
    for folder in (path, path / "student"):
        if any((folder / name).is_file() for name in CONFIG_FILES):
            return folder
    return None


def _read_facts(folder: Path, options: ModelOptions) -> ModelFacts:
    """What the folder says of its student."""
    file = folder / STUDENT_REPORT_FILE
    report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    is_adapter = (folder / ADAPTER_FILE).is_file()
    base = options.base_model or str(report.get("model") or "")
    if not base and is_adapter:
        base = str(json.loads((folder / ADAPTER_FILE).read_text("utf-8")).get("base_model_name_or_path") or "")
    on_hub = bool(options.base_model) or (base.count("/") == 1 and base not in TINY_MODELS and not Path(base).exists())
    return ModelFacts(folder, report, is_adapter, base, on_hub, tuple(options.datasets))


def _files(run: Run) -> str:
    """The fingerprint of the model's files as they were evaluated."""
    return str(next(iter(run.reports.values())).settings.get("model_files") or "")


def _own_run(facts: ModelFacts, content: Content | None, given: Path) -> Run | None:
    """Which of the evaluated models is the one that is published.

    Raises:
        DistillError: none is.
    """
    if content is None:
        return None
    places = {path.resolve() for path in (given, facts.folder, facts.folder.parent)}
    files = model_fingerprint(str(facts.folder))  # a path may have been typed in another folder, or the model moved
    own = next((run for run in content.runs if Path(run.model).resolve() in places or _files(run) == files), None)
    if own is None:
        known = ", ".join(f"'{run.model}'" for run in content.runs)
        raise DistillError(
            f"no evaluation is of '{given}': they are of {known}", hint=f"measure it: distill eval {given} --out FOLDER"
        )
    return own


def _card(
    facts: ModelFacts, repo_id: str, licence: str, options: ModelOptions, measured: tuple[Content | None, Run | None]
) -> str:
    """The card of a repository that has none yet."""
    content, own = measured
    metadata: dict[str, Any] = {
        "license": licence,
        "language": list(options.languages),
        "base_model": facts.base if facts.base_on_hub else None,
        "datasets": list(options.datasets),
        "tags": [f"method:{facts.report['method']}"] if facts.report.get("method") else [],
        "model-index": model_index(repo_id, own) if own else None,
    }
    return fill_template("model", model_card_fields(facts, repo_id, content), metadata)


def _gather_files(facts: ModelFacts, out: Path, token: str) -> None:
    """The student's files as links; those that say how it was made without what is nobody's business.

    Adapters are loaded by the base's name, so theirs is the one that it has on the Hub, where that is known.
    """
    for path in sorted(facts.folder.iterdir()):
        if path.name.startswith(".") or path.name == CARD_FILE or not path.is_file():
            continue
        if path.name in (STUDENT_REPORT_FILE, ADAPTER_FILE):
            values = json.loads(path.read_text(encoding="utf-8"))
            if path.name == ADAPTER_FILE and facts.base_on_hub:
                values["base_model_name_or_path"] = facts.base
            write_atomically(out / path.name, hide_secrets(json.dumps(values, indent=2), [token]))
        else:
            _link(path, out / path.name)


def _link(path: Path, out: Path) -> None:
    """The same file under another name, or a copy where the file system has no links."""
    try:
        out.symlink_to(path.resolve())
    except OSError:
        shutil.copyfile(path, out)


def _notes(facts: ModelFacts, own: Run | None) -> list[str]:
    notes = []
    if not facts.base_on_hub:
        base = f"'{facts.base}' is no name on the Hub" if facts.base else "the base model is not known"
        loaded = ", and an adapter is loaded by it" if facts.is_adapter else ""
        notes.append(f"{base}{loaded}: name it with --base-model OWNER/NAME")
    if not facts.datasets:
        notes.append("the card links no dataset: name it with --dataset OWNER/NAME")
    if own is None:
        notes.append("the card has no results: name what 'distill eval' wrote with --eval FOLDER")
    return notes
