"""Everything that is wrong with a plan is said in one message, and nothing that is not."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from common.errors import ConfigError, UserError
from common.experiment import EXPERIMENTS
from common.plan.load import load_plan
from tests.common.plans import load, problems_of
from tests.conftest import TOY

STAGE = {"id": "a", "options": {"lr": [1, 2]}}


@pytest.mark.parametrize(
    ("configurations", "message"),
    [
        ([{"base_config": {"start": "@b.checkpoint"}}, {**STAGE}],
         "configurations[0]:\n  'start' = '@b.checkpoint': no configuration has the id 'b'; "
         "known: a"),
        ([STAGE, {"base_config": {"start": "@a.checkpoint"}}],
         "'start' = '@a.checkpoint': fits 2 runs of 'a': exp (lr=1), exp (lr=2); set 'lr' here "
         "too, to choose one"),
        ([STAGE, {"base_config": {"start": "@a.checkpoint", "lr": 3}}],
         "fits no run of 'a' with {'lr': 3}; its runs: exp (lr=1), exp (lr=2)"),
        ([STAGE, {"base_config": {"start": "@a.model", "lr": 1}}],
         "'a' leaves no file 'model'; known: checkpoint"),
        ([{"id": "a", "base_config": {"start": "@b.checkpoint"}},
          {"id": "b", "base_config": {"start": "@a.checkpoint"}}],
         "the stages wait for each other: a -> b -> a; break the ring"),
        ([{"id": "a", "base_config": {"start": "@a.checkpoint"}}],
         "the stages wait for each other: a -> a"),
        ([{"id": "a", "base_config": {"start": "@b.checkpoint", "lrr": 1}},
          {"id": "b", "base_config": {"start": "@a.checkpoint"}}],
         "the stages wait for each other: a -> b -> a; break the ring"),
        ([STAGE, {**STAGE, "base_config": {"epochs": 3}}], "two configurations have this id"),
        ([{"base_config": {"experiment_name": "{nmae}"}}],
         "'experiment_name' = '{nmae}': the template names an unknown key 'nmae'; a "
         "literal brace is doubled"),
        ([{}, {"base_config": {"experiment_name": "other"}}],
         "two runs would be one (fingerprint"),
        ([{"options": {"lr": 1}}], "'options.lr' = 1: expected a list in [ ]"),
        ([{"options": {"lr": []}}], "'options.lr' = []: needs at least one entry"),
        ([{"option": {}}], "'option' = {}: unknown key; did you mean 'options'?"),
        ([{"lr": 1}], "'lr' = 1: unknown key here; it belongs in 'base_config'"),
        ([{"skip": 1}], "'skip' = 1: unknown key here; it belongs beside 'configurations'"),
        ([{"base_config": {"options": 1}}], "'options' = 1: unknown key here; it belongs beside "
         "'base_config'"),
        ([{"experiment": "sft_vs_rtf"}], "unknown experiment; did you mean 'sft_vs_rft'?"),
        ([{"experiment": "custom:nowhere:X"}], "'nowhere:X' cannot be imported"),
        ([{"experiment": "custom:tests.toy:run"}], "names a function; it must name an Experiment"),
        ([{"base_config": {"trainer_checkpoint": "none.pt"}}],
         "'trainer_checkpoint' = 'none.pt': no such file"),
        ([], "'configurations' = []"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(tmp_path: Path, configurations: list[Any], message: str) -> None:
    assert message in problems_of(tmp_path, *configurations)


def test_all_problems_come_in_one_message(tmp_path: Path) -> None:
    equal = load(tmp_path, {"base_config": {"lr": 2}}).runs[0].fingerprint[:8]
    text = problems_of(
        tmp_path,
        {"base_config": {"lrr": 1, "trainer_checkpoint": "gone.pt", "start": "@b.checkpoint"}},
        {"options": {"epochs": [1, "2", 0], "lr": []}, "sedes": [1]},
        {"base_config": {"start": "@c.checkpoint", "experiment_name": "{nmae}"}},
        3,
        {"base_config": {"dataset": "npz"}, "experiment": "sft_vs_rft"},
        {"base_config": {"trainer_checkpoint": "none.pt"}},
        {"base_config": {"lr": 2}},
        {"base_config": {"lr": 2, "epochs": 100}},
        name=3,
        seeds=[],
        figures=[4],
    )
    assert text == (
        "plan.json:\n"
        "  'name' = 3: expected text in quotes\n"
        "  'seeds' = []: needs at least one entry\n"
        "  'figures[0]' = 4: expected a name, or an object {'figure': name, option: value}\n"
        "  'configurations[3]' = 3: expected an object in { }\n"
        "plan.json, configurations[1]:\n"
        "  'options.lr' = []: needs at least one entry\n"
        "  'sedes' = [1]: unknown key; did you mean 'seeds'?\n"
        "  'epochs' = '2': expected a whole number; remove the quotes\n"
        "  'epochs' = 0: must be greater than 0\n"
        "plan.json, configurations[0]:\n"
        "  'lrr' = 1: unknown key; did you mean 'lr'?\n"
        "  'start' = '@b.checkpoint': no configuration has the id 'b'; known: none\n"
        "  'trainer_checkpoint' = 'gone.pt': no such file or folder\n"
        "plan.json, configurations[2]:\n"
        "  'experiment_name' = '{nmae}': the template names an unknown key 'nmae'; a "
        "literal brace is doubled\n"
        "  'start' = '@c.checkpoint': no configuration has the id 'c'; known: none\n"
        "plan.json, configurations[4]:\n"
        "  'data_path' = null: dataset 'npz' needs the path of a file here\n"
        "plan.json, configurations[5]:\n"
        "  'trainer_checkpoint' = 'none.pt': no such file or folder\n"
        "plan.json, configurations[7]:\n"
        f"  two runs would be one (fingerprint {equal}): 'exp' of configurations[6] and 'exp' of "
        "configurations[7] differ in nothing that can change results; take one of them out"
    )


@pytest.mark.parametrize(
    ("stage", "problem"),
    [
        ({"base_config": {"lrr": 1}}, "'lrr' = 1: unknown key; did you mean 'lr'?"),
        ({"options": {"lr": 1}}, "'options.lr' = 1: expected a list in [ ]"),
        ({"options": {"lr": [1, "2"]}}, "'lr' = '2': expected a number; remove the quotes"),
        ({"seeds": [-1]}, "'seeds[0]' = -1: must be greater than or equal to 0"),
        ({"experiment": "custom:tests.toy:run"},
         "'experiment' = 'custom:tests.toy:run': names a function; it must name an Experiment"),
        ({"experiment": 3, "base_config": {"dataset": "digits"}},
         "'experiment' = 3: expected text in quotes"),
        ({"experiment": ""}, "'experiment' = '': is empty; write a name, or take the key out"),
        ({"base_config": {"epochs": "{"}},
         "'epochs' = '{': malformed template (Single '{' encountered in format string); "
         "a literal brace is doubled"),
        ({"options": {"score_metric_name": "train loss"},
          "base_config": {"save_checkpoints_by_score": True}},
         "'options.score_metric_name' = 'train loss': expected a list in [ ]"),
        ({"base_config": {"experiment_name": "{"}},
         "'experiment_name' = '{': malformed template (Single '{' encountered in format string); "
         "a literal brace is doubled"),
        ({"base_config": {"trainer_checkpoint": "none.pt"}},
         "'trainer_checkpoint' = 'none.pt': no such file or folder"),
        ({"base_config": {"trainer_checkpoint": "/dev/zero"}},
         "'trainer_checkpoint' = '/dev/zero': cannot be read: /dev/zero: neither a file nor a "
         "folder"),
        ({"base_config": {"save_checkpoints_by_score": True}},
         "'save_checkpoints_by_score' = true: needs a score; set 'score_metric_name'"),
    ],
)  # fmt: skip
def test_a_broken_stage_is_said_once_and_not_of_those_that_refer_to_it(
    tmp_path: Path, stage: dict[str, Any], problem: str
) -> None:
    second = {"base_config": {"start": "@a.checkpoint"}, "seeds": [1, 2]}
    text = problems_of(
        tmp_path, {"id": "a", **stage}, second, repetitions=2, overrides={"pause": 0}
    )
    assert text == f"plan.json, configurations[0]:\n  {problem}"


def test_overrides_are_not_called_unknown_where_an_experiment_is(tmp_path: Path) -> None:
    text = problems_of(tmp_path, {"experiment": "nope"}, {}, overrides={"dataset": "digits"})
    assert text.count("\n") == 1


def test_a_key_that_is_wrong_already_is_not_looked_up_as_a_file(tmp_path: Path) -> None:
    base = {"load_model_from_checkpoint": "ADD PATH TO CHECKPOINT"}
    text = problems_of(tmp_path, {"base_config": base}, experiment="sft_vs_rft")
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    "configuration", [{"seeds": [1, 2, 5]}, {"options": {"random_seed": [1, 2, 5]}}]
)
def test_seeds_that_repetitions_make_equal_are_refused(
    tmp_path: Path, configuration: dict[str, Any]
) -> None:
    assert problems_of(tmp_path, configuration, repetitions=2) == (
        "plan.json, configurations[0]:\n  two runs would be one: repetition 1 of 'exp' of "
        "configurations[0] (random_seed=1) and repetition 0 of 'exp' of configurations[0] "
        "(random_seed=2); repetition k adds k to 'random_seed', which makes it 2 in both; give "
        "seeds further apart, or take 'repetitions' out"
    )
    assert len(load(tmp_path, {"seeds": [1, 3, 5]}, repetitions=2).runs) == 6
    assert len(load(tmp_path, {"options": {"lr": [1, 2]}}, repetitions=2).runs) == 4


def test_equal_runs_are_said_once_and_not_of_those_that_refer_to_them(tmp_path: Path) -> None:
    second = {"base_config": {"start": "@a.checkpoint"}, "seeds": [1]}
    twin = {"base_config": {"random_seed": 1}}
    text = problems_of(tmp_path, {"id": "a", "seeds": [1]}, twin, second)
    assert text.startswith("plan.json, configurations[1]:\n  two runs would be one (fingerprint")
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"repetitions": 10**12}, "'repetitions' = 1000000000000: makes 2,000,000,000,000 runs of "
         "configurations[0]; a configuration has at most 100,000; lower it"),
        ({"repetitions": 1, "seeds": list(range(1000))}, "'options': make, with the seeds, "
         "2,000,000 runs of configurations[0]; a configuration has at most 100,000; take some out"),
    ],
)  # fmt: skip
def test_more_runs_than_can_be_checked_are_refused_at_once(
    tmp_path: Path, keys: dict[str, Any], said: str
) -> None:
    options = {"lr": [1, 2]}
    if "seeds" in keys:
        options["epochs"] = list(range(1, 1001))
    assert said in problems_of(tmp_path, {"options": options}, **keys)


@pytest.mark.parametrize("value", [True, 3, 0.5, [1, 2], {"a": 1}])
def test_a_value_that_other_defaults_depend_on_may_be_wrong(tmp_path: Path, value: Any) -> None:
    text = problems_of(tmp_path, {"base_config": {"score_metric_name": value}})
    assert text.count("'score_metric_name' = ") == 1 and "expected text in quotes" in text


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"timeout_minutes": True}, "'timeout_minutes' = true: expected a number"),
        ({"timeout_minutes": "3"}, "'timeout_minutes' = '3': expected a number; remove the quotes"),
        ({"resources": {"gpus": True}}, "'resources.gpus' = true: expected a number"),
        ({"num_threads": 10**9}, "'num_threads' = 1000000000: must be less than or equal to 1024"),
        ({"num_parallel": 10**9}, "must be less than or equal to 10000"),
        ({"runs_per_gpu": 10**9}, "must be less than or equal to 10000"),
    ],
)
def test_numbers_of_a_plan_that_mean_nothing_are_told(
    tmp_path: Path, keys: dict[str, Any], said: str
) -> None:
    assert said in problems_of(tmp_path, {}, **keys)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"seeds": [3, 4, 3]}, "'seeds' = [3, 4, 3]: names 3 twice; drop the repetition"),
        ({"gpu_ids_pool": [0, 0]}, "'gpu_ids_pool' = [0, 0]: names 0 twice; drop the repetition, "
         "and let runs share GPUs by 'runs_per_gpu'"),
        ({"figures": ["a", {"figure": "a"}, "a"]}, """names "a" twice; drop the repetition"""),
        ({"configurations": [{"seeds": [0, 0]}]},
         "'seeds' = [0, 0]: names 0 twice; drop the repetition"),
        ({"configurations": [{"options": {"start": ["b.pt", "c.pt", "b.pt"]}}]},
         """'options.start' = ['b.pt', 'c.pt', 'b.pt']: names "b.pt" twice; drop the repetition"""),
        ({"configurations": [{"base_config": {"gpu_ids": [1, 1]}}]},
         "'gpu_ids' = [1, 1]: names 1 twice; drop the repetition"),
    ],
)  # fmt: skip
def test_what_is_named_twice_in_a_list_is_told(
    tmp_path: Path, keys: dict[str, Any], said: str
) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"experiment": TOY, "configurations": [{}], **keys}))
    with pytest.raises(ConfigError) as caught:
        load_plan(path, EXPERIMENTS)
    assert str(caught.value).count(said) == 1
    assert str(caught.value).count("\n") == 1


def test_entries_that_differ_in_type_alone_are_no_repetition(tmp_path: Path) -> None:
    text = problems_of(tmp_path, {"options": {"epochs": [1, True]}})
    assert "twice" not in text and "'epochs' = true: expected a whole number" in text


def test_what_overrides_is_named_as_the_source(tmp_path: Path) -> None:
    overrides = {"epochs": "x", "num_parallel": 0, "skip": 9, "start": "@q.x", "lrr": 2}
    text = problems_of(tmp_path, {}, set={"pause": "y", "foo": 1}, overrides=overrides)
    assert text == (
        "plan.json, --set:\n"
        "  'num_parallel' = 0: must be greater than 0\n"
        "  'epochs' = 'x': expected a whole number\n"
        "  'lrr' = 2: unknown key; did you mean 'lr'?\n"
        "  'start' = '@q.x': no configuration has the id 'q'; known: none\n"
        "plan.json, set:\n"
        "  'pause' = 'y': expected a number\n"
        "  'foo' = 1: unknown key; no configuration knows it"
    )


def test_a_key_of_the_plan_among_overrides_for_its_runs_is_told_its_place(tmp_path: Path) -> None:
    text = problems_of(tmp_path, {}, set={"seeds": [1], "resources.cpus": 3})
    for key in ("seeds", "resources"):
        assert f"'{key}' is a key of the plan; give it whole, as in --set {key}=..., or" in text
    assert text.count("beside 'configurations'") == 2


@pytest.mark.parametrize("skip", [2, 3])
def test_skipping_every_run_is_refused(tmp_path: Path, skip: int) -> None:
    configurations = {"options": {"lr": [1, 2]}, "seeds": [0]}
    text = problems_of(tmp_path, configurations, repetitions=3, skip=skip)
    assert "leaves out all of the plan's runs (2 without repetitions); lower it" in text
    assert len(load(tmp_path, configurations, repetitions=3, skip=1).runs) == 6


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("\ndef f(:", "SyntaxError: invalid syntax ({file}, line 2)"),
        (
            "from . import other",
            "ImportError: attempted relative import with no known parent package ({file}, line 1)",
        ),
        ("1\nraise RuntimeError('not today')", "RuntimeError: not today ({file}, line 2)"),
        (
            "import json; json.loads('x')",
            "JSONDecodeError: Expecting value: line 1 column 1 (char 0) ({file}, line 1)",
        ),
        ("import sys; sys.exit('bye')", "SystemExit: bye ({file}, line 1)"),
        ("\nimport nowhere", "ModuleNotFoundError: No module named 'nowhere' ({file}, line 2)"),
        (
            "from grue.policy_config import PolicyArgs",
            "ModuleNotFoundError: No module named 'grue.policy_config' ({file}, line 1); "
            "docs/moved.md says from where it is imported now",
        ),
        ("", "module 'broken' ({file}) has no 'X'"),
    ],
)
def test_an_experiment_that_cannot_be_imported_is_one_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, error: str
) -> None:
    file = tmp_path / "broken.py"
    file.write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken", raising=False)
    text = problems_of(tmp_path, {}, experiment="custom:broken:X")
    reason = error.format(file=file)
    assert f"'experiment' = 'custom:broken:X': 'broken:X' cannot be imported: {reason}" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1,\n "b" 2}', "plan.json, line 2, column 6: not valid JSON"),
        ('{"a": 1, "a": 2}', "'a' is repeated"),
        ("[1]", "expected an object"),
        ('{"configurations": [{}], "name": 3}', "'name' = 3: expected text in quotes"),
        ('{"name": "x"}', "'configurations': this key is required"),
        ('{"extends": "a"}', "'extends' = 'a': unknown key here; it belongs in a configuration"),
        ('{"lr": 1}', "'lr' = 1: unknown key here; it belongs in 'base_config' of a configuration"),
        ('{"configurations": [3]}', "expected an object in { }"),
        ('{"name": ' + 5000 * "[" + 5000 * "]" + "}", "more than 100 levels of objects and lists"),
        ('{"name": ' + 500 * "[" + 500 * "]" + "}", "more than 100 levels of objects and lists"),
        ('{"name": ' + 5000 * "1" + "}", "plan.json: Exceeds the limit"),
        (
            r'{"configurations": [{"id": "\ud800"}]}',
            "plan.json: 'configurations[0].id' holds half "
            "of a character (a lone surrogate), which is no text; write the character out",
        ),
        ('\N{ZERO WIDTH NO-BREAK SPACE}{"name": "x"}', "'configurations': this key is required"),
        ('{"a": 1,\n"name": "\udcff"}', "plan.json: line 2 is not UTF-8 (byte 0xff)"),
    ],
)
def test_malformed_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError) as caught:
        load_plan(path, EXPERIMENTS)
    assert message in str(caught.value)


def test_a_forgotten_experiment_is_one_problem_and_says_which_was_meant(tmp_path: Path) -> None:
    base = {"tokenizer": {}, "datapool": {}, "alg": {}, "train_evaluation": {}, "lr": 1}
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"configurations": [{"base_config": base}, {"base_config": {}}]}))
    with pytest.raises(UserError) as caught:
        load_plan(path, EXPERIMENTS)
    assert str(caught.value) == (
        "plan.json, configurations[0]:\n"
        "  'experiment': is not given, so 'sft_vs_rft' was taken, which does not know 'alg', "
        "'datapool', 'tokenizer', 'train_evaluation'; most of the keys belong to 'grue_finetune': "
        'add "experiment": "grue_finetune"'
    )


def test_an_experiment_in_the_base_config_is_told_where_it_belongs(tmp_path: Path) -> None:
    base = {"experiment": "grue_finetune", "tokenizer": {}, "alg": {}}
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"configurations": [{"base_config": base}]}))
    with pytest.raises(UserError) as caught:
        load_plan(path, EXPERIMENTS)
    assert str(caught.value).splitlines()[1:] == [
        "  'experiment' = 'grue_finetune': is inside 'base_config'; write it next to 'base_config'"
    ]


def test_an_input_that_is_there_and_cannot_be_read_is_told_so(tmp_path: Path) -> None:
    loop = tmp_path / "last.pt"
    loop.symlink_to(loop)
    base = {"load_model_from_checkpoint": str(loop)}
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"configurations": [{"base_config": base}]}))
    with pytest.raises(UserError, match=r"cannot be read: .*last\.pt: Too many levels of symbolic"):
        load_plan(path, EXPERIMENTS)


@pytest.mark.parametrize("written", [{"lrr": 1}, {"tokenizer": {}, "lr": 1, "epochs": 2}])
def test_a_plan_most_of_whose_keys_fit_forgot_none(tmp_path: Path, written: dict[str, Any]) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"configurations": [{"base_config": written}]}))
    with pytest.raises(UserError, match="unknown key"):
        load_plan(path, EXPERIMENTS)
