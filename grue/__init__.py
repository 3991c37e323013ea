"""Language models: sampling, supervised finetuning and reinforcement finetuning on text."""

from common.experiment import EXPERIMENTS, Experiment
from grue.experiments.classifier.config import ClassifierConfig
from grue.experiments.finetune.config import ExtractConfig, FinetuneConfig
from grue.experiments.new_model.config import NewModelConfig
from grue.experiments.published_yaml import means_extraction, means_finetuning, mended
from grue.experiments.reward_model.config import RewardModelConfig

EXPERIMENTS.register("grue_extract")(
    Experiment(
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
        mend=mended,
    )
)
EXPERIMENTS.register("grue_finetune")(
    Experiment(
        config=FinetuneConfig,
        run="grue.experiments.finetune.entry:run",
        preflight="grue.experiments.preflight.check:check",
        memory="grue.experiments.memory.needs:needs",
        unit="step",
        files={"model": "model"},
        recognises=means_finetuning,
        mend=mended,
    )
)
EXPERIMENTS.register("grue_new_model")(
    Experiment(
        config=NewModelConfig,
        run="grue.experiments.new_model.run:run",
        preflight="grue.experiments.new_model.run:check",
        files={"model": "model"},
    )
)
EXPERIMENTS.register("grue_classifier")(
    Experiment(
        config=ClassifierConfig,
        run="grue.experiments.classifier.run:run",
        preflight="grue.experiments.classifier.run:check",
        memory="grue.experiments.memory.needs:needs",
        unit="step",
        files={"model": "model"},
    )
)
EXPERIMENTS.register("reward_model")(
    Experiment(
        config=RewardModelConfig,
        run="grue.experiments.reward_model.run:run",
        preflight="grue.experiments.reward_model.run:check",
        memory="grue.experiments.memory.needs:needs",
        unit="step",
        files={"model": "model"},
    )
)
