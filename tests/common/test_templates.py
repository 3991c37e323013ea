from __future__ import annotations

from pathlib import Path

import pytest

from common.plan.templates import file_name, fill, literal
from tests.common.plans import load, problems_of


def test_templates_see_values_as_the_plan_writes_them(tmp_path: Path) -> None:
    base = {"experiment_name": "lr_{lr}_wait_{pause}_{epochs}", "lr": 0, "pause": 0.5}
    text = problems_of(tmp_path, {"base_config": {**base, "lrr": 1}})
    assert "unknown key" in text
    plan = load(tmp_path, {"base_config": {**base, "lr": 1}})
    assert plan.runs[0].config.experiment_name == "lr_1_wait_0.5_100"
    assert plan.runs[0].name == "lr_1_wait_0-5_100"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{a}_{b}", "0_[1, 2]"),
        ("{a:03d}", "000"),
        ("{{a}}", "{a}"),
        ("no template", "no template"),
    ],
)
def test_fill(text: str, expected: str) -> None:
    assert fill(text, {"a": 0, "b": [1, 2]}) == expected


def test_a_literal_is_no_template() -> None:
    value = {"a": ['{"b": "{a}"}', 3], "{c}": None}
    written = literal(value)
    assert written == {"a": ['{{"b": "{{a}}"}}', 3], "{c}": None}
    assert fill(written["a"][0], {}) == value["a"][0]


def test_a_default_is_written_like_the_same_value_in_the_plan(tmp_path: Path) -> None:
    base = {"dataset": "digits", "model_type": "mlp", "experiment_name": "{mlp_hidden_layer_sizes}"}

    def name(**keys: object) -> str:
        return load(tmp_path, {"base_config": base | keys}, experiment="sft_vs_rft").runs[0].name

    assert name() == name(mlp_hidden_layer_sizes=[250, 100]) == "250-100"


def test_a_seed_that_is_not_given_is_minus_one_however_that_is_written(tmp_path: Path) -> None:
    base = {"experiment_name": "seed_{random_seed}"}
    written = [{}, {"random_seed": None}, {"random_seed": -1}]
    names = {load(tmp_path, {"base_config": base | seed}).runs[0].name for seed in written}
    assert names == {"seed_-1"}


def test_each_bad_template_has_its_own_message_beside_other_problems(tmp_path: Path) -> None:
    base = {"experiment_name": "{nmae}", "outputs_dir": "{lr:%Q}", "lr": "0.1", "start": "{"}
    text = problems_of(tmp_path, {"base_config": base})
    assert text == (
        "plan.json, configurations[0]:\n"
        "  'experiment_name' = '{nmae}': the template names an unknown key 'nmae'; a "
        "literal brace is doubled\n"
        "  'outputs_dir' = '{lr:%Q}': the template cannot format 'lr': Invalid format specifier "
        "'%Q' for object of type 'str'; a literal brace is doubled\n"
        "  'start' = '{': malformed template (Single '{' encountered in format string); a literal "
        "brace is doubled\n"
        "  'lr' = '0.1': expected a number; remove the quotes"
    )


def test_braces_deep_inside_are_told_of_their_own_key_as_they_are_written(tmp_path: Path) -> None:
    base = {"datapool": {"args": {"prompts": ["fine", 'say {"a": 1}'], "end": "}", "lr": "{lr}"}}}
    text = problems_of(tmp_path, {"base_config": {**base, "lr": 1}})
    assert [line.partition("; known:")[0] for line in text.splitlines()[1:]] == [
        "  'datapool.args.prompts[1]' = 'say {\"a\": 1}': the template names an unknown key "
        "'\"a\"'; a literal brace is doubled",
        "  'datapool.args.end' = '}': malformed template (Single '}' encountered in format "
        "string); a literal brace is doubled",
        "  'datapool' = {'args': {'prompts': ['fine', 'say {\"a\": 1}'], 'end': '}', 'lr': '1'}}: "
        "unknown key",
    ]


@pytest.mark.parametrize(
    "base",
    [
        {"experiment_name": "{experiment_name}"},
        {"experiment_name": "{outputs_dir}", "outputs_dir": "{lr}"},
        {"experiment_name": "{outputs_dir}", "outputs_dir": "a{{b}}"},
    ],
)
def test_a_template_in_a_template_is_refused(tmp_path: Path, base: dict[str, str]) -> None:
    text = problems_of(tmp_path, {"base_config": base})
    assert "which has braces itself; write it out here" in text
    assert text.count("\n") == 1


@pytest.mark.parametrize("text", ["{b}", "{a.real}", "{a[0]}", "{a!r}", "{0}", "{}", "{a:{a}}", "{",
                                  "{a:%Q}", "{a:3000000000d}", "{a:.999f}",
                                  "{a:" + 5000 * "9" + "}"])  # fmt: skip
def test_templates_may_use_own_keys_and_nothing_else(text: str) -> None:
    with pytest.raises(ValueError, match="template"):
        fill(text, {"a": 0})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lr_0.001", "lr_0-001"),
        ("[250, 100]", "250-100"),
        ("a/b:c*?", "a-b-c--"),
        ("../x", "---x"),
        ("extract_@pretrain.model", "extract_pretrain-model"),
        ("extract_/data/gpt2", "extract_data-gpt2"),
        ("", "exp"),
        ("é" * 200, "é" * 75),
    ],
)
def test_names_are_safe_as_file_names(text: str, expected: str) -> None:
    assert file_name(text) == expected
