"""The shipped plans hold the published values, and nothing that is not published."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from common.config.resolve import resolve_valid_keys
from common.errors import ConfigError
from common.experiment import EXPERIMENTS
from common.files.documents import read_object
from common.key_paths import value_at, without
from common.plan.load import load_plan
from common.plan.run import Run
from grue.experiments.finetune.config import FinetuneConfig
from grue.policies.generation_config import GenerationConfig
from tests.common.plans import whole_base
from tests.conftest import PROJECT
from tests.grue.published_values import Values, as_tree, published

FOLDER = PROJECT / "experiment_plans/grue"
PUBLISHED = published()
GRID = "analytic_kl/imdb_grid"
NAMED = "alg.policy.args.model_name"
SENTINELS = ("datapool.frac_train_samples", "datapool.train_samples_rnd_seed")
GENERATION_DEFAULTS = {
    "do_sample": False, "temperature": 1.0, "top_k": 50, "top_p": 1.0, "num_beams": 1,
    "length_penalty": 1.0, "min_length": 0, "max_new_tokens": None, "max_length": 20,
    "post_processing_fn": None, "ignore_eos": False, "truncate_token": None, "truncate_after": 0,
}  # fmt: skip

each_plan = pytest.mark.parametrize(("name", "values"), PUBLISHED.items(), ids=list(PUBLISHED))


def the_run(name: str, values: Values) -> Run:
    """The plan's only run, with a model in the place of the placeholder."""
    overrides = {NAMED: "t5-base"} if values.get(NAMED) == "_" else {}
    (run,) = load_plan(FOLDER / f"{name}.json", EXPERIMENTS, overrides=overrides).runs
    return run


def resolved(run: Run) -> dict[str, Any]:
    """The run's keys, defaults filled in."""
    return run.config.model_dump(mode="json")


def test_every_shipped_plan_has_published_values() -> None:
    shipped = {str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.json")}
    shipped = {name for name in shipped if not name.startswith("paper/")}  # made of these
    assert shipped == {*PUBLISHED, GRID}
    assert len([name for name in shipped if "/" not in name]) == 35 + 7
    assert len([name for name in shipped if name.startswith("synthetic/")]) == 10


@each_plan
def test_each_published_value_is_that_of_the_resolved_plan(name: str, values: Values) -> None:
    found = resolved(the_run(name, values))
    for key, value in values.items():
        if key == "metrics":
            continue
        if value == "_":
            expected: Any = "t5-base"
        else:
            expected = None if key in SENTINELS and value == -1 else value
        assert value_at(found, key, "nothing") == expected, key
    block = found.get("evaluation") or found["train_evaluation"]
    assert [metric["id"] for metric in block["metrics"]] == [m["id"] for m in values["metrics"]]
    for metric, written in zip(block["metrics"], values["metrics"], strict=True):
        assert metric["args"] | written["args"] == metric["args"]


@each_plan
def test_a_plan_is_the_run_that_the_published_file_describes(name: str, values: Values) -> None:
    run = the_run(name, values)
    named = values | {NAMED: "t5-base"} if values.get(NAMED) == "_" else values
    assert run.config.identity() == type(run.config).model_validate(as_tree(named)).identity()


def test_the_grid_is_the_published_one() -> None:
    runs = load_plan(FOLDER / f"{GRID}.json", EXPERIMENTS).runs
    grid = ("alg.args.analytic_kl_grad", "alg.kl_div.analytic_kl_reward", "alg.kl_div.target_kl",
            "random_seed")  # fmt: skip
    found = {tuple(value_at(resolved(run), key) for key in grid) for run in runs}
    values = ([True, False], [True, False], [0.05, 0.1, 0.2, 0.5], range(5))
    assert found == set(itertools.product(*values))
    assert len(runs) == 80
    changed = (*grid, "experiment_name", "no_eval_on_train_set", "train_evaluation.eval_test_set")
    only_here = [tuple(key.split(".")) for key in changed]
    rest = [without(resolved(run), only_here) for run in runs]
    base = the_run("analytic_kl/gpt2_ppo_kl_fixed", PUBLISHED["analytic_kl/gpt2_ppo_kl_fixed"])
    assert all(keys == without(resolved(base), only_here) for keys in rest)


@each_plan
def test_unset_generation_keys_are_written_out(name: str, values: Values) -> None:
    found = resolved(the_run(name, values))
    keys = [
        "alg.generation_kwargs",
        "alg.policy.args.generation_kwargs",
        "train_evaluation.generation_kwargs",
    ]
    given = {key: value_at(found, key) for key in keys if value_at(found, key) is not None}
    assert given
    for key, settings in given.items():
        assert settings.keys() == GENERATION_DEFAULTS.keys()
        for name_of_setting, default in GENERATION_DEFAULTS.items():
            published_value = values.get(f"{key}.{name_of_setting}", default)
            assert settings[name_of_setting] == published_value, (key, name_of_setting)


@pytest.mark.parametrize(
    "name", [name for name, values in PUBLISHED.items() if values.get(NAMED) == "_"]
)
def test_the_placeholder_is_refused_with_what_fills_it(name: str) -> None:
    with pytest.raises(
        ConfigError, match=f"'{NAMED}' = '_': is a placeholder.*--set {NAMED}=@sft.model"
    ):
        load_plan(FOLDER / f"{name}.json", EXPERIMENTS)


def test_narrative_qa_outputs_have_at_most_19_new_tokens() -> None:
    name = "narrative_qa_ppo"
    config = the_run(name, PUBLISHED[name]).config
    assert isinstance(config, FinetuneConfig)
    settings = config.training_settings
    assert isinstance(settings, GenerationConfig)
    assert settings.most_new_tokens(is_encoder_decoder=True) == 19


def leaves(values: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths to single values and lists."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


@each_plan
def test_a_plan_says_only_what_differs(name: str, values: Values) -> None:
    path = FOLDER / f"{name}.json"
    document = read_object(path)
    base = document["configurations"][0]["base_config"]
    model = EXPERIMENTS.get(document["experiment"]).config

    def meaning(keys: dict[str, Any]) -> Any:
        config, problems = resolve_valid_keys(model, whole_base(keys, path.parent))
        return problems or config

    for key in leaves(base):
        is_of_a_part = {"datapool", "reward_fn", "training_args"} & set(key)
        if key != ("from",) and not is_of_a_part:
            assert meaning(without(base, [key])) != meaning(base), key
