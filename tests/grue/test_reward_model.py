"""The reward model experiment: it learns by every loss, resumes, is normalised, and is a reward."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

from common.config.resolve import resolve
from common.errors import Interrupted, UserError
from common.experiment import Context
from common.run.folder import RunFolder, read_json, read_json_lines
from grue.experiments.reward_model.config import RewardModelConfig
from grue.experiments.reward_model.normalization import gain_and_bias
from grue.experiments.reward_model.run import RewardModelRun
from grue.rewards.config import RewardConfig
from grue.rewards.learned_preference import LearnedPreference
from grue.scorers.options import ScorerArgs
from grue.scorers.reward_model import RewardSpec, load_reward_model
from grue.tasks.choices.rows import Choice
from tests.conftest import Workplace
from tests.grue.conftest import save_model, write
from tests.grue.judging import save_classifier, texts
from tests.grue.test_reinforcement import reinforcement
from tests.tools import imported

WORDS = ["the", "cat", "sat", "on", "mat", "a", "dog", "runs", "in", "park"]
GENERATION = {"do_sample": True, "top_k": 0, "max_new_tokens": 6}


def value(response: str) -> float:
    """The known rule: cats are liked."""
    return float(response.split().count("cat"))


def choices(count: int, num_responses: int, seed: int) -> list[Choice]:
    """Prompts with responses of different worth."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        cats = draw.sample(range(4), num_responses)
        told = [["cat"] * cat + draw.choices(WORDS[2:], k=4 - cat) for cat in cats]
        for words in told:
            draw.shuffle(words)
        responses = tuple(map(" ".join, told))
        ratings = tuple(map(value, responses))
        found.append(Choice("the dog", responses, ratings.index(max(ratings)), ratings))
    return found


