"""Outputs of inputs, drawn or taken from a cache that holds them by model, prompt and settings.

Rewards have no part in a cache's keys: another reward of the same model and data samples nothing
again. An input's file is complete or missing, so that a run that is killed goes on after the last
input.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from common.errors import UserError
from common.hashing import canonical_json, fingerprint, text_hash
from common.run.folder import read_record, write_json
from grue.experiments.extract.config import ExtractAlg, ExtractConfig
from grue.policies.policy import Policy
from grue.policies.prompt_encoder import Tokens
from grue.policies.score_products import score_products
from grue.random_streams import Occasion

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

_UNNAMED = ("_name_or_path", "transformers_version")
"""Entries of a model's configuration that do not change what it computes."""


class _Record(TypedDict):
    outputs: list[list[int]]
    products: list[list[float]] | None


_RECORD = TypeAdapter(_Record)


def folder_of(cache: Path, settings: dict[str, Any]) -> Path:
    """Return the part of a cache for one model and its ``settings``, which a file there has."""
    folder = cache / text_hash(canonical_json(settings))[:16]
    if not (folder / "settings.json").exists():
        write_json(folder / "settings.json", settings)
    return folder


class SampleCache:
    """Folder with one file per input: its outputs, and the products of their scores if known."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        """Open the part of the cache for one model and its ``settings``."""
        self._settings = canonical_json(settings)
        self._folder = folder_of(folder, settings)

    def read(self, prompt: Tokens, number: int) -> _Record | None:
        """Return what is known of an input; None for nothing. A damaged file is logged."""
        path = self._path(prompt, number)
        try:
            found: Any = read_record(path, _RECORD)
        except UserError as error:
            log.warning("%s; its samples are drawn again", error)
            return None
        return found  # type: ignore[no-any-return]

    def write(self, prompt: Tokens, number: int, record: _Record) -> None:
        """Keep what is known of an input."""
        write_json(self._path(prompt, number), record)

    def _path(self, prompt: Tokens, number: int) -> Path:
        return self._folder / f"{fingerprint([self._settings, prompt, number])[:32]}.json"


class Drawer:
    """Sampler of the inputs of an extraction."""

    def __init__(
        self,
        config: ExtractConfig,
        alg: ExtractAlg,
        policy: Policy,
        prompts: Sequence[Tokens],
        *,
        numbers: Sequence[int],
        seed: int,
        own_folder: Path,
    ) -> None:
        """Draw nothing yet.

        Args:
            config: keys of the extraction.
            alg: those of the model.
            policy: model that samples.
            prompts: N prompts.
            numbers: [N] positions of the inputs in their split, which fix their random numbers.
            seed: root of these.
            own_folder: folder for what products of scores need if the run shares no cache.
        """
        self._evaluation = config.evaluation
        self._settings = alg.generation_kwargs
        self._policy = policy
        self._prompts = prompts
        self._numbers = numbers
        self._seed = seed
        self.num_known = 0
        """Number of inputs whose outputs were found in the cache."""
        self._cache: SampleCache | None = None
        shared = config.evaluation.sample_cache
        if shared is not None or config.evaluation.gradients:
            folder = own_folder if shared is None else Path(shared)
            self._cache = SampleCache(folder, _settings(config, policy, seed))

    def outputs(self, rows: Sequence[int]) -> list[list[Tokens]]:
        """Return K outputs of each of some inputs, as far as possible from the cache."""
        known = {row: self._known(row) for row in rows}
        missing = [row for row, record in known.items() if record is None]
        self.num_known += len(rows) - len(missing)
        if missing:
            drawn = self._drawn(missing)
            for row, outputs in zip(missing, drawn, strict=True):
                known[row] = self._keep(row, {"outputs": outputs, "products": None})
        return [record["outputs"] for record in known.values() if record is not None]

    def products(self, row: int) -> NDArray[np.float64]:
        """Return [K, K] inner products of the scores of an input's outputs.

        Raises:
            UserError: they are not finite.
        """
        record = self._known(row)
        if record is None:
            (outputs,) = self.outputs([row])
            record = {"outputs": outputs, "products": None}
        if record["products"] is None:
            found = score_products(
                self._policy, self._prompts[row], record["outputs"], self._settings.temperature
            )
            if not bool(torch.isfinite(found).all()):
                raise UserError(
                    f"the gradients of input {self._numbers[row]} are not finite; with "
                    "'alg.policy.dtype' = 'float32' they have more room"
                )
            record = self._keep(row, {**record, "products": found.tolist()})
        return np.array(record["products"])

    def _known(self, row: int) -> _Record | None:
        if self._cache is None:
            return None
        return self._cache.read(self._prompts[row], self._numbers[row])

    def _keep(self, row: int, record: _Record) -> _Record:
        if self._cache is not None:
            self._cache.write(self._prompts[row], self._numbers[row], record)
        return record

    def _drawn(self, rows: Sequence[int]) -> list[list[Tokens]]:
        return self._policy.drawn(
            [self._prompts[row] for row in rows],
            self._evaluation.num_samples_per_input,
            self._settings,
            inputs=[self._numbers[row] for row in rows],
            occasion=Occasion.EXTRACTION,
            seed=self._seed,
            by_library=self._evaluation.sampler == "generate",
        )


def _settings(config: ExtractConfig, policy: Policy, seed: int) -> dict[str, Any]:
    """Return all but the prompt that outputs and their scores depend on."""
    own = json.loads(policy.model.config.to_json_string(use_diff=False))
    return {
        "alg": config.alg.model_dump(mode="json", exclude={"model_name", "revision"}),
        "num_samples_per_input": config.evaluation.num_samples_per_input,
        "sampler": config.evaluation.sampler,
        "seed": seed,
        "architecture": {name: own[name] for name in own if name not in _UNNAMED},
        "ends_with": policy.ids.end,
        "weights": _digest(policy.model),
    }


def _digest(model: PreTrainedModel) -> str:
    """Return the hash of a model's weights."""
    found = hashlib.blake2b(digest_size=16)
    for name, weight in model.state_dict().items():
        found.update(f"{name} {weight.dtype} {list(weight.shape)}".encode())
        found.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()
