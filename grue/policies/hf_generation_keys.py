"""Generation keys of the installed transformers beyond those of `GenerationConfig`.

It holds names and the library's own checks and imports no torch; `grue.policies.decoding` applies
the keys.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from common.errors import Problem

PROCESSORS = frozenset({
    "sequence_bias", "repetition_penalty", "no_repeat_ngram_size", "bad_words_ids",
    "forced_bos_token_id", "forced_eos_token_id", "remove_invalid_values",
    "exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens",
})  # fmt: skip
"""Keys that change the scores of the next token, whether tokens are sampled or not."""
WARPERS = frozenset({
    "top_h", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff", "renormalize_logits",
})  # fmt: skip
"""Keys that filter the distribution that the next token is sampled from."""
_RETURNED = "changes the library's return value, not the text; drop it"
_NO_JSON = "is an object of the library, which no plan can hold; drop it"
_REFUSED = {
    "num_return_sequences": "how many outputs an input has is said by 'num_samples_per_input'",
    **dict.fromkeys(
        ("return_dict_in_generate", "output_attentions", "output_hidden_states", "output_scores",
         "output_logits"),
        _RETURNED,
    ),
    **dict.fromkeys(("compile_config", "continuous_batching_config"), _NO_JSON),
}  # fmt: skip
_MODES = ("greedy_search", "sample", "beam_search", "beam_sample")
"""Generation modes that the library supports without user code, for batches of prompts."""


@functools.cache
def library_keys() -> frozenset[str]:
    """Return the names of all keys of the library's generation configuration."""
    from transformers.generation.configuration_utils import GenerationConfig

    found = {name for name in vars(GenerationConfig()) if not name.startswith("_")}
    return frozenset(found - {"transformers_version"})


def problems_of_library(keys: Mapping[str, Any], usual: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the problems that the library finds in ``keys``, given the ``usual`` ones."""
    refused = [name for name in keys if name in _REFUSED]
    for name in refused:
        yield Problem(_REFUSED[name], name, keys[name])
    if not keys or refused:
        return
    from transformers.generation.configuration_utils import GenerationConfig

    try:
        settings = GenerationConfig(**usual, **keys)
        mode = str(settings.get_generation_mode().value)
    except (TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())
        yield Problem(f"the installed transformers refuses it: {reason}", *_blamed(keys, reason))
        return
    if mode not in _MODES:
        kind = mode.replace("_", " ")
        yield Problem(f"asks for {kind}, which the installed transformers does not make for "
                      "batches of prompts on its own; drop it", *_blamed(keys, ""))  # fmt: skip


def _blamed(keys: Mapping[str, Any], reason: str) -> tuple[str, Any]:
    """Return the key that a message names, or the first of those that choose the search method."""
    searched = ("num_beam_groups", "penalty_alpha", "constraints", "force_words_ids", "dola_layers",
                "prompt_lookup_num_tokens", "use_mtp", "assistant_early_exit")  # fmt: skip
    names = [name for name in keys if name in reason] + [name for name in searched if name in keys]
    name = (names or list(keys))[0]
    return name, keys[name]
