from __future__ import annotations

from pathlib import Path

import pandas as pd

from plots.runs import Run
from plots.variants import in_words, named_groups, names, subject, variants
from tests.plots.folders import CONFIG, text_config


def run(name: str = "run", **config) -> Run:
    return Run(Path(name), CONFIG | config, pd.DataFrame())


def test_seeds_paths_and_methods_stay_within_a_variant():
    runs = [
        run("rft", opt_method="expected_reinforce", gpu_ids=[1]),
        run("a", random_seed=1, samples_rnd_seed=2, init_rnd_seed=3, experiment_name="other"),
        run("b", load_model_from_checkpoint="x.pt", data_dir="d", outputs_dir="o"),
        run("own", opt_method="my_method", trainer_checkpoint="last.pt", use_trackio=True),
    ]
    (variant,) = variants(runs)
    assert variant.title == ""
    names = {method: [r.path.name for r in group] for method, group in variant.methods.items()}
    assert names == {"supervised": ["a", "b"], "expected_reinforce": ["rft"], "my_method": ["own"]}
    assert list(names) == ["supervised", "expected_reinforce", "my_method"]


def test_titles_say_only_what_differs():
    found = variants([run(), run(optimizer="sgd", lr=1e-2), run(random_seed=1)])
    assert [variant.title for variant in found] == ["adam, lr 1e-4", "sgd, lr 1e-2"]
    assert [len(variant.methods["supervised"]) for variant in found] == [2, 1]
    found = variants([run(), run(reward_type="labels_with_custom")])
    assert [v.title for v in found] == ["low initial reward", "high initial reward"]


def test_a_model_is_named_without_its_folder():
    for name in ("bert:/data/models/bert-mini", "bert:google/bert-mini", "bert-mini"):
        assert in_words("model_type", name) == "BERT-mini"
    assert in_words("model_type", "bert:own") == "own"


def test_close_values_make_different_titles():
    titles = [v.title for v in variants([run(lr=1e-4), run(lr=1.00000001e-4)])]
    assert titles == ["lr 1e-4", "lr 1.00000001e-4"]


def test_a_key_that_is_not_given_equals_none():
    assert len(variants([run(), run(data_path=None)])) == 1
    found = variants([run(), run(data_path="x.npz")])
    assert [variant.title for variant in found] == ["no data path", "data path x.npz"]


def test_values_in_words():
    assert in_words("lr", 0.00025) == "lr 2.5e-4"
    assert in_words("weight_decay", 0.0) == "weight decay 0"
    assert in_words("kl_regularization_coeff", 0.1) == "kl regularization coeff 0.1"
    assert in_words("mlp_hidden_layer_sizes", [250, 100]) == "mlp hidden layer sizes 250-100"
    assert in_words("kl_reg_ref_unif", True) == "kl reg ref unif"
    assert in_words("kl_reg_ref_unif", False) == "no kl reg ref unif"
    assert in_words("num_labels_per_sample", 0) == "num labels per sample 0"


def test_subject_says_what_all_runs_share():
    assert subject([run(), run(lr=1.0)]) == "MNIST, MLP"
    assert subject([run(), run(dataset="cifar10")]) == "MLP"
    assert subject([run(dataset="own", model_type="resnet18")]) == "own, ResNet-18"


def text_run(name: str = "run", **keys) -> Run:
    return Run(Path(name), text_config(**keys), pd.DataFrame())


def test_nested_keys_are_compared_one_by_one():
    runs = [
        text_run(alg={"id": "ppo", "args": {"clip_range": 0.2}}),
        text_run(alg={"id": "ppo", "args": {"clip_range": 0.1}}, datapool={"args": {"seed": 1}}),
        text_run(alg={"id": "ppo", "args": {"clip_range": 0.1}}),
    ]
    found = variants(runs)
    assert [variant.title for variant in found] == ["clip range 0.2", "clip range 0.1"]
    assert [len(variant.methods["ppo"]) for variant in found] == [1, 2]


def test_parts_in_lists_are_compared_one_by_one():
    runs = [text_run(evaluation={"metrics": [{"id": name}]}) for name in ("meteor", "rouge")]
    assert [variant.title for variant in variants(runs)] == ["meteor", "rouge"]


def test_groups_are_called_by_a_name_of_their_own_or_by_what_differs():
    runs = [
        text_run(experiment_name="seed_1", alg={"id": "supervised", "lr": 1.0}, random_seed=1),
        text_run(experiment_name="seed_2", alg={"id": "supervised", "lr": 1.0}, random_seed=2),
        text_run(experiment_name="ppo", alg={"id": "ppo"}),
        text_run(experiment_name="same", alg={"id": "supervised_t5", "lr": 2.0}),
        text_run(experiment_name="same", alg={"id": "nlpo"}),
    ]
    found = [(name, len(group)) for name, group in named_groups(runs)]
    assert found == [
        ("SFT, supervised, lr 1", 2), ("SFT, supervised_t5, lr 2", 1), ("ppo", 1), ("nlpo", 1)
    ]  # fmt: skip


def test_each_run_has_a_name_of_its_own():
    assert names([text_run("a", experiment_name="x"), text_run("b")]) == ["x", "exp"]
    assert names([text_run("a"), text_run("b", random_seed=8)]) == [
        "exp, random seed 7", "exp, random seed 8"
    ]  # fmt: skip
    assert names([text_run("a"), text_run("b")]) == ["a", "b"]


def test_the_subject_of_text_runs_is_their_task():
    assert subject([text_run(), text_run(random_seed=1)]) == "commongen"
