"""Keys of generation that only the installed library knows."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from common.config.resolve import resolve
from common.errors import Problem
from common.run.folder import read_json_lines
from grue.experiments.finetune.config import FinetuneConfig
from grue.policies.generation_config import GenerationConfig
from grue.policies.policy import Policy
from grue.random_streams import Occasion, uniforms
from tests.conftest import Workplace
from tests.grue.conftest import nested, save_model, write
from tests.grue.test_extract import extraction
from tests.grue.test_reinforcement import MASKED, SAMPLED, reinforcement

PROMPTS = ["the cat", "a dog runs in the park and", "numbers 1 2", "mat mat mat"]
ROLLOUTS = "alg.policy.args.generation_kwargs"
ONLY_LETTERS = "custom:tests.grue.test_library_generation:only_letters"


def only_letters(prompts: Any, outputs: list[str], references: Any, metadata: Any) -> list[float]:
    """A reward: whether an output has small letters and blanks alone."""
    return [float(re.fullmatch("[a-z ]*", output) is not None) for output in outputs]


def problems_of(**keys: Any) -> list[Problem]:
    return resolve(GenerationConfig, keys)[1]


@pytest.mark.parametrize(
    "keys",
    [
        {"repetition_penalty": 1.7},
        {"no_repeat_ngram_size": 2},
        {"no_repeat_ngram_size": 1, "repetition_penalty": 3.0},
        {"bad_words_ids": [[i] for i in range(1, 150)], "begin_suppress_tokens": [*range(200)]},
        {"suppress_tokens": [*range(20, 200)], "exponential_decay_length_penalty": [2, 1.5]},
        {"forced_bos_token_id": 5, "forced_eos_token_id": 0},
    ],
    ids=lambda keys: "+".join(keys),
)
def test_own_outputs_with_processors_are_those_of_the_library(
    policy: Policy, keys: dict[str, Any]
) -> None:
    """One prompt at a time, for the library counts padding as repeated tokens."""
    settings = GenerationConfig(max_new_tokens=8, **keys)
    prompts = policy.encode(PROMPTS, 20)
    own = policy.outputs(prompts, settings, inputs=range(len(prompts)), seed=0)
    library = [policy.generate([prompt], 1, settings)[0][0] for prompt in prompts]
    assert own == library
    plain = GenerationConfig(max_new_tokens=8)
    assert own != policy.outputs(prompts, plain, inputs=range(len(prompts)), seed=0)


@pytest.mark.parametrize(
    "keys",
    [{"min_p": 0.4}, {"typical_p": 0.5}, {"epsilon_cutoff": 0.05, "repetition_penalty": 1.5}],
    ids=str,
)
def test_own_samples_with_filters_have_the_distribution_of_the_library(
    causal_policy: Policy, keys: dict[str, Any]
) -> None:
    settings = GenerationConfig(do_sample=True, top_k=5, temperature=1.5, max_new_tokens=1, **keys)
    prompt, count = causal_policy.encode(["the cat"], 20), 4000
    own = causal_policy.sample(prompt, uniforms(Occasion.SAMPLE, 0, [0], count, 1), settings)[0]
    torch.manual_seed(0)
    library = causal_policy.generate(prompt, count, settings)[0]
    found, expected = (Counter(map(tuple, samples)) for samples in (own, library))
    assert found.keys() == expected.keys()
    for output, times in expected.items():
        assert abs(found[output] - times) < 4 * (2 * times) ** 0.5


def test_samples_with_processors_do_not_depend_on_the_batch(policy: Policy) -> None:
    settings = GenerationConfig(do_sample=True, top_k=0, max_new_tokens=8, repetition_penalty=2.0,
                                no_repeat_ngram_size=2)  # fmt: skip
    prompts = policy.encode(PROMPTS, 20) * 10
    draws = uniforms(Occasion.SAMPLE, 0, range(len(prompts)), 3, 8)
    together = policy.sample(prompts, draws, settings)
    apart = [policy.sample([prompt], draws[row : row + 1], settings)[0]
             for row, prompt in enumerate(prompts)]  # fmt: skip
    same = sum(a == b for a, b in zip(together, apart, strict=True))
    assert same >= 0.97 * len(prompts)
    for samples in together:
        for output in samples:
            pairs = list(itertools.pairwise(output))
            assert len(pairs) == len(set(pairs))


def test_an_output_ends_at_the_first_of_several_end_tokens(policy: Policy) -> None:
    prompts = policy.encode(PROMPTS, 20)
    plain = GenerationConfig(max_new_tokens=8)
    usual = policy.outputs(prompts, plain, inputs=range(4), seed=0)
    ends = [policy.ids.end, usual[0][2]]
    settings = GenerationConfig(max_new_tokens=8, eos_token_id=ends)
    found = policy.outputs(prompts, settings, inputs=range(4), seed=0)
    for output, whole in zip(found, usual, strict=True):
        places = [place for place, token in enumerate(whole) if token in ends]
        assert output == (whole[: places[0] + 1] if places else whole)
    assert found != usual


def test_beams_take_the_keys_of_the_library(policy: Policy) -> None:
    prompts = policy.encode(PROMPTS, 20)
    kinds = [{}, {"repetition_penalty": 5.0}, {"early_stopping": True, "min_p": None}]
    outputs = [
        policy.outputs(prompts, GenerationConfig(num_beams=3, max_new_tokens=6, **keys),
                       inputs=range(4), seed=0)
        for keys in kinds
    ]  # fmt: skip
    assert outputs[0] != outputs[1]
    assert all(len(found) == 4 for found in outputs)


def test_an_unknown_key_is_named_with_its_value_and_the_near_ones() -> None:
    assert [str(problem) for problem in problems_of(repetition_penalti=1.2, temprature=0.5)] == [
        "'repetition_penalti' = 1.2: unknown key; did you mean 'repetition_penalty'?",
        "'temprature' = 0.5: unknown key; did you mean 'temperature'?",
    ]


@pytest.mark.parametrize(
    "keys",
    [
        {"num_return_sequences": 3},
        {"output_scores": True},
        {"num_beams": 4, "num_beam_groups": 2},
        {"penalty_alpha": 0.6},
        {"early_stopping": "sometimes"},
        {"cache_implementation": "nowhere"},
        {"prompt_lookup_num_tokens": 3},
    ],
    ids=str,
)
def test_what_the_library_cannot_do_is_refused_by_name(keys: dict[str, Any]) -> None:
    (problem,) = problems_of(**keys)
    assert problem.key == list(keys)[-1]


def test_settings_without_further_keys_are_as_they_were() -> None:
    plain = GenerationConfig()
    assert set(plain.model_dump()) == set(GenerationConfig.model_fields)
    assert "repetition_penalty" in GenerationConfig(repetition_penalty=1.2).identity()


def _finetuning(**keys: Any) -> dict[str, Any]:
    tree = nested(reinforcement(Path("model"), **{ROLLOUTS: SAMPLED | keys}))
    return {key: value for key, value in tree.items() if key != "experiment"}


def test_rollouts_refuse_what_is_not_of_single_tokens_and_say_what_is_not_trained() -> None:
    config, problems = resolve(FinetuneConfig, _finetuning(repetition_penalty=1.2))
    assert not problems
    assert config is not None
    assert any("'repetition_penalty'" in line and "without it" in line for line in config.notices())
    _, problems = resolve(FinetuneConfig, _finetuning(eos_token_id=[1, 2], use_cache=True))
    assert [problem.key for problem in problems] == [
        f"{ROLLOUTS}.eos_token_id", f"{ROLLOUTS}.use_cache"
    ]  # fmt: skip


def test_runs_draw_as_the_keys_say(
    workplace: Workplace, tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Rollouts from within a mask, evaluations and an extraction, all of small letters alone."""
    model = save_model(tmp_path / "model", tokenizer)
    others = [token for token in range(1, len(tokenizer))
              if not re.fullmatch("[a-z ]+", tokenizer.decode([token]))]  # fmt: skip
    letters = SAMPLED | {"suppress_tokens": others, "min_p": 0.01}
    trained = reinforcement(model, "nlpo", **MASKED, **{
        ROLLOUTS: letters, "train_evaluation.n_iters": 2, "log_entire_predictions": True,
        "reward_fn.id": ONLY_LETTERS,
    })  # fmt: skip
    drawn = extraction(model, **{"alg.generation_kwargs": letters | {"eos_token_id": [0, 5]}})
    assert workplace.run_plan(write(workplace, trained, drawn)).status == 0
    finetuned, extracted = workplace.folders()
    (predictions, *_) = sorted(finetuned.path.rglob("*_val_split_predictions.json"))
    texts = [row["generated_text"] for row in json.loads(predictions.read_text())]
    texts += pd.read_parquet(extracted.table("samples"))["output"].tolist()
    assert all(only_letters([], texts, [], []))
    rewards = [row["rollout_info/ep_rew"] for row in read_json_lines(finetuned.metrics)
               if "rollout_info/ep_rew" in row]  # fmt: skip
    assert rewards == [1.0, 1.0]


def test_values_that_the_library_refuses_are_found_before_the_start(
    workplace: Workplace, tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    wrong = {"repetition_penalty": "much", "min_p": 3}
    model = save_model(tmp_path / "model", tokenizer)
    result = workplace.run_plan(
        write(workplace, extraction(model, **{"alg.generation_kwargs": SAMPLED | wrong}))
    )
    assert result.status == 2
    for name in wrong:
        assert f"'alg.generation_kwargs.{name}'" in result.err
