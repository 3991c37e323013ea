"""Mutated plans, as JSON and as YAML: keys and values that are wrong in every way."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

Place = tuple[Any, Any]
"""An object or list of a document, and a key or position in it."""

_NESTED: Any = []
for _ in range(120):
    _NESTED = [_NESTED]

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3.5, -0.0, 1e308, float("nan"), float("inf"), 2**63, -(10**30),
    10**400, "", " ", "a", "1", "1e-6", "NaN", "None", "a.b", "\0", "é", "\u202e", "\ud800",
    "x" * 300, "x" * 100_000, ".", "..", "/", "~", "~nobody/x", "$HOME", "C:\\x", "../" * 40,
    "/dev/zero", "/dev/stdin", "/dev/null/x", "/proc/self/mem", "fuzz.json", "fuzz.yml",
    "@", "@@", "@x", "@x.y", "@.checkpoint", "@pretrain.checkpoint", "@sft.model", "@finetune.x.y",
    "{", "}", "{}", "{{}}", "{0}", "{lr}", "{nope}", "{experiment_name}", "{lr:>99999999}",
    "{lr!r}", "{lr.real}", "custom:", "custom:json", "custom:json:loads", "custom:nope.py:x",
    "custom:../x.py:y", "custom:os:environ", "custom::", "local", "slurm", "ray", "ppo",
    "supervised", "sft_vs_rft", "grue_finetune", "linear_theory", "controlled_curves",
    "hub/none", "cuda:0", "0,1", "(a+)+$", "[", "\\", "'", '"', "#", "a: b", "- a", "%", "\n", "\t",
    [], [[]], [None], [1, "a"], [True, 1, 1.0], ["a", "a"], [1] * 50, _NESTED,
    {}, {"": 1}, {"a": None}, {"a.b": 1}, {"a..b": 1}, {".": 1}, {"id": None}, {"id": "ppo"},
    {"id": "custom:json:loads", "args": {}}, {"from": "x"}, {"from": "fuzz.json"}, {"from": None},
    {"from": "/dev/zero"}, {"figure": "x"}, {"figure": "controlled_curves", "x": []},
    {"id": "slurm", "setup": "x"}, {"seeds": [1]}, {"extends": "x"}, {"configurations": []},
)  # fmt: skip
KEYS = (
    "", " ", "id", "from", "seeds", "options", "base_config", "configurations", "extends", "set",
    "experiment", "figures", "repetitions", "skip", "num_parallel", "multiprocess", "gpu_ids_pool",
    "gpus_per_run", "executor", "resources", "timeout_minutes", "max_attempts", "vectorize",
    "experiment_name", "outputs_dir", "random_seed", "alg", "alg.id", "alg.args", "alg.policy.init",
    "lr", "epochs", "epoch", "datapool", "reward_fn", "env.args", "train_evaluation.metrics",
    "__class__", "model_config", "a" * 5000, "é", "\0", "$schema", "name",
)  # fmt: skip
_TAGS = (
    "!!python/object/apply:os.system ", "!!python/name:os.system ", "!!python/tuple ", "!!binary ",
    "!!int ", "!!float ", "!!bool ", "!!null ", "!!set ", "!!omap ", "!!pairs ", "!!timestamp ",
    "!!str ", "!!seq ", "!!map ", "!!merge ", "!!value ", "!x ", "!<> ", "! ", "&a ", "*a ", "*b #",
    "&a {x: *a} #", "&a [*a] #", "<<: *a", "{<<: *a} #", "{<<: [*a, *a]} #", "? ", "| ", "> ",
    "--- ", "... ", "%YAML 9.9\n", "=", "0o17 #", "0x1f #", "1_000 #", "190:20:30 #",
    "2001-01-01 #", "2001-99-99 #", ".inf #", "-.nan #", "~ #", "yes #", "1e5 #", "true, #", "\t",
)  # fmt: skip
_BOMB = "&{0} [" + ", ".join(["*{1}"] * 9) + "]"


@st.composite
def plans(draw: st.DrawFn, bases: Mapping[Path, dict[str, Any]]) -> tuple[Path, bytes]:
    """The path and the content of a plan: one of ``bases``, changed in places, beside its file."""
    base = draw(st.sampled_from(list(bases)))
    document = copy.deepcopy(bases[base])
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2, 3, 4]))):
        draw(st.sampled_from(_CHANGES))(draw, document)
    suffix = draw(st.sampled_from(["json", "yml"]))
    text = _as_yaml(draw, document) if suffix == "yml" else _as_json(draw, document)
    for _ in range(draw(st.sampled_from([0] * 6 + [1, 2]))):
        text = _with_other_text(draw, text)
    content = text.encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 30)) == 30:
        place = draw(st.integers(0, len(content)))
        content = content[:place] + draw(st.binary(max_size=3)) + content[place:]
    return base.with_name(f"fuzz.{suffix}"), content


def _places(value: Any) -> list[Place]:
    """Every place in the document where a value stands."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found: list[Place] = []
    for key, item in list(inner):
        found.append((value, key))
        if isinstance(item, (dict, list)):
            found += _places(item)
    return found


