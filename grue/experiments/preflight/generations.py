"""Largest lengths of a run's outputs, and the keys that limit them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from grue.experiments.extract.config import ExtractConfig
from grue.experiments.finetune.config import (
    FinetuneConfig,
    ReinforcementConfig,
    SupervisedConfig,
)
from grue.experiments.reward_model.config import RewardModelConfig
from grue.models.config import ModelType
from grue.policies.generation_config import GenerationConfig
from grue.runs.config import TextConfig

_NORMALIZE = "normalize.model_name"


@dataclass(frozen=True)
class Generation:
    """One way in which a run generates."""

    key: str
    """Key that limits outputs."""
    value: int
    most: int
    """Largest number of tokens of an output."""

    def of_model(self, key: str) -> bool:
        """Return whether the model that ``key`` names generates in this way."""
        return self.key.startswith("normalize.") == (key == _NORMALIZE)


def generations(config: TextConfig, model_type: ModelType) -> Iterator[Generation]:
    """Yield the ways in which a run's models generate, if their lengths are known."""
    for at, settings in settings_by_key(config).items():
        is_encoder_decoder = model_type == "seq2seq"
        if settings.max_new_tokens is None and not is_encoder_decoder:
            continue  # which is told of the keys, or of the model's type
        most = settings.most_new_tokens(is_encoder_decoder=is_encoder_decoder)
        name = "max_length" if settings.max_new_tokens is None else "max_new_tokens"
        value = getattr(settings, name)
        if at.startswith("alg.policy.") and not _is_evaluated_with(config, settings):
            assert isinstance(config, ReinforcementConfig)
            if config.env.args.max_episode_length < most:
                value = most = config.env.args.max_episode_length
                yield Generation("env.args.max_episode_length", value, most)
                continue
        yield Generation(f"{at}.{name}", value, most)


def settings_by_key(config: TextConfig) -> dict[str, GenerationConfig]:
    """Return a run's generation settings, by their keys."""
    found: dict[str, GenerationConfig | None] = {}
    if isinstance(config, ExtractConfig):
        found["alg.generation_kwargs"] = config.alg.generation_kwargs
    elif isinstance(config, RewardModelConfig) and config.normalize is not None:
        found["normalize.generation_kwargs"] = config.normalize.generation_kwargs
    elif isinstance(config, FinetuneConfig):
        found["train_evaluation.generation_kwargs"] = config.train_evaluation.generation_kwargs
        if isinstance(config, SupervisedConfig):
            found["alg.generation_kwargs"] = config.alg.generation_kwargs
        elif isinstance(config, ReinforcementConfig):
            own = config.alg.policy.args.generation_kwargs
            found["alg.policy.args.generation_kwargs"] = own
    return {key: settings for key, settings in found.items() if settings is not None}


def _is_evaluated_with(config: TextConfig, settings: GenerationConfig) -> bool:
    """Return whether evaluations also use these settings; no episode limits their outputs."""
    assert isinstance(config, FinetuneConfig)
    of_training = not config.no_eval_on_train_set and config.training_settings is settings
    return of_training or config.evaluation_settings is settings
