"""The files say exactly what every step saw: compared with the tokens that entered the models."""

import itertools
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_code import sft, training_order
from model_code.conversation import encode_prompt
from model_code.data_order import build_data_order
from model_code.language_model import load_tokenizer
from model_code.mixture import Limits
from model_code.practice import supervised
from model_code.record_order import RecordOrder
from model_code.settings import PpoConfig, PracticeConfig
from model_code.training_order import Record, write_record_order, write_token_order
from pipeline_data.artifact import Artifact
from pipeline_data.formats import document_id, read_jsonl
from pipeline_data.preferences import read_prompts, read_responses
from pipeline_data.stage_run import Inputs, Runtime
from tests.model_code.interruption import CONFIGS, FUNCTIONS
from tests.model_code.test_data_order import shard
from tests.model_code.training_orders import (
    Batch,
    folder,
    read_order,
    read_texts,
    watch_training,
)

pytestmark = pytest.mark.xdist_group("chain")


def train(stage: str, inputs: dict[str, Any], out: Path, **changes: Any) -> list[Batch]:
    """Run a stage; gives the batches its models really learnt from."""
    config = CONFIGS[stage].model_copy(update=changes)
    with watch_training() as batches:
        FUNCTIONS[stage](config, Inputs(inputs), out, Runtime())
    return batches


def row_of(record: dict[str, Any], file: str) -> int:
    """The row that a record's address names, which must be of that file."""
    start, _, row = record["url"].rpartition("/")
    assert start == f"generated://exercises/{file}"
    assert record["document"] == int(document_id("curriculum", record["url"]), 16)
    assert record["source"] == "curriculum"
    return int(row)


def padded(rows: Batch, pad: int) -> Batch:
    """Rows as they lie in a batch. A sampled answer may hold the padding token itself."""
    width = max(map(len, rows))
    return [row + [pad] * (width - len(row)) for row in rows]


@pytest.mark.parametrize("batch_size", [4, 5])
def test_pretraining_sees_the_documents_that_the_files_name(
    prepared: dict[str, Any], tmp_path: Path, batch_size: int
) -> None:
    batches = train("pretrain", prepared, tmp_path, batch_size=batch_size, steps=7)
    order = read_order(tmp_path, "tokens")
    assert order.about["streams"] == ["notes", "world"]
    assert (order.about["step"], order.about["steps"], len(batches)) == ("step", 7, 7)
    texts = read_texts(prepared["tokens"], bos=0)
    assert [order.tokens(step, texts) for step in range(7)] == batches


def test_sft_sees_the_demonstrations_that_the_files_name(
    chain: dict[str, Any], tmp_path: Path
) -> None:
    batches = train("sft", chain, tmp_path)
    tokenizer = load_tokenizer(chain["base"].path("model"))
    rows = list(read_jsonl(chain["exercises"].path("demonstrations.jsonl")))
    order = read_order(tmp_path, "demonstrations")
    assert len(batches) == order.about["steps"] == 12
    for step, batch in enumerate(batches):
        expected = []
        for record in order.records(step):
            row = rows[row_of(record, "demonstrations")]
            text = row["prompt"], row["response"], row["finished"]
            expected.append(sft.tokenize(tokenizer, *text)["input_ids"])
            assert record["num_tokens"] == len(expected[-1])
        assert batch == padded(expected, tokenizer.pad_token_id)


def test_the_reward_model_sees_the_groups_that_the_files_name(
    chain: dict[str, Any], tmp_path: Path
) -> None:
    batches = train("reward", chain, tmp_path)
    tokenizer = load_tokenizer(chain["sft"].path("model"))
    prompts = read_prompts(chain["exercises"].path("prompts-preference.jsonl"))
    groups = {g.prompt: g for g in read_responses(chain["responses"].path("responses.jsonl"))}
    order = read_order(tmp_path, "responses")
    assert len(batches) == order.about["steps"]
    for step, batch in enumerate(batches):
        expected = []
        for record in order.records(step):
            prompt = prompts[row_of(record, "prompts-preference")]
            question = encode_prompt(tokenizer, prompt.prompt)
            answered = [[*question, *r.tokens] for r in groups[prompt].responses]
            assert record["num_tokens"] == sum(map(len, answered))
            expected += answered
        assert batch == padded(expected, tokenizer.pad_token_id)


def test_ppo_sees_the_prompts_and_the_text_that_the_files_name(
    chain: dict[str, Any], tmp_path: Path
) -> None:
    batches = train("ppo", chain, tmp_path)
    tokenizer = load_tokenizer(chain["sft"].path("model"))
    prompts = [
        encode_prompt(tokenizer, prompt.prompt)
        for prompt in read_prompts(chain["exercises"].path("prompts-ppo.jsonl"))
    ]
    config = CONFIGS["ppo"]
    assert isinstance(config, PpoConfig)
    updates = config.epochs * config.minibatches
    policy, text, values = batches[0::3], batches[1::3], batches[2::3]
    assert policy == values
    order = read_order(tmp_path, "prompts")
    assert (order.about["step"], order.about["steps"]) == ("iteration", config.iterations)
    for iteration in range(config.iterations):
        asked = []
        for record in order.records(iteration):
            asked.append(prompts[row_of(record, "prompts-ppo")])
            assert record["num_tokens"] == len(asked[-1])
        answered = list(
            itertools.chain.from_iterable(policy[iteration * updates : (iteration + 1) * updates])
        )
        end = tokenizer.convert_tokens_to_ids("<|assistant|>")
        seen = [row[: row.index(end) + 1] for row in answered]
        assert sorted(seen) == sorted(asked * config.epochs)
    order, texts = read_order(tmp_path, "tokens"), read_texts(chain["tokens"], bos=0)
    assert (order.about["step"], order.about["steps"]) == ("update", config.iterations * updates)
    assert [order.tokens(update, texts) for update in range(order.about["steps"])] == text


