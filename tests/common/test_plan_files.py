"""Plans in YAML, files that hold the keys of one run, and base configs that begin with a file."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from common.experiment import EXPERIMENTS
from common.files.yaml import parse_yaml
from common.key_paths import merged
from common.plan.load import load_plan
from common.plan.sweep import axes
from common.plan.templates import fill
from tests.common.plans import load, problems_of, values, whole_base
from tests.conftest import TOY


def _aliases_of_aliases(levels: int) -> str:
    """A few lines that mean 9 to the power of ``levels`` values."""
    lines = [f"b{n}: &b{n} [{', '.join([f'*b{n - 1}'] * 9)}]" for n in range(1, levels + 1)]
    return "\n".join(["b0: &b0 [1]", *lines])


def test_a_plan_may_be_yaml(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(f"""
experiment: "{TOY}"
configurations:
  - base_config: {{epochs: 3, experiment_name: "lr_{{lr}}"}}
    options: {{lr: [0.5, 1]}}
""")
    plan = load_plan(path, EXPERIMENTS)
    assert [run.name for run in plan.runs] == ["lr_0-5", "lr_1"]
    written = load(tmp_path, *plan.effective["configurations"])
    assert [run.fingerprint for run in plan.runs] == [run.fingerprint for run in written.runs]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\n b: [", "plan.yml, line 2, column 3: not valid YAML: mapping values are not"),
        ("a: 1\nb: 2\na: 3", "plan.yml, line 3, column 1: 'a' is repeated; keep one of them"),
        ("a: {b: 1, b: 1}", "plan.yml, line 1, column 11: 'b' is repeated"),
        ("a: @x", "line 1, column 4: not valid YAML: while scanning for the next token, found"),
        ("a: {1: 2}", "plan.yml, line 1, column 5: a key must be text; put it in quotes"),
        ("a: {yes: 2}", "a key must be text"),
        ("a: !!python/object:x.Y {}", "could not determine a constructor for the tag"),
        ("a: \x01", "plan.yml: not valid YAML: unacceptable character #x0001"),
        ("&a [*a]", "plan.yml: more than 100 levels of objects and lists"),
        ("a: " + 500 * "[" + 500 * "]", "plan.yml: more than 100 levels of objects and lists"),
        ("a: !!int x", "plan.yml, line 1, column 4: not a value of the tag !!int"),
        ("a: !!bool x", "plan.yml, line 1, column 4: not a value of the tag !!bool"),
        ("a: !!timestamp x", "plan.yml, line 1, column 4: not a value of the tag !!timestamp"),
        ("a: !!map [1]", "plan.yml, line 1, column 4: expected an object of keys"),
        (_aliases_of_aliases(12), "plan.yml: more than 1,000,000 values, those of aliases"),
        ("- a", "plan.yml: expected an object"),
        ("", "plan.yml: expected an object"),
        ("name: x", "'configurations': this key is required"),
    ],
)
def test_malformed_yaml(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "plan.yml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_plan(path, EXPERIMENTS)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "meaning", "warning"),
    [
        ("1e-6", 1e-6, "f.yml, line 1, column 4: '1e-6' is text in YAML; it is read as the number"),
        ("-2.5E3", -2500.0, "'-2.5E3' is text in YAML"),
        ("True,", True, "f.yml, line 1, column 4: 'True,' is text in YAML; it is read as true"),
        ("false,", False, "'false,' is text in YAML; it is read as false"),
        ("'1e-6'", "1e-6", ""),
        ('"True,"', "True,", ""),
        ("1.0e-6", 1e-6, ""),
        ("1e", "1e", ""),
        ("e5", "e5", ""),
        ("True, false", "True, false", ""),
        ("2024-01-02", "2024-01-02", ""),
        ("True", True, ""),
        ("null", None, ""),
    ],
)
def test_what_yaml_takes_for_text_is_read_as_it_was_meant(
    text: str, meaning: Any, warning: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = parse_yaml(f"a: {text}", "f.yml")
    assert found == {"a": meaning}
    assert type(found["a"]) is type(meaning)
    assert len(caplog.messages) == bool(warning)
    assert warning in caplog.text


def test_yaml_anchors_and_merges() -> None:
    text = "base: &b {x: 1, y: 2}\nown: {<<: *b, y: 3}"
    assert parse_yaml(text, "f.yml")["own"] == {"x": 1, "y": 3}


def test_changes_are_merged_deeply_and_may_be_dotted() -> None:
    base = {"a": {"b": {"c": 1, "d": [1, 2]}, "e": 2}, "f": 3}
    before = json.dumps(base)
    changes = {"a.b.c": 5, "a": {"b.d": [3], "g": {"h.i": 6}}, "f": {"j": 7}}
    assert merged(base, changes) == {
        "a": {"b": {"c": 5, "d": [3]}, "e": 2, "g": {"h": {"i": 6}}},
        "f": {"j": 7},
    }
    assert json.dumps(base) == before
    assert merged({"a": {"b": 1}}, {"a": {}}) == {"a": {"b": 1}}


@pytest.mark.parametrize("suffix", ["json", "yml"])
def test_a_base_config_begins_with_a_file_beside_the_plan(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "bases").mkdir()
    (tmp_path / f"bases/toy.{suffix}").write_text('{"epochs": 3, "lr": 0.5}')
    base = {"from": f"bases/toy.{suffix}", "lr": 2.0}
    plan = load(tmp_path, {"base_config": base, "options": {"random_seed": [1, 2]}})
    assert values(plan, "epochs", "lr", "random_seed") == [(3, 2.0, 1), (3, 2.0, 2)]
    (content,) = plan.effective["configurations"]
    assert content["base_config"] == {"epochs": 3, "lr": 2.0}


def test_files_begin_with_files_and_with_plans_of_one_configuration(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("x: {y: 1, z: 2}\nlist: [1, 2]")
    (tmp_path / "sub").mkdir()
    configuration = {"base_config": {"from": "../a.yml", "x.y": 5, "list": [3]}}
    (tmp_path / "sub/b.json").write_text(json.dumps({"configurations": [configuration]}))
    found = whole_base({"from": "sub/b.json", "x": {"w": 9}}, tmp_path)
    assert found == {"x": {"y": 5, "z": 2, "w": 9}, "list": [3]}


@pytest.mark.parametrize(
    ("files", "name", "message"),
    [
        ({}, "none.yml", "'base_config.from' = 'none.yml': no such file beside the one that names"),
        ({}, 3, "'base_config.from' = 3: expected the path of a file, in quotes"),
        ({}, "x" * 300, "no such file beside the one that names it"),
        ({}, "\0", "no such file beside the one that names it"),
        ({"a.yml": "x: ["}, "a.yml", "a.yml, line 1, column 5: not valid YAML"),
        ({"a.json": '{"x": 1'}, "a.json", "a.json, line 1, column 8: not valid JSON"),
        ({"a.json": "[1]"}, "a.json", "a.json: expected an object"),
        ({"a.yml": "from: b.yml", "b.yml": "from: a.yml"}, "a.yml",
         "the files begin with each other: a.yml -> b.yml -> a.yml; break the ring"),
        ({"a.yml": "from: b.yml"}, "a.yml", "no such file beside the one that names it"),
        ({"a.yml": "configurations: [{}, {}]"}, "a.yml", "a plan of one configuration"),
        ({"a.yml": "configurations: [{base_config: {}, options: {lr: [1]}}]"}, "a.yml",
         "a plan of one configuration with nothing but 'base_config'"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_begun_with_is_the_only_problem(
    tmp_path: Path, files: dict[str, str], name: Any, message: str
) -> None:
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    text = problems_of(tmp_path, {}, {"base_config": {"from": name, "nope": 1}})
    assert text.startswith("plan.json, configurations[1]:\n  'base_config.from' = ")
    assert message in text
    assert text.count("\n") == 1


def test_an_unknown_key_of_a_base_file_is_suggested(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("epoch: 3")
    text = problems_of(tmp_path, {"base_config": {"from": "a.yml"}})
    assert text.endswith("'epoch' = 3: unknown key; did you mean 'epochs'?")


def test_an_override_takes_what_stands_in_it_out_of_the_product() -> None:
    options = {"a.b": [1, 2], "a.c.d": [3, 4], "ab": [5, 6]}
    assert axes(options, None, (), {"a.b": 0}) == axes(
        {"a.c.d": [3, 4], "ab": [5, 6]}, None, (), {}
    )
    assert axes(options, None, (), {"a": {}}) == [[{"ab": 5}, {"ab": 6}]]
    assert len(axes(options, None, (), {"a.b.c": 0})) == 3


def test_templates_may_name_dotted_paths_to_what_is_given() -> None:
    given = {"a": {"b": {"c": 1e-5}}, "d": 1.5}
    assert fill("x_{a.b.c:.0e}_{d}", given) == "x_1e-05_1.5"
    for name in ("a.b.x", "d.real", "a.b.c.real", "x.y"):
        with pytest.raises(ValueError, match=f"names an unknown key '{name}'"):
            fill(f"{{{name}}}", given)
