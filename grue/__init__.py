"""Language models: sampling, supervised finetuning and reinforcement finetuning on text."""

from common.experiment import EXPERIMENTS, Experiment
from grue.config import ExtractConfig, FinetuneConfig

EXPERIMENTS.register("grue_extract")(
    Experiment(
        config=ExtractConfig,
        run="grue.extract:run",
        preflight="grue.preflight:check",
        files={
            "samples": "samples.parquet",
            "reward_stats": "reward_stats.parquet",
        },
    )
)
EXPERIMENTS.register("grue_finetune")(
    Experiment(
        config=FinetuneConfig,
        run="grue.finetune:run",
        preflight="grue.preflight:check",
        files={"model": "model"},
    )
)
