"""An adapter and its base as one plain model, which everything loads that loads models.

The sum W + s B A is taken in float32 and rounded once, to the type of the new checkpoint: added in bfloat16, what
an adapter changes by less than 0.4 % of a weight would be lost. Before the new checkpoint gets its name, the sum has
to make the logits that base and adapter make together, and what is read back has to be the sum, rounded.
"""

from __future__ import annotations

import json
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.errors import DistillError
from distill.files import replace_folder, unfinished
from distill.models import (
    STUDENT_REPORT_FILE,
    load_model,
    load_tokenizer,
    model_fingerprint,
    no_progress_bars,
    pick_dtype,
    resolve_model,
)
from distill.train.run_folder import RUN_FILE, STUDENT

if TYPE_CHECKING:
    import torch

ADAPTER_FILE = "adapter_config.json"
PROMPTS = (
    "A baker sells 24 rolls in the morning and half as many in the afternoon. How many rolls does she sell that day?",
    "<think>\nThe train covers 180 km in 2 hours, so 180 / 2 = 90.\n</think>\n<answer>\\boxed{90}</answer>",
    'Is the following sentence plausible? "The goalkeeper was given a yellow card."\n(A) yes\n(B) no\n\nAnswer:',
    "def mean(values):\n    return sum(values) / len(values)\n",
)
"""What both models read: a question, an answer in the template, options, code."""
MERGING_ROUNDS = 1e-4
"""Largest difference of logits, as a share of the largest logit, that the order of sums in float32 may make."""


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What became of an adapter and its base."""

    model: str
    """The new checkpoint's folder."""
    adapter: str
    base: str
    dtype: str
    """Of the new checkpoint."""
    largest_difference: float
    """Between a logit of the new checkpoint and of base and adapter in float32, after any of the tokens read."""
    merging_difference: float
    """The same before the weights were rounded to the new checkpoint's type."""
    largest_change: float
    """Between a logit of base and adapter and of the base alone: what the adapter does."""
    largest_logit: float
    same_choice: int
    """Tokens read after which both would say the same word first."""
    tokens: int
    """Tokens read for the comparison."""


def merge_adapter(
    adapter: Path, out: Path, *, base: str | None = None, dtype: str = "auto", device: str = "cpu"
) -> MergeReport:
    """Merge a LoRA adapter into its base model and write a plain checkpoint with its tokenizer.

    Args:
        adapter: an adapter's folder, or the training run that holds it.
        out: a new folder; it appears when it is whole and its logits are right.
        base: the base model, where it is no longer what the adapter names.
        dtype: of the new checkpoint; 'auto' is the base checkpoint's own.

    Raises:
        DistillError: ``adapter`` is none or cannot be merged, its base cannot be loaded or is another one than it was
            trained on, ``out`` exists, the disk is full, or the new checkpoint does not make the same logits.
    """
    folder = adapter_folder(adapter)
    if out.exists():
        raise DistillError(f"'{out}' exists already", hint="name a new folder with --out")
    name = base or _named_base(folder)
    _check_base(adapter, folder, name)
    tokenizer = load_tokenizer(str(folder))
    merging = _Merging(folder, name, tokenizer, device)
    merged, type_name = merging.merge(), _type_name(name, dtype)
    building = unfinished(out)
    shutil.rmtree(building, ignore_errors=True)
    try:
        _save(merged, tokenizer, type_name, building)
        if (folder / STUDENT_REPORT_FILE).is_file():
            shutil.copy(folder / STUDENT_REPORT_FILE, building)
        report = merging.compare(merged, building, out)
        replace_folder(building, out)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return report


def adapter_folder(path: Path) -> Path:
    """The adapter in a folder, or in the training run that the folder is.

    Raises:
        DistillError: there is none.
    """
    for folder in (path, path / STUDENT):
        if (folder / ADAPTER_FILE).is_file():
            return folder
    if not path.is_dir():
        raise DistillError(f"there is no folder '{path}'", hint="name an adapter's folder, or the run that trained it")
    is_model = any((folder / "config.json").is_file() for folder in (path, path / STUDENT))
    found = "is a whole model already" if is_model else f"holds no {ADAPTER_FILE}"
    raise DistillError(f"'{path}' {found}", hint="only what was trained with lora has an adapter to merge")


def _named_base(folder: Path) -> str:
    try:
        named = json.loads((folder / ADAPTER_FILE).read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError):
        named = None
    if not named:
        raise DistillError(f"the adapter '{folder}' does not name its base model", hint="name it with --base")
    return str(named)


def _check_base(adapter: Path, folder: Path, name: str) -> None:
    """Refuse a base whose files are not those that the adapter's run was trained on."""
    run = (folder.parent if folder != adapter or folder.name == STUDENT else folder) / RUN_FILE
    if not run.is_file():
        return
    trained_on = json.loads(run.read_text(encoding="utf-8"))["settings"].get("model_files")
    found = model_fingerprint(name)
    if trained_on and found and trained_on != found:
        raise DistillError(
            f"the files of '{name}' are not those that the adapter was trained on",
            hint="name the base of that time with --base; a copy of it elsewhere will do",
        )


def _type_name(base: str, dtype: str) -> str:
    """The name of the new checkpoint's type."""
    import torch
    from transformers import AutoConfig

    if dtype != "auto":
        return str(pick_dtype(dtype, torch.device("cpu"))).removeprefix("torch.")
    try:
        own = AutoConfig.from_pretrained(str(Path(resolve_model(base)).expanduser())).dtype
    except (OSError, ValueError):  # the base is an adapter with a base of its own
        own = None
    return str(own).removeprefix("torch.") if own is not None else "float32"


