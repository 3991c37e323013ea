"""Model weights from the hub or a folder: complete, of the right shapes, finite."""

from __future__ import annotations

import contextlib
import functools
import logging
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from common.errors import UserError
from common.machine.hub_offline import go_offline_if_unreachable, note_model, revision_option

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin", "*.safetensors.index.json")
_WRAPPERS = ("module.", "_orig_mod.", "base_model.model.", "pretrained_model.")
"""Prefixes that data parallelism, torch.compile, peft and TRL put before the names of a model's
weights."""
_SHOWN = 3


def has_weights(folder: Path) -> bool:
    """Return whether a model's folder holds weights, or adapters in their place."""
    return any(any(folder.glob(pattern)) for pattern in WEIGHT_FILES)


def check_weights(name: str, key: str, init_key: str | None = None) -> None:
    """Look for the weights of a local model, the value of ``key``.

    Raises:
        UserError: the folder has none; ``init_key`` is the key that asks for random ones.
    """
    folder = Path(name)
    if folder.is_dir() and not has_weights(folder):
        random = "" if init_key is None else f", or start from random ones with {init_key}=random"
        raise UserError(
            f"'{key}' = '{name}': the folder holds no weights; give one that does{random}"
        )


_OF_DAMAGED_FILES = (SafetensorError, RecursionError, TypeError, AttributeError)
"""Exceptions that the library raises for damaged files."""


def loaded(load: Any, name: str, key: str, *, revision: str | None = None, **options: Any) -> Any:
    """Return the result of ``load`` for ``name``; its errors become a message of one line.

    ``revision`` is the branch, tag or commit of a hub id; None for the default.
    """
    is_here = Path(name).is_dir()
    if not is_here:
        go_offline_if_unreachable()
    asked = name if revision is None else f"{name}@{revision}"
    try:
        found = load(name, **options, **revision_option(revision))
    except (*_OF_DAMAGED_FILES, OSError, ValueError, KeyError, ImportError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"'{key}' = '{asked}': cannot be loaded ({reason}); give a folder in Hugging Face "
            "layout, or a hub id where there is a network"
        ) from error
    if not is_here:
        note_model(name, revision)
    return found


def pretrained(
    kind: Any,
    name: str,
    key: str,
    *,
    revision: str | None = None,
    new_head: bool = False,
    **options: Any,
) -> PreTrainedModel:
    """Return the model called ``name`` with every weight from its files.

    Prefixes that wrappers put before all names are removed and logged.

    Args:
        kind: the library's class, whose ``from_pretrained`` loads.
        name: hub id or folder, the value of ``key``.
        key: key of the name in the configuration.
        new_head: if true, the files may lack the last layers or have other ones: these are made
            new.
        options: arguments of ``from_pretrained``.
        revision: branch, tag or commit of a hub id; None for the default.

    Raises:
        UserError: there is no such model; weights are missing, of another shape or not finite.
    """
    load = functools.partial(
        kind.from_pretrained, output_loading_info=True, ignore_mismatched_sizes=True, **options
    )
    with _without_warnings():
        model: PreTrainedModel
        model, report = loaded(load, name, key, revision=revision)
        prefix = ""
        while wrapper := _wrapper(report, prefix):
            prefix += wrapper
            mapping = {f"^{re.escape(prefix)}": ""}
            model, report = loaded(
                functools.partial(load, key_mapping=mapping), name, key, revision=revision
            )
    if prefix:
        log.warning(
            "'%s' = '%s': all names of weights begin with '%s', which is taken off",
            key, name, prefix,
        )  # fmt: skip
    check_report(model, report, f"'{key}' = '{name}'", new_head=new_head)
    return model


def placed(model: PreTrainedModel, device: torch.device | str) -> PreTrainedModel:
    """Return the model, moved to the device."""
    module: nn.Module = model  # for the library's own ``to`` has lost the types of its arguments
    module.to(device)
    return model


def _wrapper(report: Mapping[str, Any], taken_off: str) -> str | None:
    """Return the wrapper's prefix that all names in the files share; None without one."""
    names = [name.removeprefix(taken_off) for name in report["unexpected_keys"]]
    if not (names and report["missing_keys"]):
        return None
    return next((w for w in _WRAPPERS if all(name.startswith(w) for name in names)), None)


def check_report(
    model: PreTrainedModel, report: Mapping[str, Any], where: str, *, new_head: bool
) -> None:
    """Refuse a model whose weights are not in its files; log the files' other weights."""
    import torch

    def counts(name: str) -> bool:
        return not new_head or _is_body(name, model.base_model_prefix)

    missing = [name for name in report["missing_keys"] if counts(name)]
    left_out = [name for name in report["unexpected_keys"] if counts(name)]
    reshaped = [
        f"'{name}' has shape {list(found)}, the model's has {list(needed)}"
        for name, found, needed in report["mismatched_keys"]
        if counts(name)
    ]
    if missing or reshaped:
        lacks = [f"lacks {_some(missing)}"] if missing else []
        others = [f"has {_some(left_out)} instead"] if missing and left_out else []
        reasons = "; ".join([*lacks, *others, *reshaped])
        raise UserError(
            f"{where}: its weights do not fit a {type(model).__name__}: {reasons}; give the folder "
            "of a whole model of this architecture"
        )
    broken = [name for name, weight in model.named_parameters() if not torch.isfinite(weight).all()]
    if broken:
        raise UserError(
            f"{where}: holds weights that are NaN or infinite: {_some(broken)}; give another "
            "checkpoint"
        )
    if left_out:
        log.warning("%s: holds weights that the model does not have, which are ignored: %s", where,
                    _some(left_out))  # fmt: skip


def _is_body(name: str, prefix: str) -> bool:
    """Return whether a weight belongs neither to a head nor to the pooling before it."""
    return name.startswith(f"{prefix}.") and "pooler" not in name


def _some(names: Collection[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(f"'{name}'" for name in sorted(names)[:_SHOWN]) + more


def hide_progress_bars() -> None:
    """Turn off the library's progress bars, which would break through the plan's."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Silence the library's warnings: this module refuses or logs what they would say."""
    from transformers.utils import logging as library

    hide_progress_bars()
    before = library.get_verbosity()
    library.set_verbosity_error()
    try:
        yield
    finally:
        library.set_verbosity(before)
