"""Published YAML files run as they are, and the published flags have keys of the same names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.experiment import EXPERIMENTS
from common.key_paths import merged
from common.plan.load import load_plan
from common.runner.cli_overrides import parse_assignment
from grue.experiments.extract.config import ExtractConfig
from grue.experiments.extract.published_samples import file_name
from grue.experiments.finetune.config import FinetuneConfig
from tests.conftest import Workplace

SUPERVISED = """
tokenizer:
  model_name: gpt2
  padding_side: left
  truncation_side: left
  pad_token_as_eos_token: True
  max_length: 64
datapool:
  id: word_game
  args:
    seed: 42
  frac_train_samples: -1
  train_samples_rnd_seed: -1
alg:
  id: supervised
  model_type: causal
  model_name: gpt2
  training_args:
    learning_rate: 0.00001
    max_steps: -1
  generation_kwargs: {do_sample: True, min_length: 48, max_new_tokens: 48}
train_evaluation:
  eval_batch_size: 256
  metrics: [{id: rouge, args: {}}]
  generation_kwargs:
    do_sample: True
    max_new_tokens: 48
    post_processing_fn: null
"""
PPO = """
tokenizer: {model_name: gpt2, padding_side: left, truncation_side: left}
datapool:
  id: word_game
  args: {split: train, seed: 42}
reward_fn:
  id: rouge
  args: {rouge_type: rouge1}
env:
  n_envs: 10
  args: {max_prompt_length: 64, max_episode_length: 48, terminate_on_eos: True}
alg:
  id: ppo
  args:
    learning_rate: 1e-6
    n_steps: 128
    verbose: 1
  kl_div: {coeff: 0.1, target_kl: 1}
  policy:
    id: causal_lm_actor_critic_policy
    args:
      model_name: gpt2
      apply_model_parallel: True,
      generation_kwargs: {do_sample: True, temperature: 1, max_new_tokens: 48}
train_evaluation:
  eval_batch_size: 256
  n_iters: 50
  eval_every: 10
  metrics:
    - id: rouge
"""
EXTRACTION = """
tokenizer: {model_name: gpt2, padding_side: left, max_length: 64}
datapool: {id: word_game, num_train_samples: 50, train_samples_rnd_seed: 7}
alg:
  model_type: causal
  model_name: gpt2
  generation_kwargs: {do_sample: True, max_new_tokens: 8, post_processing_fn: null}
evaluation:
  eval_batch_size: 16
  num_samples_per_input: 10
  metrics: [{id: rouge, args: {}}]
