"""Known facts about models: in a local folder, or yet to be made by an earlier stage."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from common.errors import UserError
from common.files.documents import json_object
from common.hashing import fingerprint
from common.key_paths import key_path
from common.plan.run import Run
from grue.experiments.classifier.config import ClassifierConfig
from grue.experiments.finetune.config import ReinforcementConfig, SupervisedConfig
from grue.experiments.new_model import run as new_model
from grue.experiments.new_model.config import NewModelConfig
from grue.experiments.preflight.cache import Answers
from grue.experiments.reward_model.config import RewardModelConfig
from grue.models.config import ModelType
from grue.models.weights import has_weights, loaded
from grue.scorers.reward_model import FILE as REWARD_MODEL

Use = Literal["writes", "classifies", "rewards"]


@dataclass(frozen=True)
class KnownModel:
    """A model as its configuration describes it."""

    name: str
    """Name of the model in messages."""
    type: ModelType
    rows: int | None
    """Largest number of ids that it knows; None if its configuration does not say."""
    positions: int | None
    """Number of learned positions of what it reads and writes; None for no such limit."""
    has_weights: bool = True
    use: Use = "writes"
    source: str = ""
    """Origin of its vocabulary: a folder, or the texts and settings of a stage."""

    @classmethod
    def of(cls, name: str, architecture: Any, **more: Any) -> KnownModel:
        """Return the facts in the library's configuration."""
        positions = getattr(architecture, "max_position_embeddings", None)
        return cls(
            name,
            "seq2seq" if architecture.is_encoder_decoder else "causal",
            getattr(architecture, "vocab_size", None),
            positions if isinstance(positions, int) and positions > 0 else None,
            **more,
        )


def known_model(run: Run, key: str, answers: Answers) -> KnownModel | UserError | None:
    """Return the model that the run's ``key`` names.

    None for one that is neither local nor of the plan. A `UserError` is the reason why a folder
    holds no model.
    """
    name = named(run.config, key)
    for reference in run.references:
        if key_path(reference.key) == key and not reference.target.is_dir():
            return of_stage(name, reference.run, answers)
        if key_path(reference.key) == key:
            name = str(reference.target)
    if not Path(name).is_dir():
        return None
    return answers.once(("model", name), lambda: _of_folder(name))


def _of_folder(name: str) -> KnownModel:
    """Return the model of a local folder.

    Raises:
        UserError: there is no model in it.
    """
    from transformers import AutoConfig

    folder = Path(name)
    try:
        json_object((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        beside = folder / "model"
        advice = f"; name its folder '{beside}'" if beside.is_dir() else ""
        raise UserError(f"its config.json cannot be read: {error}{advice}") from error
    architecture = loaded(AutoConfig.from_pretrained, name, "model_name")
    use: Use = "rewards" if (folder / REWARD_MODEL).exists() else "writes"
    source = str(folder.resolve())
    return KnownModel.of(
        name, architecture, has_weights=has_weights(folder), use=use, source=source
    )


def of_stage(name: str, run: Run, answers: Answers) -> KnownModel | UserError | None:
    """Return the model that a run will make, as far as its keys determine it."""
    config = run.config
    if isinstance(config, NewModelConfig):
        try:
            architecture = new_model.architecture(config, config.vocab_size)
        except UserError:
            return None  # which is told of that run
        source = vocabulary_of(config)
        return KnownModel.of(name, architecture, has_weights=False, source=source)
    key = model_key(config)
    found = None if key is None else known_model(run, key, answers)
    if not isinstance(found, KnownModel):
        return None
    uses: dict[type, Use] = {ClassifierConfig: "classifies", RewardModelConfig: "rewards"}
    return replace(found, name=name, has_weights=True, use=uses.get(type(config), "writes"))


def model_key(config: Any) -> str | None:
    """Return the key of the model that a run trains; None if it trains none."""
    if isinstance(config, ReinforcementConfig):
        return "alg.policy.args.model_name"
    trains = isinstance(config, SupervisedConfig | ClassifierConfig | RewardModelConfig)
    return "alg.model_name" if trains else None


def named(config: Any, key: str) -> str:
    """Return the model name at ``key``."""
    found: str = functools.reduce(getattr, key.split("."), config)
    return found


def vocabulary_of(config: NewModelConfig) -> str:
    """Return the settings that determine the vocabulary of a run."""
    texts = [task.identity() for task in config.datapools]
    of_texts = config.model_type == "gpt2"  # the others have a token for padding alone
    return fingerprint([texts, config.vocabulary, config.vocab_size, of_texts])
