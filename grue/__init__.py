"""Language models: sampling, supervised finetuning and reinforcement finetuning on text.

Users' own tasks, rewards, metrics, policies and algorithms import from here. The experiments of
this package are registered here too.
"""

from typing import TYPE_CHECKING

from common.experiment import EXPERIMENTS, Experiment
from common.lazy import public_names
from grue.experiments.classifier.config import ClassifierConfig
from grue.experiments.extract.config import ExtractConfig
from grue.experiments.finetune.config import FinetuneConfig
from grue.experiments.new_model.config import NewModelConfig
from grue.experiments.published_yaml import fix_legacy_keys, means_extraction, means_finetuning
from grue.experiments.reward_model.config import RewardModelConfig

if TYPE_CHECKING:
    from grue.algorithms.algorithm import Algorithm as Algorithm
    from grue.algorithms.args import ActorCriticArgs as ActorCriticArgs
    from grue.algorithms.args import PpoArgs as PpoArgs
    from grue.algorithms.args import ReinforceArgs as ReinforceArgs
    from grue.algorithms.config import AlgorithmArgs as AlgorithmArgs
    from grue.algorithms.policy_gradient import PolicyGradient as PolicyGradient
    from grue.algorithms.ppo import Ppo as Ppo
    from grue.algorithms.reinforce import Reinforce as Reinforce
    from grue.metrics.metric import Metric as Metric
    from grue.metrics.metric import NoArgs as NoArgs
    from grue.policies.config import MaskablePolicyArgs as MaskablePolicyArgs
    from grue.policies.config import PolicyArgs as PolicyArgs
    from grue.policies.policy import Policy as Policy
    from grue.rewards.reward import Reward as Reward
    from grue.rollouts.batch import Rollout as Rollout
    from grue.rollouts.minibatch import Minibatch as Minibatch
    from grue.rollouts.spec import RolloutSpec as RolloutSpec
    from grue.tasks.task import Sample as Sample
    from grue.tasks.task import Split as Split
    from grue.tasks.task import Task as Task
    from grue.tasks.task import TaskArgs as TaskArgs
    from grue.texts import Texts as Texts

__getattr__, __dir__ = public_names(
    __name__,
    {
        "ActorCriticArgs": "grue.algorithms.args",
        "Algorithm": "grue.algorithms.algorithm",
        "AlgorithmArgs": "grue.algorithms.config",
        "MaskablePolicyArgs": "grue.policies.config",
        "Metric": "grue.metrics.metric",
        "Minibatch": "grue.rollouts.minibatch",
        "NoArgs": "grue.metrics.metric",
        "Policy": "grue.policies.policy",
        "PolicyArgs": "grue.policies.config",
        "PolicyGradient": "grue.algorithms.policy_gradient",
        "Ppo": "grue.algorithms.ppo",
        "PpoArgs": "grue.algorithms.args",
        "Reinforce": "grue.algorithms.reinforce",
        "ReinforceArgs": "grue.algorithms.args",
        "Reward": "grue.rewards.reward",
        "Rollout": "grue.rollouts.batch",
        "RolloutSpec": "grue.rollouts.spec",
        "Sample": "grue.tasks.task",
        "Split": "grue.tasks.task",
        "Task": "grue.tasks.task",
        "TaskArgs": "grue.tasks.task",
        "Texts": "grue.texts",
    },
)

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
        fix_legacy_keys=fix_legacy_keys,
    )
)
EXPERIMENTS.register("grue_finetune")(
    Experiment(
        config=FinetuneConfig,
        run="grue.experiments.finetune.dispatch:run",
        preflight="grue.experiments.preflight.check:check",
        memory="grue.experiments.memory.needs:needs",
        unit="step",
        files={"model": "model"},
        recognises=means_finetuning,
        fix_legacy_keys=fix_legacy_keys,
    )
)
EXPERIMENTS.register("grue_new_model")(
    Experiment(
        config=NewModelConfig,
        run="grue.experiments.new_model.run:run",
        preflight="grue.experiments.preflight.new_model:check",
        files={"model": "model"},
    )
)
EXPERIMENTS.register("grue_classifier")(
    Experiment(
        config=ClassifierConfig,
        run="grue.experiments.classifier.run:run",
        preflight="grue.experiments.preflight.classifier:check",
        memory="grue.experiments.memory.needs:needs",
        unit="step",
        files={"model": "model"},
    )
)
EXPERIMENTS.register("reward_model")(
    Experiment(
        config=RewardModelConfig,
        run="grue.experiments.reward_model.run:run",
        preflight="grue.experiments.preflight.reward_model:check",
        memory="grue.experiments.memory.needs:needs",
        unit="step",
        files={"model": "model"},
    )
)
