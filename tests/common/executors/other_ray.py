"""An experiment whose module gives this process another version of Ray than any cluster has."""

from __future__ import annotations

import ray

from tests.toy import EXPERIMENT

__all__ = ["EXPERIMENT"]

ray.__version__ = "0.0.1"