"""
FILES = {"supervised": SUPERVISED, "ppo": PPO, "extraction": EXTRACTION}


def write(workplace: Workplace, name: str, text: str) -> Path:
    path = workplace.path / f"{name}.yml"
    path.write_text(text)
    return path


def only_config(path: Path, **overrides: Any) -> Any:
    (run,) = load_plan(path, EXPERIMENTS, overrides=overrides).runs
    return run.config


@pytest.mark.parametrize(
    ("name", "experiment"),
    [("supervised", "grue_finetune"), ("ppo", "grue_finetune"), ("extraction", "grue_extract")],
)
def test_a_published_file_is_the_plan_of_its_run(
    name: str, experiment: str, workplace: Workplace
) -> None:
    path = write(workplace, name, FILES[name])
    outcome = workplace.run_plan(path, "--dry_run")
    assert outcome.status == 0, outcome.err
    assert f"1 runs in outputs/exps/{name}" in outcome.out
    (run,) = load_plan(path, EXPERIMENTS).runs
    assert run.experiment == experiment


def test_slips_of_published_files_are_read_as_they_were_meant(workplace: Workplace) -> None:
    path = write(workplace, "ppo", PPO)
    lines = workplace.run_plan(path, "--dry_run").err.splitlines()
    place = PPO.splitlines().index("    learning_rate: 1e-6") + 1
    assert lines == [
        f"warning: {path}, line {place}, column 20: '1e-6' is text in YAML; "
        "it is read as the number 1e-06",
        f"warning: {path}, line {place + 8}, column 29: 'True,' is text in YAML; "
        "it is read as true",
        "warning: ppo.yml, configurations[0]: 'datapool.args.split' = 'train' is left out: "
        "a run reads all splits it needs",
        "warning: without effect, and known for published files alone: "
        "'env.args.terminate_on_eos', 'alg.policy.args.apply_model_parallel', 'alg.args.verbose'",
    ]
    config = only_config(path)
    assert config.alg.args.learning_rate == 1e-6
    assert config.alg.policy.args.apply_model_parallel is True
    assert config.alg.policy.args.generation_kwargs.temperature == 1.0
    assert config.alg.kl_div.target_kl == 1.0
    assert "split" not in config.datapool.args


def test_a_file_without_slips_is_read_in_silence(workplace: Workplace) -> None:
    assert workplace.run_plan(write(workplace, "s", SUPERVISED), "--dry_run").err == ""


def test_a_slip_and_the_sound_file_are_one_run(workplace: Workplace) -> None:
    sound = (
        PPO.replace("1e-6", "0.000001").replace("True,\n", "True\n").replace("split: train,", "")
    )
    sound = sound.replace("temperature: 1,", "temperature: 1.0,")
    fingerprints = {
        load_plan(write(workplace, name, text), EXPERIMENTS).runs[0].fingerprint
        for name, text in (("a", PPO), ("b", sound))
    }
    assert len(fingerprints) == 1


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("supervised", "alg.model_name"),
        ("ppo", "alg.policy.args.model_name"),
        ("extraction", "alg.model_name"),
        ("extraction", "tokenizer.model_name"),
    ],
)
def test_the_placeholder_is_refused_until_it_is_filled(
    name: str, key: str, workplace: Workplace
) -> None:
    path = write(workplace, name, FILES[name])
    outcome = workplace.run_plan(path, "--dry_run", "--set", f"{key}=_")
    assert outcome.status == 2
    assert (
        f"'{key}' = '_': is a placeholder; name the model, for example --set {key}=@sft.model"
        in (outcome.err)
    )
    assert workplace.run_plan(path, "--dry_run", "--set", f"{key}=gpt2").status == 0


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("ppo", "n_steps", "n_step", "'alg.args.n_step' = 128: unknown key; did you mean "
         "'n_steps'?"),
        ("ppo", "coeff", "coef", "'alg.kl_div.coef' = 0.1: unknown key; did you mean 'coeff'?"),
        ("ppo", "do_sample", "do_samples", "'alg.policy.args.generation_kwargs.do_samples' = true: "
         "unknown key; did you mean 'do_sample'?"),
        ("ppo", "id: ppo", "id: pop", "'alg.id' = 'pop': unknown; did you mean 'ppo'?"),
        ("ppo", "id: causal_lm", "id: casual_lm", "'alg.policy.id' = 'casual_lm_actor_critic_policy"
         "': unknown; did you mean 'causal_lm_actor_critic_policy'?"),
        ("ppo", "rouge_type", "rouge_typ", "'reward_fn.args.rouge_typ' = 'rouge1': unknown key; "
         "did you mean 'rouge_type'?"),
        ("ppo", "terminate_on_eos: True", "terminate_on_eos: 'True'",
         "'env.args.terminate_on_eos' = 'True': expected true or false"),
        ("supervised", "    seed: 42", "    sead: 42", "'datapool.args.sead' = 42: unknown key; "
         "did you mean 'seed'?"),
        ("extraction", "eval_batch_size", "eval_batchsize", "'evaluation.eval_batchsize' = 16: "
         "unknown key; did you mean 'eval_batch_size'?"),
        ("extraction", "id: rouge", "id: rogue", "'evaluation.metrics[0].id' = 'rogue': unknown "
         "metric; did you mean 'rouge'?"),
        ("extraction", "word_game", "word_gane", "'datapool.id' = 'word_gane': unknown task; did "
         "you mean 'word_game'?"),
    ],
)  # fmt: skip
def test_anything_else_unknown_is_refused_with_a_suggestion(
    name: str, old: str, new: str, message: str, workplace: Workplace
) -> None:
    path = write(workplace, name, FILES[name].replace(old, new))
    outcome = workplace.run_plan(path, "--dry_run")
    assert outcome.status == 2
    assert message in outcome.err


def test_dotted_options_and_overrides(workplace: Workplace) -> None:
    write(workplace, "ppo", PPO)
    plan = workplace.write_plan(
        experiment="grue_finetune",
        configurations=[
            {
                "base_config": {
                    "from": "ppo.yml",
                    "experiment_name": "lr_{alg.args.learning_rate}",
                    "alg": {"args": {"n_epochs": 5}},
                    "env.args.max_prompt_length": 32,
                },
                "options": {"alg.args.learning_rate": [1e-6, 1e-5]},
            }
        ],
    )
    runs = load_plan(plan, EXPERIMENTS).runs
    assert [run.config.alg.args.learning_rate for run in runs] == [1e-6, 1e-5]
    assert [run.name for run in runs] == ["lr_1e-06", "lr_1e-05"]
    for run in runs:
        assert (run.config.alg.args.n_steps, run.config.alg.args.n_epochs) == (128, 5)
        assert run.config.env.args.max_prompt_length == 32
        assert run.config.env.args.max_episode_length == 48
    for changed in ({"alg.args.learning_rate": 0.1}, {"alg.args": {"learning_rate": 0.1}}):
        assert only_config(plan, **changed).alg.args.learning_rate == 0.1
    outcome = workplace.run_plan(plan, "--dry_run", "--set", "alg.args.n_epoch=1",
                                 "--set", "agl.args.n_epochs=1")  # fmt: skip
    assert "plan.json, --set:\n" in outcome.err
    assert "'agl.args.n_epochs' = 1: unknown key" in outcome.err
    assert "'alg.args.n_epoch' = 1: unknown key; did you mean 'n_epochs'?" in outcome.err


def test_a_part_of_an_unknown_object_is_told_where_it_is_set(workplace: Workplace) -> None:
    path = write(workplace, "ppo", PPO)
    outcome = workplace.run_plan(path, "--dry_run", "--set", "alg.arg.n_steps=1")
    assert "ppo.yml, --set:\n  'alg.arg' = {'n_steps': 1}: unknown key; did you mean 'args'?" in (
        outcome.err
    )


@pytest.mark.parametrize(
    ("name", "key"), [("ppo", "base_path_to_store_results"), ("extraction", "output_path")]
)
def test_the_published_folder_is_the_outputs_folder(
    name: str, key: str, workplace: Workplace
) -> None:
    path = write(workplace, name, FILES[name])
    assert only_config(path, **{key: "there"}).outputs_dir == "there"
    assert only_config(path, **{key: ""}).outputs_dir == "outputs/exps"
    assert only_config(path, **{key: "there", "outputs_dir": "here"}).outputs_dir == "here"
    outcome = workplace.run_plan(path, "--dry_run", "--set", f"{key}=there")
    assert f"1 runs in there/{name}" in outcome.out


def test_published_flags_are_keys_with_the_published_defaults(workplace: Workplace) -> None:
    found = only_config(write(workplace, "ppo", PPO))
    assert isinstance(found, FinetuneConfig)
    assert (found.experiment_name, found.project_name) == ("rl4lm_experiment", "rl4lm_exps")
    assert found.entity_name is None
    for key in ("log_to_wandb", "log_entire_predictions", "no_eval_on_train_set",
                "upload_model_to_wandb"):  # fmt: skip
        assert getattr(found, key) is False
    extraction = only_config(write(workplace, "extraction", EXTRACTION), output_file_suffix="mine")
    assert isinstance(extraction, ExtractConfig)
    assert file_name(extraction, 50).startswith(
        "train_reward_stats_word_game_gpt2_num_train_50_rnd_7_mine_"
    )


def test_flags_that_only_report_make_no_new_run(workplace: Workplace) -> None:
    path = write(workplace, "ppo", PPO)
    flags = {"experiment_name": "x", "project_name": "x", "entity_name": "x",
             "log_entire_predictions": True, "base_path_to_store_results": "x"}  # fmt: skip
    plain, told = (load_plan(path, EXPERIMENTS, overrides=o).runs[0] for o in ({}, flags))
    assert plain.fingerprint == told.fingerprint


def test_weights_and_biases_is_looked_for_before_the_first_run(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(workplace, "ppo", PPO)
    outcome = workplace.run_plan(path, "--dry_run", "--set", "upload_model_to_wandb=true")
    assert "'upload_model_to_wandb' = true: needs 'log_to_wandb' = true" in outcome.err
    monkeypatch.setattr("common.packages.is_installed", lambda name: name != "wandb")
    outcome = workplace.run_plan(path, "--dry_run", "--set", "log_to_wandb=true")
    assert "'log_to_wandb' = true: needs the package 'wandb': " in outcome.err


def test_a_base_file_may_be_any_published_file(workplace: Workplace) -> None:
    path = write(workplace, "supervised", SUPERVISED)
    base = {"from": "supervised.yml", "datapool.args.num_concepts": 30, "random_seed": 1}
    plan = workplace.write_plan(experiment="grue_finetune", configurations=[{"base_config": base}])
    expected = merged(
        only_config(path).model_dump(mode="json"),
        {"random_seed": 1, "datapool": {"args": {"num_concepts": 30}}},
    )
    assert only_config(plan).model_dump(mode="json") == expected


def test_a_file_of_the_analytic_kl_program_and_its_assignments(workplace: Workplace) -> None:
    text = PPO.replace("id: word_game\n  args: {split: train, seed: 42}", "id: imdb_fixed\n  args:")
    text = text.replace("id: ppo\n", "id: ppo_kl\n")
    text = text.replace("verbose: 1\n", "verbose: 1\n    analytic_kl_grad: false\n")
    text = text.replace("target_kl: 1}", "target_kl: 0.5, analytic_kl_reward: false}")
    path = write(workplace, "ppo_kl", text)
    (run,) = load_plan(path, EXPERIMENTS).runs
    assert (run.config.alg.id, run.config.datapool.args["seed"]) == ("ppo_kl", 0)
    assignments = ("alg.args.analytic_kl_grad=True", "alg.kl_div.analytic_kl_reward=True",
                   "alg.kl_div.target_kl=null", "train_evaluation.n_iters=150")  # fmt: skip
    config = only_config(path, **dict(map(parse_assignment, assignments)))
    assert config.alg.args.analytic_kl_grad and config.alg.kl_div.analytic_kl_reward
    assert (config.alg.kl_div.target_kl, config.train_evaluation.n_iters) == (None, 150)
    outcome = workplace.run_plan(path, "--dry_run", "--set", "alg.kl_div.norm_reward=True",
                                 "--set", "alg.args.analytic_kl_grad=True")  # fmt: skip
    assert "'alg.kl_div.norm_reward' = true: does not go with 'alg.args.analytic_kl_grad'" in (
        outcome.err
    )