def _set(draw: st.DrawFn, document: Any) -> None:
    places = _places(document)
    if places:
        holder, key = draw(st.sampled_from(places))
        holder[key] = copy.deepcopy(draw(st.sampled_from(VALUES)))


def _nudge(draw: st.DrawFn, document: Any) -> None:
    """Puts another value of the same type where a number, text, or true or false stands."""
    places = [(h, k) for h, k in _places(document) if isinstance(h[k], (bool, int, float, str))]
    if places:
        holder, key = draw(st.sampled_from(places))
        value = holder[key]
        others = {type(h[k]): [] for h, k in places}
        for other, place in places:
            others[type(other[place])].append(other[place])
        near = [] if isinstance(value, (bool, str)) else [value + 1, value - 1, 10 * value, -value]
        holder[key] = draw(st.sampled_from([*others[type(value)], *near]))


def _delete(draw: st.DrawFn, document: Any) -> None:
    places = _places(document)
    if places:
        holder, key = draw(st.sampled_from(places))
        del holder[key]


def _add(draw: st.DrawFn, document: Any) -> None:
    holders = [holder for holder, _ in _places(document) if isinstance(holder, dict)]
    holder = draw(st.sampled_from([document, *holders]))
    holder[draw(st.sampled_from(KEYS))] = copy.deepcopy(draw(st.sampled_from(VALUES)))


def _rename(draw: st.DrawFn, document: Any) -> None:
    places = [place for place in _places(document) if isinstance(place[0], dict)]
    if places:
        holder, key = draw(st.sampled_from(places))
        new = draw(st.sampled_from([*KEYS, f"{key}s", key[:-1], key.upper(), f"{key}.{key}"]))
        holder[new] = holder.pop(key)


def _copy(draw: st.DrawFn, document: Any) -> None:
    places = _places(document)
    if places:
        (one, key), (other, place) = draw(st.tuples(*[st.sampled_from(places)] * 2))
        other[place] = copy.deepcopy(one[key])


def _wrap(draw: st.DrawFn, document: Any) -> None:
    places = _places(document)
    if places:
        holder, key = draw(st.sampled_from(places))
        value = holder[key]
        holder[key] = draw(st.sampled_from([[value], [value, value], {"a": value}, str(value)]))


_CHANGES: tuple[Callable[[st.DrawFn, Any], None], ...] = (_set, _set, _add, _nudge, _nudge, _delete,
                                                          _rename, _copy, _wrap)  # fmt: skip


def _as_json(draw: st.DrawFn, document: Any) -> str:
    return json.dumps(document, ensure_ascii=draw(st.booleans()), indent=2)


def _as_yaml(draw: st.DrawFn, document: Any) -> str:
    """The document as YAML, with anchors, aliases, tags and bombs of aliases."""
    try:
        text: str = yaml.dump(document, default_flow_style=draw(st.sampled_from([False, None])))
    except yaml.YAMLError:
        text = json.dumps(document)
    if draw(st.integers(0, 9)) == 0:
        levels = draw(st.integers(1, 12))
        bomb = ["&b0 [a, a]", *(_BOMB.format(f"b{n}", f"b{n - 1}") for n in range(1, levels + 1))]
        text = f"bombs: [{', '.join(bomb)}]\n{text}"
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        ends = [place + 2 for place in range(len(text)) if text.startswith(": ", place)]
        if ends:
            place = draw(st.sampled_from(ends))
            text = text[:place] + draw(st.sampled_from(_TAGS)) + text[place:]
    return text


def _with_other_text(draw: st.DrawFn, text: str) -> str:
    """The text with a part cut, repeated, or put in."""
    start, end = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
    end = min(end, start + draw(st.integers(0, 40)))
    signs = st.sampled_from(['"', "{", "}", "[", "]", ",", ":", "\n", "\\ud800"])
    twice = st.just(2 * text[start:end])
    inserted = draw(st.one_of(st.just(""), twice, st.text(max_size=4), signs))
    return text[:start] + inserted + text[end:]
