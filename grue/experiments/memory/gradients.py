"""GPU memory of an extraction's estimates of expected gradients."""

from __future__ import annotations

from common.machine.memory import Moment, Term
from common.machine.memory_trace import as_on_a_gpu
from grue.experiments.extract.config import ExtractConfig
from grue.experiments.memory.training import UNLIMITED
from grue.policies.policy import Policy
from grue.policies.score_products import Scores

_KEY = "evaluation.gradients"


def of_gradients(config: ExtractConfig, policy: Policy, weights: Term) -> Moment:
    """Return the terms of the passes over single outputs of the largest length.

    Scores of the other outputs take as much as a pass needs, since they are given half of the free
    memory, but no more than there are; one of them is there in any case.

    Args:
        config: keys of the extraction.
        policy: policy on the meta device.
        weights: its weights.
    """
    assert config.tokenizer is not None, "only a server has none"
    most = policy.lengths(config.alg.generation_kwargs).most
    longest = policy.prompt_limit(config.tokenizer.max_length, most)
    prompt = [0] * max(1, longest if longest < UNLIMITED else 1)
    scores = Scores(policy, prompt, temperature=1.0)
    with as_on_a_gpu() as trace:
        scores.of([0] * most)
    rest = trace.peak - scores.size - scores.gradients_size
    held = min(config.evaluation.num_samples_per_input * scores.size, trace.peak)
    model = "take a smaller 'alg.model_name'"
    without = f"leave out '{_KEY}'"
    length = "tokenizer.max_length"
    return Moment(
        "a gradient of an output",
        (
            weights,
            Term("scores of outputs", held + scores.size, scores.size, _KEY, without),
            Term(
                "gradients", scores.gradients_size, scores.gradients_size, "alg.model_name", model
            ),
            Term("activations", max(rest, 0), 0, length, f"lower '{length}'"),
        ),
    )
