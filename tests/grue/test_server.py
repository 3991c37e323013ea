"""Extraction with a server as its model: equal tables whatever goes wrong on the way."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from common.config.resolve import resolve
from common.errors import Interrupted, UserError
from common.key_paths import merged
from grue.experiments.extract.answers import Answers
from grue.experiments.extract.config import ExtractConfig
from grue.policies.server.client import Output, Request, ask, models
from grue.policies.server.config import ServerConfig
from grue.random_streams import Occasion, seed_of
from tests.conftest import Workplace
from tests.grue.conftest import nested, write
from tests.grue.parts import ANIMALS, OVERLAP
from tests.grue.stub_server import (
    Fault,
    Handler,
    Stub,
    cut,
    half_json,
    hang,
    page,
    said,
    serving,
    status,
)
from tests.grue.tasks.conftest import write_jsonl
from tests.tools import imported

imported("openai")

K, N = 4, 6
SAMPLED = {"do_sample": True, "top_k": 0, "max_new_tokens": 6}


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving() as found:
        yield found


def extraction(url: str, **changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "experiment": "grue_extract",
        "experiment_name": "samples",
        "random_seed": 5,
        "datapool.id": ANIMALS,
        "datapool.num_train_samples": N,
        "datapool.train_samples_rnd_seed": 7,
        "alg.server.url": url,
        "alg.model_name": "small",
        "alg.generation_kwargs": SAMPLED,
        "evaluation.eval_batch_size": 4,
        "evaluation.num_samples_per_input": K,
        "evaluation.metrics": [{"id": OVERLAP}],
    }
    return base | {key.replace("__", "."): value for key, value in changes.items()}


def samples_of(workplace: Workplace) -> pd.DataFrame:
    (folder,) = workplace.folders()
    return pd.read_parquet(folder.table("samples"))


def expected(samples: pd.DataFrame) -> list[str]:
    """What the stub says to each request: seeds are those of input and sample."""
    return [
        said({"prompt": row.prompt, "seed": seed_of(Occasion.EXTRACTION, 5, row.index_, row.k)
              % 2**31})
        for row in samples.rename(columns={"index": "index_", "sample_id": "k"}).itertuples()
    ]  # fmt: skip


def test_faults_change_no_table(workplace: Workplace, stub: Stub) -> None:
    stub.faults += [status(429, Retry_After="0.05"), status(500), cut, half_json, page]
    assert workplace.run_plan(write(workplace, extraction(stub.url))).status == 0
    samples = samples_of(workplace)
    chosen = np.random.RandomState(7).permutation(40)[:N]
    assert samples["index"].tolist() == np.repeat(chosen, K).tolist()
    assert samples["sample_id"].tolist() == [*range(K)] * N
    assert len(stub.asked) == N * K + 5
    assert len({body["seed"] for body in stub.asked}) == N * K
    assert samples["num_tokens"].tolist() == samples["output"].str.len().tolist()
    assert samples["output"].tolist() == expected(samples)
    assert samples.groupby("index")["output"].nunique().max() > 1
    assert stub.asked[0].keys() == {"model", "prompt", "temperature", "top_p", "max_tokens", "seed"}
    assert (stub.asked[0]["model"], stub.asked[0]["max_tokens"]) == ("small", 6)
    (folder,) = workplace.folders()
    assert not (folder.path / "samples").exists() and not (folder.path / "drawn").exists()
    assert "HTTP Request" not in folder.log.read_text()

    stub.asked.clear()
    changes = {"alg__server__max_retries": 0, "alg__server__concurrency": 1}
    again = write(workplace, extraction(stub.url, **changes))
    assert workplace.run_plan(again).status == 0
    assert not stub.asked  # these keys change no result, so that the run is done
    assert workplace.run_plan(again, "--fresh").status == 0
    assert len(stub.asked) == N * K
    pd.testing.assert_frame_equal(samples_of(workplace), samples)


def test_chats_and_several_outputs_per_request(workplace: Workplace, stub: Stub) -> None:
    stub.with_log_probs = True
    rows = [{"prompt": f"say {word}"} for word in ("red", "green")]
    changes = {
        "datapool": {
            "id": "jsonl",
            "args": {
                "path": str(write_jsonl(workplace.path / "rows.jsonl", rows)),
                "references_column": None,
                "chat_template": True,
                "system_prompt": "be brief",
            },
        },
        "alg__server__num_samples_per_request": 3,
        "alg__server__extra_body": {"min_p": 0.1, "top_p": None},
        "alg__generation_kwargs": {**SAMPLED, "stop_strings": ["."], "temperature": 0.7},
        "evaluation__metrics": [],
        "reward_fn": {"id": "length"},
    }
    run = extraction(stub.url, **changes)
    for key in ("datapool.id", "datapool.num_train_samples", "datapool.train_samples_rnd_seed"):
        del run[key]
    assert workplace.run_plan(write(workplace, run)).status == 0
    samples = samples_of(workplace)
    assert sorted(body.get("n", 1) for body in stub.asked) == [1, 1, 3, 3]
    told = {str(body["messages"]): body for body in stub.asked}  # they come in any order
    asked = told[str([
        {"role": "system", "content": "be brief"}, {"role": "user", "content": "say red"}
    ])]  # fmt: skip
    assert (asked["stop"], asked["temperature"], asked["min_p"]) == (["."], 0.7, 0.1)
    assert "top_p" not in asked
    texts = [said(body, number) for body in stub.asked for number in range(body.get("n", 1))]
    assert sorted(samples["output"]) == sorted(texts)
    assert samples["num_tokens"].tolist() == samples["output"].str.len().tolist()


@pytest.mark.slow
def test_an_answered_request_is_not_asked_again_after_a_kill(
    workplace: Workplace, stub: Stub
) -> None:
    def kill(handler: Handler) -> None:
        (folder,) = workplace.folders()
        os.kill(folder.read_status()["pid"], signal.SIGKILL)

    # The last of ten requests ends the process in the middle of the first batch.
    stub.faults += [lambda handler: handler.send(200, handler.whole)] * 9 + [kill]
    run = extraction(stub.url, alg__server__concurrency=1)
    plan = write(workplace, run, multiprocess=True, num_parallel=1)
    assert workplace.run_plan(plan).status == 0
    (folder,) = workplace.folders()
    assert folder.read_status()["attempt"] == 2
    assert len(stub.asked) == N * K + 1
    samples = samples_of(workplace)
    assert samples["output"].tolist() == expected(samples)


def test_a_failed_run_says_why_and_keeps_what_it_has(workplace: Workplace, stub: Stub) -> None:
    stub.faults += [lambda handler: handler.send(200, handler.whole)] * 9 + [status(400)]
    plan = write(workplace, extraction(stub.url, alg__server__concurrency=1))
    assert workplace.run_plan(plan).status == 1
    (folder,) = workplace.folders()
    reason = f"POST {stub.url}/completions: status 400, 'trouble 400'"
    assert reason in folder.read_status()["reason"]
    (kept,) = (folder.path / "drawn").iterdir()
    with kept.open("a") as file:
        file.write('{"request": "3f')  # which a kill leaves
    assert workplace.run_plan(plan, "--retry_failed").status == 0
    assert len(stub.asked) == N * K + 1
    samples = samples_of(workplace)
    assert samples["output"].tolist() == expected(samples)


def test_another_reward_and_more_samples_take_what_is_known(
    workplace: Workplace, stub: Stub
) -> None:
    def make(**changes: Any) -> None:
        run = extraction(stub.url, evaluation__sample_cache="cache", **changes)
        assert workplace.run_plan(write(workplace, run)).status == 0

    make()
    assert len(stub.asked) == N * K
    make(evaluation__metrics=[], reward_fn={"id": "length"})
    assert len(stub.asked) == N * K
    log = max(workplace.folders(), key=lambda folder: folder.log.stat().st_mtime).log
    assert f"outputs of {N} inputs are from the sample cache" in log.read_text()
    make(evaluation__num_samples_per_input=K + 1)
    assert len(stub.asked) == N * (K + 1)
    make(alg__server__extra_body={"min_p": 0.1})
    assert len(stub.asked) == N * (K + 1) + N * K


def test_runs_of_equal_names_in_two_folders_share_no_file(tmp_path: Path) -> None:
    for place in ("one", "other"):
        Answers(tmp_path, Path(place, "run")).add(place, [Output("a", 1)])
    assert len(list(tmp_path.iterdir())) == 2
    found = Answers(tmp_path, Path("third", "run"))
    assert "one" in found and "other" in found


def asked(stub: Stub, stop_requested: Any = lambda: False, **keys: Any) -> dict[str, list[Output]]:
    """Answers to one request."""
    found: dict[str, list[Output]] = {}
    config = ServerConfig(url=stub.url, **keys)
    request = Request("say red", 1, {"seed": 3})
    ask({"a": request}, "small", config, keep=found.__setitem__, stop_requested=stop_requested)
    return found


@pytest.mark.parametrize(
    ("fault", "keys", "message"),
    [
        (status(503), {}, "status 503, 'trouble 503'"),
        (status(401), {}, "status 401, 'trouble 401'; give the server's key in the environment "
         "variable OPENAI_API_KEY"),
        (status(429, Retry_After="121"), {"max_retries": 3}, "status 429, 'trouble 429'"),
        (cut, {}, "peer closed connection without sending complete message body"),
        (half_json, {}, "status 200 with an answer that is cut or none of the protocol: '{\"id\""),
        (page, {}, "status 200 with an answer that is cut or none of the protocol: '<html>'"),
        (hang, {"timeout_seconds": 0.1}, "no answer within 0.1 seconds"),
    ],
)  # fmt: skip
def test_what_persists_is_told(
    stub: Stub, fault: Fault, keys: dict[str, Any], message: str
) -> None:
    stub.always = fault
    with pytest.raises(UserError) as error:
        asked(stub, **{"max_retries": 0, **keys})
    assert str(error.value).startswith(f"POST {stub.url}/completions: ")
    assert message in str(error.value)
    assert len(stub.asked) < 2  # none, if the time was over before the stub had looked


def test_a_pause_is_the_one_that_the_server_names(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("anyio.sleep", sleep)
    stub.faults += [status(429, Retry_After="77"), status(503, Retry_After="0.05")]
    assert asked(stub) == {"a": [Output(said({"prompt": "red", "seed": 3}), 6)]}
    assert pauses == [77.0, 0.05]
    assert len(stub.asked) == 3


def test_a_stop_does_not_wait_for_a_server_that_hangs(stub: Stub) -> None:
    stub.always = hang  # for ever
    with pytest.raises(Interrupted):
        asked(stub, lambda: bool(stub.asked))


def test_fewer_outputs_than_asked_for_are_refused(stub: Stub) -> None:
    stub.knows_n = False
    config = ServerConfig(url=stub.url)
    request = {"a": Request("say red", 2, {"seed": 3})}
    with pytest.raises(UserError, match=r"gave 1 of 2 outputs; set '.*samples_per_request' to 1"):
        ask(request, "small", config, keep=lambda *_: None, stop_requested=lambda: False)


def test_an_answer_without_text_is_empty(stub: Stub) -> None:
    found: list[Output] = []
    request = {"a": Request([{"role": "user", "content": "   "}], 1, {"seed": 0})}
    stub.answer = lambda path, body: {  # type: ignore[method-assign]
        "choices": [{"message": {"content": None}}]
    }
    ask(request, "small", ServerConfig(url=stub.url), keep=lambda _, output: found.extend(output),
        stop_requested=lambda: False)  # fmt: skip
    assert found == [Output("", None)]


def test_a_key_of_the_environment_is_sent_and_not_written(
    workplace: Workplace, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = secrets.token_hex(8)  # which no provenance finds in changed source text
    monkeypatch.setenv("OPENAI_API_KEY", secret)
    stub.faults.append(status(401))
    plan = write(workplace, extraction(stub.url))
    assert workplace.run_plan(plan).status == 1
    assert workplace.run_plan(plan, "--retry_failed").status == 0
    assert all(head["authorization"] == f"Bearer {secret}" for head in stub.headers)
    files = [path for path in workplace.path.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert [path for path in files if secret.encode() in path.read_bytes()] == []


def test_equal_outputs_are_told(workplace: Workplace, stub: Stub) -> None:
    plan = write(workplace, extraction(stub.url, alg__server__extra_body={"greedy": True}))
    stub.answer = lambda path, body: {  # type: ignore[method-assign]
        "choices": [{"text": body["prompt"]}]
    }
    assert workplace.run_plan(plan).status == 0
    (folder,) = workplace.folders()
    assert folder.log.read_text().count(f"all 4 outputs of each of {N} inputs are equal") == 1
    assert samples_of(workplace)["num_tokens"].isna().all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alg__model_name": "medium"}, "'alg.model_name' = 'medium': the server at {url} has no "
         "such model; it has small, large"),
        ({"alg__server__url": "http://127.0.0.1:9/v1"}, "'alg.server.url' = "
         "'http://127.0.0.1:9/v1': the server does not answer as expected: GET "
         "http://127.0.0.1:9/v1/models: "),
        ({"alg__server__url": "{root}"}, "status 404, 'no such page'; the path of such servers "
         "ends with /v1"),
    ],
)  # fmt: skip
def test_a_server_is_looked_at_before_the_start(
    workplace: Workplace, stub: Stub, changes: dict[str, str], message: str
) -> None:
    places = {"url": stub.url, "root": stub.url.removesuffix("/v1")}
    run = extraction(stub.url, **{key: value.format(**places) for key, value in changes.items()})
    outcome = workplace.run_plan(write(workplace, run))
    assert outcome.status == 2
    assert message.format(**places) in outcome.err
    assert not stub.asked and not workplace.folders()


def messages(changes: dict[str, Any]) -> list[str]:
    run = nested(extraction("http://localhost:8000/v1"))
    del run["experiment"]
    _, problems = resolve(ExtractConfig, merged(run, changes))
    return [str(problem) for problem in problems]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alg.generation_kwargs.top_k": 50},
         "'alg.generation_kwargs.top_k' = 50: the protocol of servers has no such key; set it to "
         "0, or give what this server calls it in 'alg.server.extra_body'"),
        ({"alg.generation_kwargs.min_length": 3}, "'alg.generation_kwargs.min_length' = 3: the "
         "protocol of servers has no such key; leave it out"),
        ({"alg.generation_kwargs.min_p": 0.1}, "'alg.generation_kwargs.min_p' = 0.1: the protocol"),
        ({"alg.generation_kwargs.truncate_token": "."}, "no such key; give 'stop_strings'"),
        ({"alg.generation_kwargs.max_new_tokens": None},
         "'alg.generation_kwargs.max_new_tokens': a server needs it"),
        ({"alg.generation_kwargs.do_sample": False}, "must be true"),
        ({"alg.server.url": "localhost:8000"}, "'localhost:8000': is no address; give one"),
        ({"alg.server.url": "http://me:pass@host/v1"}, "'alg.server.url': holds a password"),
        ({"alg.server.extra_body": {"n": 2}}, "is set by 'alg.server.num_samples_per_request'"),
        ({"alg.server.extra_body": {"temperature": 2}}, "by 'alg.generation_kwargs.temperature'"),
        ({"alg.server.extra_body": {"seed": 2}}, "'alg.server.extra_body.seed' = 2: would be that "
         "of all requests"),
        ({"tokenizer.model_name": "gpt2"}, "'tokenizer' = 'gpt2': the server has the model's"),
        ({"evaluation.gradients": True}, "'evaluation.gradients' = true: gradients are those of a"),
        ({"evaluation.sampler": "generate"}, "'evaluation.sampler' = 'generate': is a decoder of"),
        ({"alg.model_type": "causal"}, "'alg.model_type' = 'causal': unknown key"),
        ({"alg.server.ulr": "x"}, "'alg.server.ulr' = 'x': unknown key; did you mean 'url'?"),
    ],
)  # fmt: skip
def test_what_a_server_cannot_do_is_refused(
    changes: dict[str, Any], message: str, nothing_missing: None
) -> None:
    found = messages(changes)
    assert len(found) == 1 and message in found[0]


def test_the_keys_are_sound(nothing_missing: None) -> None:
    left_out = {"alg.server.extra_body": {"top_k": -1, "seed": None}}
    assert messages({}) == messages(left_out) == []


def test_models_are_listed(stub: Stub) -> None:
    assert models(ServerConfig(url=stub.url)) == ["small", "large"]
