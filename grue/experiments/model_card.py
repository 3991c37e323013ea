"""The README of a finetuned model's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping

import yaml

from grue.experiments.classifier.config import ClassifierConfig
from grue.experiments.finetune.config import FinetuneConfig
from grue.experiments.reward_model.config import RewardModelConfig


def model_card(
    config: FinetuneConfig | ClassifierConfig | RewardModelConfig,
    model_name: str,
    metrics: Mapping[str, float],
) -> str:
    """A model card in the hub's form: what was trained on what, how, and what came of it."""
    header = yaml.safe_dump({"base_model": model_name, "datasets": [config.datapool.id],
                             "library_name": "transformers"}, sort_keys=False)  # fmt: skip
    found = "\n".join(f"| {name} | {value:.6g} |" for name, value in sorted(metrics.items()))
    settings = json.dumps(config.alg.model_dump(mode="json"), indent=2)
    return f"""---
{header}---

# {model_name}, finetuned on {config.datapool.id}

Algorithm: {config.alg.id}. Last evaluation:

| metric | value |
| --- | --- |
{found}

Settings:

```json
{settings}
```
"""
