"""Language models: sampling, supervised finetuning and reinforcement finetuning on text.

Users' own tasks, rewards, metrics, policies and algorithms import from here. The experiments of
this package are registered here too.
"""

from typing import TYPE_CHECKING

from common.experiment import EXPERIMENTS
from common.lazy import public_names

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

EXPERIMENTS.register_path("grue_extract", "grue.experiments.catalogue:EXTRACT")
EXPERIMENTS.register_path("grue_finetune", "grue.experiments.catalogue:FINETUNE")
EXPERIMENTS.register_path("grue_new_model", "grue.experiments.catalogue:NEW_MODEL")
EXPERIMENTS.register_path("grue_classifier", "grue.experiments.catalogue:CLASSIFIER")
EXPERIMENTS.register_path("reward_model", "grue.experiments.catalogue:REWARD_MODEL")
EXPERIMENTS.register_path("teacher", "grue.experiments.catalogue:TEACHER")
EXPERIMENTS.register_path("tabular_teachers", "grue.experiments.catalogue:TABULAR_TEACHERS")