class _Merging:
    """Base and adapter in float32, read before they are merged."""

    def __init__(self, folder: Path, base: str, tokenizer: Any, device: str) -> None:
        import torch

        self._folder, self._base, self._device = folder, base, device
        try:
            model = load_model(base, dtype="float32", device=device)
        except DistillError as error:
            hint = f"{error.hint}; --base names it where it lies now"
            raise DistillError(f"the base of the adapter '{folder}': {error}", hint=hint) from error
        self._prompts = [tokenizer(text, return_tensors="pt")["input_ids"].to(model.device) for text in PROMPTS]
        self._base_logits = self._logits(model)
        self._adapted = _with_adapter(model, folder)
        self._expected = self._logits(self._adapted)
        if not torch.isfinite(self._expected).all():
            raise DistillError(f"base and adapter '{folder}' make logits that are not finite", hint="train it again")

    def merge(self) -> Any:
        """The merged model, in float32; base and adapter are used up.

        Raises:
            DistillError: it makes other logits than base and adapter.
        """
        model = self._adapted.base_model.model
        if _changes_embeddings(model) and model.config.tie_word_embeddings:
            _untie(model)
        merged = self._adapted.merge_and_unload()
        del self._adapted
        self._merging_difference, largest = self._difference(merged), float(self._expected.abs().max())
        if not self._merging_difference <= MERGING_ROUNDS * largest:
            raise DistillError(
                f"the merged model's logits differ by up to {self._merging_difference:.3g} from those of base and "
                f"adapter, whose largest is {largest:.3g}",
                hint="this adapter cannot be merged: load it with its base, as PEFT does",
            )
        return merged

    def compare(self, saved: Any, built: Path, out: Path) -> MergeReport:
        """The report of the checkpoint in ``built``, which will be called ``out``.

        Raises:
            DistillError: it does not hold the weights that were ``saved``.
        """
        read = load_model(str(built), dtype="float32", device=self._device)
        weights = read.state_dict()
        for name, weight in saved.state_dict().items():
            if not weights[name].to(weight.dtype).equal(weight):
                raise DistillError(f"'{name}' is not read back as it was written", hint="is the disk sound?")
        expected = self._expected
        same = self._logits(read).argmax(dim=1) == expected.argmax(dim=1)
        return MergeReport(
            model=str(out),
            adapter=str(self._folder),
            base=self._base,
            dtype=str(saved.dtype).removeprefix("torch."),
            largest_difference=self._difference(read),
            merging_difference=self._merging_difference,
            largest_change=float((expected - self._base_logits).abs().max()),
            largest_logit=float(expected.abs().max()),
            same_choice=int(same.sum()),
            tokens=len(expected),
        )

    def _difference(self, model: Any) -> float:
        return float((self._logits(model) - self._expected).abs().max())

    def _logits(self, model: Any) -> torch.Tensor:
        """Logits (T, V) after every token of all prompts, in float32 on the CPU."""
        import torch

        with torch.no_grad():
            return torch.cat([model(input_ids=ids).logits[0].float().cpu() for ids in self._prompts])


def _with_adapter(model: Any, folder: Path) -> Any:
    """The PEFT model, in eval mode.

    Raises:
        DistillError: the adapter is of a kind that is not part of any weight, does not fit, or lacks weights.
    """
    import peft
    from peft.tuners.tuners_utils import BaseTuner
    from safetensors import SafetensorError

    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            adapted = peft.PeftModel.from_pretrained(model, str(folder)).eval()
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DistillError(
            f"the adapter '{folder}' cannot be read: {reason}", hint="does it belong to this base, and is it whole?"
        ) from error
    if any("missing adapter keys" in str(warning.message) for warning in told):
        raise DistillError(f"the adapter '{folder}' lacks weights", hint="copy it again, or train again")
    if not isinstance(adapted.base_model, BaseTuner):
        kind = str(adapted.peft_config["default"].peft_type).rpartition(".")[2]
        raise DistillError(
            f"the adapter '{folder}' is of the kind {kind}, which changes no weights",
            hint="only LoRA and its like can be merged",
        )
    return adapted


def _changes_embeddings(model: Any) -> bool:
    """Whether the adapter replaces or changes the embeddings or the output layer, one by itself."""
    import torch

    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    return any(not isinstance(end, torch.nn.Embedding | torch.nn.Linear) for end in ends)


def _untie(model: Any) -> None:
    """Give embeddings and output layer weights of their own, so that what is merged into one leaves the other alone."""
    import torch

    for end in (model.get_input_embeddings(), model.get_output_embeddings()):
        layers = [part for part in end.modules() if isinstance(part, torch.nn.Embedding | torch.nn.Linear)]
        for layer in layers:
            layer.weight = torch.nn.Parameter(layer.weight.detach().clone())
    model.config.tie_word_embeddings = False


def _save(model: Any, tokenizer: Any, dtype: str, folder: Path) -> None:
    """Write the model, cast in place to its type, with its tokenizer."""
    import torch
    from safetensors import SafetensorError

    wanted = getattr(torch, dtype)
    needed = sum(weight.numel() for weight in model.parameters()) * wanted.itemsize
    parent = next(path for path in folder.absolute().parents if path.is_dir())
    free = shutil.disk_usage(parent).free
    if free < needed:
        raise DistillError(
            f"the merged model takes {needed / 1e9:.1f} GB, '{parent}' has {free / 1e9:.1f} GB left",
            hint="make room, or name a folder on another disk with --out",
        )
    folder.mkdir(parents=True)
    try:
        with no_progress_bars():
            model.to(wanted).save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    except (SafetensorError, RuntimeError) as error:  # the libraries' words for a disk that fills up meanwhile
        reason = str(error).partition("\n")[0]
        raise DistillError(f"'{folder}' cannot be written: {reason}", hint="make room on the disk") from error