def write_data(folder: Path, num_responses: int, train: int = 400) -> Path:
    """Best-of-n sets with ratings."""
    folder.mkdir(exist_ok=True)
    for stem, count, seed in (("train", train, 0), ("validation", 60, 1)):
        rows = [
            {"prompt": c.prompt, "samples": c.responses, "best": c.best, "ratings": c.ratings}
            for c in choices(count, num_responses, seed)
        ]
        (folder / f"{stem}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path_factory.mktemp("base"), tokenizer)


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    folder = tmp_path_factory.mktemp("data")
    return {n: write_data(folder / str(n), n) for n in (2, 4)}


def configuration(model: Path, data: Path, loss: str, **keys: Any) -> dict[str, Any]:
    alg = {
        "model_name": str(model),
        "loss": {"id": loss},
        "training_args": {"learning_rate": 0.01, "num_train_epochs": 4, "logging_steps": 25,
                          "per_device_train_batch_size": 16, "adam_epsilon": 1e-5,
                          "max_grad_norm": 0},
    }  # fmt: skip
    return {
        "tokenizer": {"model_name": str(model)},
        "datapool": {"id": "preferences", "args": {"path": str(data)}},
        "alg": alg | keys.pop("alg", {}),
        "random_seed": 3,
        **keys,
    }


def reference(model: Path, **keys: Any) -> dict[str, Any]:
    return {"model_name": str(model), "generation_kwargs": GENERATION, "num_samples": 80, **keys}


def run_of(
    path: Path, keys: dict[str, Any], stop: Callable[[], bool] = lambda: False
) -> RewardModelRun:
    config, problems = resolve(RewardModelConfig, keys)
    assert config is not None, [str(problem) for problem in problems]
    path.mkdir(exist_ok=True)
    return RewardModelRun(config, Context(RunFolder(path), seed=3, stop_requested=stop)).set_up()


def reward(model: Path, **args: Any) -> LearnedPreference:
    found: LearnedPreference = RewardConfig(
        id="learned_preference", args={"model_name": str(model), **args}
    ).build()
    found.prepare()
    return found


@pytest.fixture(scope="module")
def trained(base: Path, sets: dict[int, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A normalised 4-way reward model."""
    torch.set_num_threads(1)  # as in the tests, so that sums are the same
    folder = tmp_path_factory.mktemp("trained")
    keys = configuration(base, sets[4], "best_of_n", normalize=reference(base))
    assert run_of(folder, keys).proceed() >= 0.9  # type: ignore[operator]
    return folder


def test_the_best_of_four_is_learned(trained: Path) -> None:
    rows = read_json_lines(trained / "metrics.jsonl")
    assert rows[0]["step"] == 0 and rows[0]["val/accuracy"] < 0.6
    assert rows[-1]["val/accuracy"] >= 0.9
    assert rows[-1]["val/loss"] < 0.4 < rows[0]["val/loss"]
    measured = [row for row in rows if "val/loss" in row]
    assert [row["step"] for row in measured] == [0, 25, 50, 75, 100]
    assert all({"val/calibration_error", "val/reward_std/per_input_mean"} <= set(row)
               for row in measured)  # fmt: skip
    assert read_json(trained / "summary.json")["score"] == rows[-1]["val/accuracy"]


@pytest.mark.parametrize(
    ("loss", "alg"),
    [
        ("pairwise", {"loss": {"id": "pairwise", "margin": "broadcast", "centring": 0.01}}),
        ("scalar_compare", {}),
        ("scalar_rating", {}),
        ("probabilistic", {}),
    ],
)
def test_every_loss_learns(
    base: Path, sets: dict[int, Path], tmp_path: Path, loss: str, alg: dict[str, Any]
) -> None:
    score = run_of(tmp_path / "run", configuration(base, sets[2], loss, alg=alg)).proceed()
    assert score is not None and score >= 0.85
    found = reward(tmp_path / "run/model")
    held_out = [response for choice in choices(60, 2, seed=1) for response in choice.responses]
    outputs = texts(held_out, prompts=["the dog"] * len(held_out))
    rewards, truth = found(outputs), np.array(list(map(value, held_out)))
    assert np.corrcoef(rewards, truth)[0, 1] > 0.8
    if loss == "scalar_rating":
        assert np.abs(rewards - truth).mean() < 0.5
    if loss == "probabilistic":
        means, stds = found.mean_and_std(outputs)
        assert means.tolist() == rewards.tolist() and (stds > 0).all()
        assert 1 <= means.min() < means.max() <= 10
        metric = found.metric.scores(outputs)
        assert set(metric) == {"semantic/learned_preference", "semantic/learned_preference_std"}
    else:
        with pytest.raises(UserError, match=r"gives a score without a std; train .* 'probabilisti"):
            found.mean_and_std(outputs)


def test_normalisation_gives_reference_outputs_mean_0_and_std_1(
    trained: Path, base: Path, sets: dict[int, Path], tmp_path: Path
) -> None:
    again = run_of(tmp_path, configuration(base, sets[4], "best_of_n", normalize=reference(base)))
    prompts, outputs = again._reference_outputs
    assert len(outputs) == 80 and len(set(outputs)) > 70
    rewards = reward(trained / "model")(texts(outputs, prompts=prompts))
    assert rewards.mean() == pytest.approx(0, abs=1e-5)
    assert rewards.std() == pytest.approx(1, abs=1e-5)
    known = read_json(trained / "summary.json")["normalization"]
    assert set(known) == {"before", "after"}
    for moment in known.values():
        assert moment["gain"] == pytest.approx(1 / moment["std"])
        assert moment["bias"] == pytest.approx(-moment["mean"] / moment["std"])
    again._normalize("before", 0.5, 2.0)
    before = again._reward_model().moments(prompts, outputs)[0]
    assert (before.mean(), before.std()) == pytest.approx((0.5, 2.0), abs=1e-5)


def test_rewards_are_normalised_on_queries_of_another_task(
    workplace: Workplace, base: Path, sets: dict[int, Path]
) -> None:
    file = workplace.path / "books.txt"
    file.write_text("one. the dog runs. and\nno stop\ntwo. the cat sat. and")
    args = {"path": str(file), "tokenizer": str(base), "num_held_out": 0}
    around = {"datapool": {"id": "books", "args": args}, "prompt_suffix": " the"}
    keys = configuration(base, sets[4], "best_of_n", normalize=reference(base, **around))
    prompts, outputs = run_of(workplace.path / "run", keys)._reference_outputs
    assert len(outputs) == 80
    assert {prompt: prompts.count(prompt) for prompt in prompts} == {
        " the dog runs.": 40, " the cat sat.": 40
    }  # fmt: skip
    file.write_text("no stop")
    assert "gives no queries for the split 'train'" in refused(workplace, keys)


def test_labels_give_the_scale_before_training(
    base: Path, sets: dict[int, Path], tmp_path: Path
) -> None:
    keys = configuration(base, sets[2], "scalar_rating", normalize=reference(base, after=False))
    run = run_of(tmp_path, keys)
    targets = run.data["train"].targets
    assert run.objective.scale(targets) == pytest.approx((targets.mean(), targets.std()))
    compared = configuration(base, sets[2], "scalar_compare")
    run = run_of(tmp_path, compared)
    differences = run.data["train"].targets
    assert run.objective.scale(differences) == pytest.approx(
        (differences.mean() / 2, differences.std() / 2)
    )


@pytest.mark.parametrize("reward", [2.0, 0.1, -7e-9])
def test_rewards_that_rounding_alone_tells_apart_have_no_scale(reward: float) -> None:
    near = float(np.nextafter(np.float32(reward), np.float32(9)))
    for rewards in ([reward] * 21, [reward] * 20 + [near]):
        with pytest.raises(UserError, match=f"have rewards of mean {reward:g} and standard dev"):
            gain_and_bias(np.array(rewards))
    gain, bias = gain_and_bias(reward * np.array([1.0, 1.001]))
    assert gain * reward * np.array([1.0, 1.001]) + bias == pytest.approx(
        np.sign(reward) * np.array([-1.0, 1.0])
    )


def weights(folder: Path) -> dict[str, np.ndarray]:
    found = load_file(folder / "model" / "model.safetensors")
    return {name: value.numpy() for name, value in found.items()}


def test_an_interrupted_run_ends_as_a_whole_one(
    trained: Path, base: Path, sets: dict[int, Path], tmp_path: Path
) -> None:
    asked = iter(range(1000))
    keys = configuration(base, sets[4], "best_of_n", normalize=reference(base))
    with pytest.raises(Interrupted, match="step 29 of 100"):
        run_of(tmp_path, keys, lambda: next(asked) >= 28).proceed()
    assert not (tmp_path / "model").exists()
    run_of(tmp_path, keys).proceed()
    whole, resumed = weights(trained), weights(tmp_path)
    for name, found in whole.items():
        np.testing.assert_array_equal(found, resumed[name], err_msg=name)
    for file in ("model/reward_model.json", "summary.json"):
        assert (trained / file).read_text() == (tmp_path / file).read_text()
    kept = [
        [{k: v for k, v in row.items() if "second" not in k} for row in read_json_lines(path)]
        for path in (trained / "metrics.jsonl", tmp_path / "metrics.jsonl")
    ]
    assert kept[0] == kept[1]


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_heads_begin_as_told(kind: str, base: Path, sets: dict[int, Path], tmp_path: Path) -> None:
    model = base if kind == "gpt2" else save_classifier(tmp_path / "bert", num_labels=3)
    run = run_of(tmp_path / "run", configuration(model, sets[4], "best_of_n"))
    before = load_file(model / "model.safetensors")
    trunk = run.module.model.state_dict()
    head = trunk["score.weight" if kind == "gpt2" else "classifier.weight"]
    assert head.shape == (1, 32)
    assert float(head.std()) == pytest.approx(33**-0.5, rel=0.35)
    kept = [name for name in before if name in trunk and not name.startswith("classifier.")]
    assert len(kept) > 10 and all(torch.equal(before[name], trunk[name]) for name in kept)
    dropouts = [m.p for m in run.module.modules() if isinstance(m, torch.nn.Dropout)]
    assert dropouts and set(dropouts) == {0.0}
    assert run.module.scale() == (1, 0)
    if kind == "bert":
        assert trunk["classifier.bias"].tolist() == [0]


def test_adapters_are_merged_into_the_saved_model(
    base: Path, sets: dict[int, Path], tmp_path: Path
) -> None:
    imported("peft")
    lora = {"r": 4, "target_modules": ["c_attn"]}
    keys = configuration(base, sets[4], "best_of_n",
                         alg={"lora": lora, "training_args": {"max_steps": 4,
                                                              "learning_rate": 0.01}})  # fmt: skip
    run = run_of(tmp_path / "run", keys)
    trained = {name for name, value in run.module.named_parameters() if value.requires_grad}
    assert {"gain", "bias"} <= trained
    assert all(name in ("gain", "bias") or "lora_" in name or "score" in name for name in trained)
    run.proceed()
    logits = run.classifier.logits(["the dog cat cat", "the dog runs"])
    saved = AutoModelForSequenceClassification.from_pretrained(tmp_path / "run/model")
    assert not any("lora" in name for name in saved.state_dict())
    found = reward(tmp_path / "run/model")(texts(["cat cat", "runs"], prompts=["the dog"] * 2))
    gain, bias = run.module.scale()
    np.testing.assert_allclose(found, gain * logits[:, 0] + bias, rtol=0, atol=1e-5)
    before = load_file(base / "model.safetensors")
    name = "transformer.h.0.attn.c_attn.weight"
    assert not torch.equal(saved.state_dict()[name], before[name])


def test_long_texts_are_cut_or_dropped(
    base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = write_data(tmp_path / "data", 2, train=6)
    long = {"prompt": "cat " * 100, "samples": ["a", "b"], "best": 0}
    short_rows = (data / "train.jsonl").read_text()
    (data / "train.jsonl").write_text(json.dumps(long) + "\n" + short_rows)
    pairs = {"loss": {"id": "pairwise", "margin": "none"}}
    whole = run_of(tmp_path / "a", configuration(base, data, "pairwise", alg=pairs))
    assert len(whole.data["train"]) == 7 and len(whole.data["train"].texts) == 14
    assert "2 of 14 texts of 'train' are longer than " in caplog.text
    assert "texts of 'val'" not in caplog.text
    short = run_of(
        tmp_path / "b", configuration(base, data, "pairwise", alg=pairs, too_long="drop")
    )
    kept = short.data["train"]
    assert kept.texts == whole.data["train"].texts[2:]
    assert kept.responses.tolist() == (whole.data["train"].responses[1:] - 2).tolist()
    (data / "train.jsonl").write_text(json.dumps(long) + "\n")
    with pytest.raises(UserError, match="the split 'train' has no examples that are short enough"):
        run_of(tmp_path / "c", configuration(base, data, "pairwise", alg=pairs, too_long="drop"))


def test_the_judge_reads_prompts_without_what_is_for_the_policy_alone(trained: Path) -> None:
    plain = reward(trained / "model")(texts(["cat"], prompts=["the dog"]))
    around = {"prompt_prefix": "Article: ", "prompt_suffix": " TL;DR:"}
    prompts = ["Article: the dog TL;DR:"]
    found = reward(trained / "model", **around)(texts(["cat"], prompts=prompts))
    assert found == plain != reward(trained / "model")(texts(["cat"], prompts=prompts))


@pytest.mark.parametrize(
    ("prompt", "response", "text"),
    [("a", "b", "a-b"), ("a ", "b", "a b"), ("a", "\nb", "a\nb"), ("", "b", "b"), ("a", "", "a")],
)
def test_prompt_and_response_are_joined_once(prompt: str, response: str, text: str) -> None:
    assert RewardSpec(separator="-").text(prompt, response) == text


def test_gain_and_bias_move_a_rating_and_scale_its_std(tmp_path: Path) -> None:
    model = load_reward_model(str(save_classifier(tmp_path, num_labels=10)), "name",
                              ScorerArgs(), "ratings")  # fmt: skip
    model.spec = replace(model.spec, gain=-2.0, bias=1.0)
    (mean,), (std,) = model.moments_of_logits(np.zeros((1, 10)))
    assert (mean, std) == pytest.approx((1 - 2 * 5.5, 2 * 2.872281), abs=1e-6)


def test_models_of_another_kind_are_refused(trained: Path, tmp_path: Path) -> None:
    plain = save_classifier(tmp_path / "plain", num_labels=1)
    with pytest.raises(UserError, match=r"is no reward model, for it has no reward_model.json; na"):
        reward(plain)
    assert np.isfinite(reward(plain, output="score")(texts(["cat"]))).all()
    with pytest.raises(UserError, match="has 1 logit, but its output is 'ratings', which needs on"):
        reward(plain, output="ratings")
    three = save_classifier(tmp_path / "three", num_labels=3)
    with pytest.raises(UserError, match="has 3 logits, but its output is 'score', which needs one"):
        reward(three, output="score")
    stds = reward(three, output="ratings").mean_and_std(texts(["cat", "dog"]))[1]
    assert (stds > 0).all()
    with pytest.raises(UserError, match=r"'sigmoid' = true: .* gives the distribution of a rating"):
        reward(three, output="ratings", sigmoid=True)(texts(["cat"]))
    (three / "reward_model.json").write_text('{"gains": 1}')
    with pytest.raises(UserError, match=r"its reward_model.json cannot be read: .*'gains'"):
        reward(three)
    with pytest.raises(UserError, match="no such folder"):
        reward(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"cannot be read: .*; name the folder 'model' in it"):
        reward(trained)
    score = reward(trained / "model")(texts(["cat", "dog"]))
    squashed = reward(trained / "model", sigmoid=True)(texts(["cat", "dog"]))
    np.testing.assert_allclose(squashed, 1 / (1 + np.exp(-score)), rtol=0, atol=1e-12)


def refused(workplace: Workplace, keys: dict[str, Any]) -> str:
    plan = {"experiment": "reward_model", "base_config": keys}
    outcome = workplace.run_plan(workplace.write_plan(configurations=[plan]))
    assert outcome.status == 2, outcome
    return outcome.err


def test_what_does_not_fit_is_told_before_the_run(
    workplace: Workplace, base: Path, sets: dict[int, Path], data_dir: Path
) -> None:
    pairs = data_dir / "preferences/dpo_en_demo.jsonl"
    assert "sample 'train_0' has no ratings for the margin of 'alg.loss'; set" in refused(
        workplace, configuration(base, pairs, "pairwise")
    )
    assert "has no ratings, which the loss 'scalar_rating' learns" in refused(
        workplace, configuration(base, pairs, "scalar_rating")
    )
    assert "has 4 responses; the loss 'scalar_compare' needs two" in refused(
        workplace, configuration(base, sets[4], "scalar_compare")
    )
    keys = configuration(base, sets[2], "probabilistic", normalize=reference(base))
    assert "'normalize.before' = true: must be false: the loss 'probabilistic'" in refused(
        workplace, keys
    )
    chat = configuration(base, sets[2], "pairwise")
    chat["datapool"]["args"] |= {"chat_template": True}
    assert "'datapool.args.chat_template' = true: a reward model is trained on prompts as" in (
        refused(workplace, chat)
    )
    (workplace.path / "one.jsonl").write_text((sets[2] / "train.jsonl").read_text())
    err = refused(workplace, configuration(base, workplace.path / "one.jsonl", "pairwise"))
    assert "the split 'val' has no samples; set 'datapool.args.held_out' above 0" in err
    (workplace.path / "broken.jsonl").write_text('{"prompt": "p"}\n')
    err = refused(workplace, configuration(base, workplace.path / "broken.jsonl", "pairwise"))
    assert err.count("line 1: needs a prompt with") == 1
    args = {"training_args": {"learning_rat": 1}}
    assert "'alg.training_args.learning_rat' = 1: unknown key" in refused(
        workplace, configuration(base, sets[2], "pairwise", alg=args)
    )
    (workplace.path / "empty").mkdir()
    (workplace.path / "empty/config.json").write_text((base / "config.json").read_text())
    keys = configuration(base, sets[2], "pairwise", alg={"model_name": "empty"})
    assert (
        "'alg.model_name' = 'empty': the folder holds no weights; set alg.init=random"
        in refused(workplace, keys)
    )
    task = {"datapool": {"id": "word_game"}}
    keys = configuration(base, sets[2], "best_of_n") | task
    plan = {"experiment": "reward_model", "base_config": keys}
    outcome = workplace.run_plan(workplace.write_plan(configurations=[plan]))
    assert outcome.status == 2 and "has no 'responses' in its metadata" in outcome.err


def test_real_pairs_are_learned_from(base: Path, data_dir: Path, tmp_path: Path) -> None:
    keys = configuration(
        base, data_dir / "preferences/dpo_en_demo.jsonl", "pairwise",
        alg={"loss": {"id": "pairwise", "margin": "none"},
             "training_args": {"max_steps": 2}},
    )  # fmt: skip
    keys["datapool"] = {"id": "preferences", "num_train_samples": 16,
                        "args": {**keys["datapool"]["args"], "held_out": 0.1}}  # fmt: skip
    keys["tokenizer"]["max_length"] = 32
    score = run_of(tmp_path, keys).proceed()
    assert score is not None and 0 <= score <= 1


def test_a_plan_optimises_a_reward_model_with_another_tokenizer(
    workplace: Workplace, base: Path, sets: dict[int, Path]
) -> None:
    """Texts are handed over: the judge's word pieces know nothing of the policy's bytes."""
    judge = save_classifier(workplace.path / "judge")
    stage = {"id": "rm", "experiment": "reward_model",
             **configuration(judge, sets[2], "probabilistic",
                             alg={"training_args": {"max_steps": 3}})}  # fmt: skip
    sampled = reinforcement(
        base, train_evaluation__n_iters=1, reward_fn__id="learned_preference",
        reward_fn__args={"model_name": "@rm.model"},
    )  # fmt: skip
    assert workplace.run_plan(write(workplace, stage, sampled)).status == 0
    folder = next(f for f in workplace.folders() if "ppo" in f.path.name)
    (rewards,) = (row["rollout_info/ep_rew"] for row in read_json_lines(folder.metrics)
                  if "rollout_info/ep_rew" in row)  # fmt: skip
    assert 1 <= rewards <= 10
