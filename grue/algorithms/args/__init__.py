"""Settings of the built-in algorithms, free of torch, because they are all that plans need."""

from grue.algorithms.args.actor_critic import A2cArgs as A2cArgs
from grue.algorithms.args.actor_critic import ActorCriticArgs as ActorCriticArgs
from grue.algorithms.args.actor_critic import NlpoArgs as NlpoArgs
from grue.algorithms.args.actor_critic import PpoArgs as PpoArgs
from grue.algorithms.args.critic_free import CriticFreeArgs as CriticFreeArgs
from grue.algorithms.args.critic_free_algorithms import DapoArgs as DapoArgs
from grue.algorithms.args.critic_free_algorithms import DrGrpoArgs as DrGrpoArgs
from grue.algorithms.args.critic_free_algorithms import GrpoArgs as GrpoArgs
from grue.algorithms.args.critic_free_algorithms import GspoArgs as GspoArgs
from grue.algorithms.args.critic_free_algorithms import (
    ReinforcePlusPlusArgs as ReinforcePlusPlusArgs,
)
from grue.algorithms.args.critic_free_algorithms import (
    ReinforcePlusPlusBaselineArgs as ReinforcePlusPlusBaselineArgs,
)
from grue.algorithms.args.critic_free_algorithms import RlooArgs as RlooArgs
from grue.algorithms.args.ppo_human_preferences import (
    HumanPreferencesPpoArgs as HumanPreferencesPpoArgs,
)
from grue.algorithms.args.reinforce import ReinforceArgs as ReinforceArgs
from grue.algorithms.args.rejection_sampling import (
    RejectionSamplingArgs as RejectionSamplingArgs,
)
from grue.algorithms.args.trpo import TrpoArgs as TrpoArgs
