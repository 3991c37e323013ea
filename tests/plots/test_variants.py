from __future__ import annotations

from pathlib import Path

import pandas as pd

from plots.runs import Run
from plots.variants import in_words, subject, variants
from tests.plots.folders import CONFIG


def run(name: str = "run", **config) -> Run:
    return Run(Path(name), CONFIG | config, pd.DataFrame())


def test_seeds_paths_and_methods_stay_within_a_variant():
    runs = [
        run("rft", opt_method="expected_reinforce", gpu_ids=[1]),
        run("a", random_seed=1, samples_rnd_seed=2, init_rnd_seed=3, experiment_name="other"),
        run("b", load_model_from_checkpoint="x.pt", data_dir="d", outputs_dir="o"),
        run("own", opt_method="my_method", trainer_checkpoint="last.pt"),
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
