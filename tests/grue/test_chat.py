"""Prompts as chat messages: in the form of the tokenizer's template, in sampling and training."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from transformers import PreTrainedTokenizerFast

from common.config.resolve import resolve
from common.errors import UserError
from grue.policies.generation_config import GenerationConfig
from grue.policies.policy import Policy
from grue.supervised.rows import IGNORED, make_rows
from grue.tasks.config import TaskConfig
from grue.tasks.task import Sample
from tests.conftest import Workplace, cache_as_hub
from tests.grue.conftest import causal_model, nested, save_model, write
from tests.grue.tasks.conftest import samples, write_jsonl
from tests.grue.test_finetune import finetuning

TEMPLATE = (
    "{% if messages[0].role == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}"
    "{% for m in messages %}{{ '<' + m.role + '>' + m.content + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
ASKED = [Sample("a", "the cat", ("sat", "runs"), messages=[{"role": "user", "content": "the cat"}])]
WRITTEN = "<user>the cat{end}<assistant>"


@pytest.fixture
def chatting(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    found = copy.deepcopy(tokenizer)
    found.chat_template = TEMPLATE
    return found


def test_a_policy_reads_messages_by_the_template(chatting: PreTrainedTokenizerFast) -> None:
    policy = Policy(causal_model(len(chatting)), chatting)
    settings = GenerationConfig(max_new_tokens=4)
    (ids,) = policy.read(ASKED, settings, None)
    assert chatting.decode(ids) == WRITTEN.format(end=chatting.eos_token)
    assert ids.count(chatting.eos_token_id) == 1
    (cut,) = policy.read(ASKED, settings, 5)
    assert cut == ids[-5:]


def test_special_tokens_are_those_of_the_template_alone(chatting: PreTrainedTokenizerFast) -> None:
    from tokenizers.processors import TemplateProcessing

    end, number = chatting.eos_token, chatting.eos_token_id
    before = TemplateProcessing(single=f"{end} $A", special_tokens=[(end, number)])
    chatting.backend_tokenizer.post_processor = before
    assert chatting("a")["input_ids"][0] == number
    policy = Policy(causal_model(len(chatting)), chatting)
    (ids,) = policy.read(ASKED, GenerationConfig(max_new_tokens=4), None)
    rows = make_rows(ASKED, chatting, "causal", limit=60).rows
    assert ids[0] != number
    assert [row["input_ids"][: len(ids)] for row in rows] == [ids, ids]


def test_a_reference_follows_the_messages_at_once(chatting: PreTrainedTokenizerFast) -> None:
    rows = make_rows(ASKED, chatting, "causal", limit=60, append_eos=True, mask_prompt=True).rows
    prompt = WRITTEN.format(end=chatting.eos_token)
    assert [chatting.decode(row["input_ids"]) for row in rows] == [
        f"{prompt}{reference}{chatting.eos_token}" for reference in ("sat", "runs")
    ]
    learned = [[label for label in row["labels"] if label != IGNORED] for row in rows]
    assert [chatting.decode(labels[:-1]) for labels in learned] == ["sat", "runs"]


def test_what_cannot_be_written_is_told(chatting: PreTrainedTokenizerFast) -> None:
    def told(tokenizer: PreTrainedTokenizerFast, *asked: Sample, prefix: str = "") -> str:
        policy = Policy(causal_model(len(tokenizer)), tokenizer)
        policy.prefix = prefix
        with pytest.raises(UserError) as error:
            policy.read(asked, GenerationConfig(max_new_tokens=4), None)
        return str(error.value)

    plain = copy.deepcopy(chatting)
    plain.chat_template = None
    assert "has no chat template; take that of an instruct model" in told(plain, *ASKED)
    tool = Sample("a", "x", (), messages=[{"role": "tool", "content": "x"}])
    assert "refuses the messages (no tools here)" in told(chatting, tool)
    assert "1 of 2 samples are chat messages" in told(chatting, *ASKED, Sample("b", "x", ()))
    assert "'query_prefix'" in told(chatting, *ASKED, prefix="Q: ")


@pytest.mark.parametrize("task", ["arithmetic", "jsonl", "gsm8k", "preferences"])
def test_prompts_become_messages_where_asked_for(tmp_path: Path, task: str) -> None:
    args: dict[str, Any] = {}
    if task != "arithmetic":
        columns = {
            "jsonl": ["prompt", "references"],
            "gsm8k": ["question", "answer"],
            "preferences": ["prompt", "chosen", "rejected"],
        }[task]
        args["path"] = write_jsonl(tmp_path / "r.jsonl", [dict.fromkeys(columns, "#### 1")])
    plain = samples(task, **args)
    chat = samples(task, **args, chat_template=True, system_prompt="Be brief.")
    assert {sample.messages for sample in plain} == {None}
    assert [(s.id, s.prompt, s.references) for s in plain] == [
        (s.id, s.prompt, s.references) for s in chat
    ]
    assert chat[0].messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": plain[0].prompt},
    ]
    (message,) = samples(task, **args, chat_template=True)[0].messages
    assert message == chat[0].messages[1]


CHAT = {"id": "arithmetic", "args": {"chat_template": True}}
TALK = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "2+2?"},
]


def test_rows_may_hold_messages(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "r.jsonl", [{"prompt": TALK, "references": "4"}])
    (found,) = samples("jsonl", path=file, chat_template=True)
    assert (found.messages, found.prompt, found.references) == (TALK, "2+2?", ("4",))
    cells = tmp_path / "r.csv"
    quoted = json.dumps(TALK).replace('"', '""')
    cells.write_text(f'prompt,references\n"{quoted}",4\n')
    assert samples("jsonl", path=cells, chat_template=True)[0].messages == TALK
    with pytest.raises(UserError, match="messages need 'datapool"):
        samples("jsonl", path=file)
    write_jsonl(file, [{"prompt": [{"role": "user"}], "references": "4"}])
    with pytest.raises(UserError, match="expected text, or a list of messages with 'role' and"):
        samples("jsonl", path=file, chat_template=True)


def test_keys_of_chats_do_not_change_the_identity_of_earlier_runs() -> None:
    keys = TaskConfig(id="jsonl", args={"path": "x.jsonl"}).identity()["args"]
    assert not {"chat_template", "system_prompt"} & set(keys)
    args = {"system_prompt": "Be brief."}
    _, problems = resolve(TaskConfig, {"id": "arithmetic", "args": args})
    assert "'args.system_prompt' = 'Be brief.': needs 'chat_template' = true" in str(problems[0])


@pytest.mark.parametrize("revision", [None, "v1"])
def test_a_tokenizer_in_the_hubs_cache_is_refused_by_its_name(
    workplace: Workplace,
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
    revision: str | None,
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(workplace.path / "hub"))
    folder = save_model(workplace.path / "model", tokenizer)
    cache_as_hub(workplace.path / "hub", "lab/plain", {revision or "main": folder})
    keys = finetuning(folder, datapool=CHAT, tokenizer__model_name="lab/plain")
    if revision is not None:
        keys["tokenizer.revision"] = revision
    outcome = workplace.run_plan(write(workplace, keys))
    assert outcome.status != 0
    assert "= true: the tokenizer 'lab/plain' has no chat template" in outcome.err
    assert not workplace.folders()


def test_the_tokenizer_of_a_new_model_has_no_template(workplace: Workplace) -> None:
    new = {"experiment": "grue_new_model", "id": "new",
           "base_config": {"datapools": [{"id": "arithmetic"}]}}  # fmt: skip
    keys = nested(finetuning(Path("@new.model"), datapool=CHAT))
    run = {"experiment": keys.pop("experiment"), "base_config": keys}
    outcome = workplace.run_plan(workplace.write_plan(configurations=[new, run]))
    assert outcome.status != 0
    assert "= true: the tokenizer '@new.model' has no chat template" in outcome.err, outcome.err
    assert not workplace.folders()


def test_a_tokenizer_without_a_template_is_refused_before_the_first_run(
    workplace: Workplace, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = save_model(workplace.path / "model", tokenizer)
    plan = write(workplace, finetuning(model, datapool=CHAT))
    outcome = workplace.run_plan(plan)
    assert outcome.status != 0
    assert "'datapool.args.chat_template' = true: the tokenizer" in outcome.err
    assert "has no chat template" in outcome.err
    assert not workplace.folders()
