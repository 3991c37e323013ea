"""Model card: the README of a finetuned model's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping

import yaml

from common.config.base import Config


def model_card(model_name: str, dataset: str, alg: Config, metrics: Mapping[str, float]) -> str:
    """Return a model card in the hub's form.

    Args:
        model_name: name of the model that was finetuned.
        dataset: task that it was finetuned on.
        alg: keys of the algorithm; ``id`` is its name.
        metrics: metrics of the last evaluation.
    """
    header = yaml.safe_dump({"base_model": model_name, "datasets": [dataset],
                             "library_name": "transformers"}, sort_keys=False)  # fmt: skip
    found = "\n".join(f"| {name} | {value:.6g} |" for name, value in sorted(metrics.items()))
    keys = alg.model_dump(mode="json")
    settings = json.dumps(keys, indent=2)
    return f"""---
{header}---

# {model_name}, finetuned on {dataset}

Algorithm: {keys["id"]}. Last evaluation:

| metric | value |
| --- | --- |
{found}

Settings:

```json
{settings}
```
"""
