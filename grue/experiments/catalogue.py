"""Experiments on text that a plan may name, each with its keys."""

from __future__ import annotations

from common.experiment import Experiment
from grue.experiments.classifier.config import ClassifierConfig
from grue.experiments.extract.config import ExtractConfig
from grue.experiments.finetune.config import FinetuneConfig
from grue.experiments.new_model.config import NewModelConfig
from grue.experiments.published_yaml import fix_legacy_keys, means_extraction, means_finetuning
from grue.experiments.reward_model.config import RewardModelConfig
from grue.experiments.tabular_teachers.config import TabularTeachersConfig
from grue.experiments.teacher.config import TeacherConfig

EXTRACT = Experiment(
    config=ExtractConfig,
    run="grue.experiments.extract.run:run",
    preflight="grue.experiments.preflight.check:check",
    memory="grue.experiments.memory.needs:needs",
    unit="input",
    files={
        "samples": "samples.parquet",
        "reward_stats": "reward_stats.parquet",
    },
    recognises=means_extraction,
    fix_legacy_keys=fix_legacy_keys,
)
FINETUNE = Experiment(
    config=FinetuneConfig,
    run="grue.experiments.finetune.dispatch:run",
    preflight="grue.experiments.preflight.check:check",
    memory="grue.experiments.memory.needs:needs",
    unit="step",
    files={"model": "model"},
    recognises=means_finetuning,
    fix_legacy_keys=fix_legacy_keys,
)
NEW_MODEL = Experiment(
    config=NewModelConfig,
    run="grue.experiments.new_model.run:run",
    preflight="grue.experiments.preflight.new_model:check",
    files={"model": "model"},
)
CLASSIFIER = Experiment(
    config=ClassifierConfig,
    run="grue.experiments.classifier.run:run",
    preflight="grue.experiments.preflight.classifier:check",
    memory="grue.experiments.memory.needs:needs",
    unit="step",
    files={"model": "model"},
)
REWARD_MODEL = Experiment(
    config=RewardModelConfig,
    run="grue.experiments.reward_model.run:run",
    preflight="grue.experiments.preflight.reward_model:check",
    memory="grue.experiments.memory.needs:needs",
    unit="step",
    files={"model": "model"},
)
TEACHER = Experiment(
    config=TeacherConfig,
    run="grue.experiments.teacher.run:run",
    preflight="grue.experiments.preflight.check:check",
    memory="grue.experiments.memory.needs:needs",
    unit="input",
    files={
        "samples": "samples.parquet",
        "reward_stats": "reward_stats.parquet",
        "normalization": "normalization.json",
        "teachers": "teachers.parquet",
    },
)
TABULAR_TEACHERS = Experiment(
    config=TabularTeachersConfig,
    run="grue.experiments.tabular_teachers.run:run",
    preflight="grue.experiments.tabular_teachers.run:check",
    files={"teachers": "teachers.parquet"},
)
