"""Language models: sampling, supervised finetuning and reinforcement finetuning on text."""

from common.experiment import EXPERIMENTS, Experiment
from grue.classifier_config import ClassifierConfig
from grue.config import ExtractConfig, FinetuneConfig
from grue.new_model_config import NewModelConfig
from grue.published import means_extraction, means_finetuning, mended
from grue.reward_model_config import RewardModelConfig

EXPERIMENTS.register("grue_extract")(
    Experiment(
        config=ExtractConfig,
        run="grue.extract:run",
        preflight="grue.preflight:check",
        memory="grue.memory:needs",
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
        run="grue.finetune:run",
        preflight="grue.preflight:check",
        memory="grue.memory:needs",
        unit="step",
        files={"model": "model"},
        recognises=means_finetuning,
        mend=mended,
    )
)
EXPERIMENTS.register("grue_new_model")(
    Experiment(
        config=NewModelConfig,
        run="grue.new_model:run",
        preflight="grue.new_model:check",
        files={"model": "model"},
    )
)
EXPERIMENTS.register("grue_classifier")(
    Experiment(
        config=ClassifierConfig,
        run="grue.classifier:run",
        preflight="grue.classifier:check",
        memory="grue.memory:needs",
        unit="step",
        files={"model": "model"},
    )
)
EXPERIMENTS.register("reward_model")(
    Experiment(
        config=RewardModelConfig,
        run="grue.reward_model:run",
        preflight="grue.reward_model:check",
        memory="grue.memory:needs",
        unit="step",
        files={"model": "model"},
    )
)
