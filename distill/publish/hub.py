"""The Hub: a token that nobody sees, errors in one line, and one commit that holds everything or nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from distill.curate import Progress
from distill.errors import DistillError
from distill.files import write_atomically
from distill.publish.card import HIDDEN, merge_card

if TYPE_CHECKING:
    from huggingface_hub import HfApi

RepoType = Literal["dataset", "model"]
CARD_FILE = "README.md"
REASONS = {
    400: ("refuses what was sent", "nothing was changed"),
    401: ("does not know this token", "log in with 'hf auth login', or set HF_TOKEN to a token that is valid"),
    403: (
        "does not let this token write there",
        "use a token with write permission, and a name of your own or your team's",
    ),
    404: ("has no such repository", "check the name; a token that may not see it is told the same"),
    409: ("is busy with another change of it", "wait a moment and publish again"),
    412: ("was changed by somebody else meanwhile", "publish again: what they changed is kept"),
    413: ("finds it too large", "publish fewer groups, or ask the Hub for room"),
    429: ("has had too many requests", "wait some minutes and publish again: what is uploaded stays"),
}


@dataclass(frozen=True, slots=True)
class Upload:
    """What a repository shall hold."""

    repo_id: str
    repo_type: RepoType
    folder: Path
    """Whose files are uploaded as they lie in it, but for the card."""
    card: str
    """As a repository gets it that has none; in one that has, it goes into that."""
    settled: tuple[str, ...]
    """Metadata that the card decides against what stands there."""
    replaced: tuple[str, ...]
    """Folders in the repository that hold nothing else than what the upload brings."""
    message: str
    public: bool


@dataclass(frozen=True, slots=True)
class PublishResult:
    """What was published, or would be."""

    repo_id: str
    files: Mapping[str, int]
    """Path -> bytes."""
    card: str
    """As it was made; on the Hub it holds what people have written there, too."""
    url: str | None = None
    """None of a dry run, which asks nobody."""
    commit: str | None = None
    private: bool | None = None
    rows: Mapping[str, int] = field(default_factory=dict)
    """Of a dataset: config -> rows."""
    notes: tuple[str, ...] = ()
    """What somebody should know before others read it."""


def find_token() -> str:
    """The token of the environment (HF_TOKEN) or of the Hub's own login.

    Raises:
        DistillError: there is none.
    """
    from huggingface_hub import get_token

    token = get_token()
    if not token:
        raise DistillError("there is no Hub token", hint="set HF_TOKEN, or log in with 'hf auth login'")
    return token


def check_repo_id(repo_id: str) -> None:
    """Raise a DistillError unless this can be the name of a repository."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo_id)
        valid = repo_id.count("/") == 1
    except HFValidationError:
        valid = False
    if not valid:
        raise DistillError(
            f"'{repo_id}' cannot be the name of a repository", hint="expected OWNER/NAME, such as 'me/gsm8k-groups'"
        )


def publish(wanted: Upload, token: str, progress: Progress) -> PublishResult:
    """Make a repository hold these files, in one commit; without a token, say what it would hold.

    Large files go first, one by one: where an upload breaks off, the next one finds those that arrived. What people
    wrote into the card stays.

    Raises:
        DistillError: what the Hub refuses, or that it cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    write_atomically(wanted.folder / CARD_FILE, wanted.card)
    files = {path: (wanted.folder / path).stat().st_size for path in _files(wanted.folder)}
    result = PublishResult(wanted.repo_id, files, wanted.card)
    if not token:
        return result
    quiet = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        with hub_errors(wanted.repo_id, token):
            return _upload(HfApi(token=token), wanted, result, progress)
    finally:
        if not quiet:
            enable_progress_bars()


def _upload(api: HfApi, wanted: Upload, result: PublishResult, progress: Progress) -> PublishResult:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, RepoCard

    name, kind = wanted.repo_id, wanted.repo_type
    api.create_repo(name, repo_type=kind, private=not wanted.public, exist_ok=True)
    parent = api.repo_info(name, repo_type=kind).sha
    standing = set(api.list_repo_files(name, repo_type=kind, revision=parent))
    card = merge_card(_read(api, wanted, parent) if CARD_FILE in standing else "", wanted.card, wanted.settled)
    RepoCard(card, ignore_metadata_errors=True).validate(repo_type=kind)  # before anything large is sent
    additions = [CommitOperationAdd(path, wanted.folder / path) for path in result.files if path != CARD_FILE]
    progress("upload", 0, len(additions))
    for addition in additions:
        api.preupload_lfs_files(name, [addition], repo_type=kind)
        progress("upload", 1, len(additions))
    stale = sorted(path for path in standing - set(result.files) if path.partition("/")[0] in wanted.replaced)
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        *additions,
        CommitOperationAdd(CARD_FILE, card.encode()),
        *(CommitOperationDelete(path) for path in stale),
    ]
    commit = api.create_commit(name, operations, repo_type=kind, commit_message=wanted.message, parent_commit=parent)
    url = f"{api.endpoint}/{'datasets/' if kind == 'dataset' else ''}{name}"
    return replace(result, url=url, commit=commit.oid, private=bool(api.repo_info(name, repo_type=kind).private))


def _files(folder: Path) -> list[str]:
    """The files in a folder, as the Hub names them."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _read(api: HfApi, wanted: Upload, revision: str | None) -> str:
    """The card that stands there."""
    with tempfile.TemporaryDirectory() as folder:
        path = api.hf_hub_download(
            wanted.repo_id, CARD_FILE, repo_type=wanted.repo_type, revision=revision, local_dir=folder
        )
        return Path(path).read_text(encoding="utf-8")


@contextmanager
def hub_errors(repo_id: str, token: str) -> Iterator[None]:
    """What the Hub says against it as one line, without the token.

    Raises:
        DistillError: in place of the errors of huggingface_hub and of the HTTP client below it.
    """
    from huggingface_hub.errors import HfHubHTTPError

    client = next(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception) and base is not OSError)
    try:
        yield
    except (client, OSError, RuntimeError, ValueError) as error:
        chain = list(_chain(error))
        refused = next((found for found in chain if isinstance(found, HfHubHTTPError)), None)
        if refused is not None:
            said = refused.server_message or ""
            raise _refusal(refused.response.status_code, repo_id, said.replace(token, HIDDEN)) from None
        unreached = next((found for found in chain if isinstance(found, client)), None)
        if unreached is None:
            raise  # a fault of this machine, or of ours
        raise DistillError(
            f"the Hub cannot be reached: {_first_line(unreached).replace(token, HIDDEN)}",
            hint="try again: what is uploaded stays; HF_ENDPOINT names another Hub",
        ) from None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _refusal(status: int, repo_id: str, said: str) -> DistillError:
    what, hint = REASONS.get(status, ("refuses it", "look at what it says"))
    if status >= 500:
        what, hint = "is out of order", "try again later: what is uploaded stays"
    detail = " ".join(said.split())
    return DistillError(f"the Hub {what} (status {status}, '{repo_id}')" + (f": {detail}" if detail else ""), hint=hint)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