def test_ppo_without_text_has_no_order_of_it(chain: dict[str, Any], tmp_path: Path) -> None:
    """And where minibatches differ in size there are still as many as were asked for."""
    changes = {"pretraining_weight": 0.0, "iterations": 1, "rollouts": 5, "minibatches": 4}
    batches = train("ppo", chain, tmp_path, **changes)
    assert [len(batch) for batch in batches[::2]] == [2, 1, 1, 1] * 2
    assert {path.name for path in folder(tmp_path, "").iterdir()} == {"prompts"}


def test_practice_sees_the_prompts_that_the_files_name(
    chain: dict[str, Any], tmp_path: Path
) -> None:
    batches = train("practice", chain, tmp_path)
    config = CONFIGS["practice"]
    assert isinstance(config, PracticeConfig)
    tokenizer = load_tokenizer(chain["ppo"].path("model"))
    files = ("practice", "ppo", "control")
    prompts = {
        f"prompts-{name}": read_prompts(chain["exercises"].path(f"prompts-{name}.jsonl"))
        for name in files
    }
    allowed = supervised(prompts["prompts-control"], tokenizer)
    assert len(batches) == 2 * config.steps
    for name, first in (("practice", 0), ("control", config.steps)):
        order = read_order(tmp_path, name)
        assert order.about["steps"] == config.steps
        kinds = set()
        for step in range(config.steps):
            batch = batches[first + step]
            records = order.records(step)
            rows = [r[: d["num_tokens"]] for r, d in zip(batch, records, strict=True)]
            assert batch == padded(rows, tokenizer.pad_token_id)
            for record, tokens in zip(records, rows, strict=True):
                file = record["url"].split("/")[-2]
                row = row_of(record, file)
                question = encode_prompt(tokenizer, prompts[file][row].prompt)
                assert tokens[: len(question)] == question
                if file == "prompts-control":
                    assert tokens == question + allowed[row][2]
                kinds.add(file)
        assert kinds <= {f"prompts-{name}", "prompts-ppo"}
        assert "prompts-ppo" in kinds


def test_practice_without_any_answer_has_orders_of_no_steps(
    chain: dict[str, Any], tmp_path: Path
) -> None:
    untaught = {**chain, "ppo": chain["base"]}
    batches = train("practice", untaught, tmp_path, anchors=0, max_new_tokens=4)
    order = read_order(tmp_path, "practice")
    assert (order.about["steps"], order.documents, order.rows) == (0, [], [])
    assert len(batches) == read_order(tmp_path, "control").about["steps"] == 5


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Artifact]:
    path = tmp_path_factory.mktemp("shards")
    lengths = {"alpha": [5, 20, 0, 3, 17, 9, 30], "beta": [40, 2, 25], "gamma": [1] * 30}
    return [shard(path / source, source, sizes) for source, sizes in lengths.items()]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 99),
    context=st.integers(1, 20),
    batch_size=st.integers(1, 5),
    steps=st.integers(1, 8),
    limits=st.sampled_from([Limits(), Limits(source_max_epochs={"alpha": 0.5})]),
    row_group=st.integers(1, 40),
)
def test_the_files_are_the_order_whatever_the_sizes(
    shards: list[Artifact],
    seed: int,
    context: int,
    batch_size: int,
    steps: int,
    limits: Limits,
    row_group: int,
) -> None:
    """Every position of every row is of one document, and no other document is named."""
    mixture = {"alpha": 1.0, "beta": 1.0, "gamma": 0.3}
    order = build_data_order(
        shards,
        mixture,
        0,
        seed=seed,
        batch_size=batch_size,
        context=context,
        steps=steps,
        limits=limits,
    )
    with TemporaryDirectory() as out, pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_order, "ROW_GROUP", row_group)
        write_token_order(Path(out), "tokens", order)
        made = read_order(Path(out), "tokens")
    texts = read_texts(shards, 0)
    for step in range(steps):
        assert made.names(step) == order.documents(step)
        assert made.tokens(step, texts) == order.rows(step).tolist()
    named = {f"{document['document']:016x}" for document in made.documents}
    assert named == {name for step in range(steps) for name in order.documents(step)}
    assert all(d["num_tokens"] == len(texts[f"{d['document']:016x}"]) for d in made.documents)
    keys = [(row["stream"], row["row"], row["index"]) for row in made.rows]
    assert keys == sorted(keys)


def test_a_document_is_in_one_row_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_order, "ROW_GROUP", 4)
    order = RecordOrder("prompts", 30, 10, 3, 1)
    write_record_order(tmp_path, order, [Record(f"test://{i}", i) for i in range(30)])
    groups = pq.read_metadata(folder(tmp_path, "prompts") / "documents.parquet")
    ranges = [
        (groups.row_group(i).column(0).statistics.min, groups.row_group(i).column(0).statistics.max)
        for i in range(groups.num_row_groups)
    ]
    assert len(ranges) == 8
    ends = [end for pair in ranges for end in pair]
    assert ends == sorted(ends)
    assert ends[-1] > 2**63  # as unsigned numbers


def test_what_no_step_saw_is_not_named(tmp_path: Path) -> None:
    order = RecordOrder("prompts", 50, 4, 2, 1)
    write_record_order(tmp_path, order, [Record(f"test://{i}", i) for i in range(50)])
    starts = sorted(document["start"] for document in read_order(tmp_path, "prompts").documents)
    assert starts == sorted(order.queue.tolist())
