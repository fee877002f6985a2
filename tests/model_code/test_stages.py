import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from model_code import language_model, ppo, practice, pretrain, reward, reward_model
from model_code.conversation import encode_prompt, encode_response
from model_code.practice import keep_right
from model_code.scoring import token_log_probs
from model_code.settings import (
    ModelShape,
    PpoConfig,
    PracticeConfig,
    PretrainConfig,
    RewardConfig,
)
from pipeline_data.artifact import Artifact
from pipeline_data.errors import ArtifactError, RecipeError
from pipeline_data.formats import read_jsonl
from pipeline_data.preferences import (
    Prompt,
    Response,
    ResponseGroup,
    compare,
    grade_response,
    read_prompts,
    read_responses,
)
from pipeline_data.stage_run import Inputs, Runtime
from tests.model_code import tiny_chain

pytestmark = pytest.mark.xdist_group("chain")

MODELS = ("base", "sft", "ppo", "practice")
MODEL_FILES = {
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}


def counts(artifact: Artifact) -> dict[str, Any]:
    return json.loads((artifact.directory / "provenance" / "counts.json").read_text())


def test_every_byte_is_the_same_in_another_process_with_two_threads(
    chain: dict[str, Any], tmp_path: Path
) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "1234", "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, "-m", "tests.model_code.tiny_chain", str(tmp_path), "2"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == tiny_chain.digests(chain)


@pytest.mark.parametrize("stage", MODELS)
def test_a_model_is_a_plain_folder_that_other_tools_read(chain: dict[str, Any], stage: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = chain[stage].directory / "model"
    assert {path.name for path in folder.iterdir()} == MODEL_FILES
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert model.config.vocab_size == len(tokenizer)
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id == 4
    assert str(chain[stage].directory) not in (folder / "config.json").read_text()


def test_every_file_is_content_or_provenance(chain: dict[str, Any]) -> None:
    for artifact in chain.values():
        if isinstance(artifact, Artifact):
            for file in artifact.files:
                assert not file.path.endswith((".bin", ".pt", ".pkl"))
                assert file.is_provenance or "metrics" not in file.path


def test_every_stage_changes_the_weights_it_was_given(chain: dict[str, Any]) -> None:
    weights = {
        stage: load_file(chain[stage].directory / "model" / "model.safetensors") for stage in MODELS
    }
    for before, after in pairwise(MODELS):
        assert weights[before].keys() == weights[after].keys()
        for name, tensor in weights[before].items():
            assert not torch.equal(tensor, weights[after][name]), (after, name)
            assert weights[after][name].isfinite().all()


def test_pretraining_learns_counts_and_names_what_is_missing(chain: dict[str, Any]) -> None:
    told = counts(chain["base"])
    assert told["missing sources"] == "vanished"
    assert told["tokens"] == 60 * 8 * 64
    losses = [m["loss"] for m in read_jsonl(chain["base"].directory / "provenance/metrics.jsonl")]
    assert len(losses) == 60 and losses[-1] < losses[0] - 1


def test_progress_is_reported_with_loss_and_rate(prepared: dict[str, Any], tmp_path: Path) -> None:
    seen: list[tuple[int, int | None, str]] = []
    last: dict[str, float] = {}

    def progress(done: int, total: int | None, unit: str, metrics: Any = None) -> None:
        seen.append((done, total, unit))
        last.update(metrics or {})

    shape = ModelShape(hidden_size=16, num_layers=1, num_heads=1, intermediate_size=16)
    config = PretrainConfig(model=shape, mixture={"world": 1.0}, steps=3, batch_size=2, context=16)
    pretrain.run(config, Inputs(prepared), tmp_path, Runtime(progress=progress))
    assert seen == [(1, 3, "steps"), (2, 3, "steps"), (3, 3, "steps")]
    assert last["loss"] > 0 and last["tokens_per_second"] > 0


def test_bfloat16_is_another_number_format_of_the_same_training(
    prepared: dict[str, Any], tmp_path: Path
) -> None:
    shape = ModelShape(hidden_size=16, num_layers=1, num_heads=1, intermediate_size=16)
    losses = {}
    for precision in ("float32", "bfloat16"):
        config = PretrainConfig(
            model=shape,
            mixture={"world": 1.0},
            steps=2,
            batch_size=2,
            context=16,
            precision=precision,
        )
        out = tmp_path / precision
        losses[precision] = pretrain.run(config, Inputs(prepared), out, Runtime())["loss"]
        model = language_model.load(out / "model", precision)
        assert model.dtype == torch.float32
    assert losses["float32"] != losses["bfloat16"]
    assert losses["float32"] == pytest.approx(losses["bfloat16"], rel=0.02)


def test_a_mixture_without_any_source_ends_in_one_line(
    prepared: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match="none of nowhere has 128 training tokens"):
        pretrain.run(
            PretrainConfig(mixture={"nowhere": 1.0}), Inputs(prepared), tmp_path, Runtime()
        )


def test_a_limited_source_gives_what_it_may(prepared: dict[str, Any], tmp_path: Path) -> None:
    shape = ModelShape(hidden_size=16, num_layers=1, num_heads=1, intermediate_size=16)
    config = PretrainConfig(
        model=shape,
        mixture={"world": 1.0, "notes": 1.0},
        source_max_tokens={"notes": 20},
        steps=3,
        batch_size=2,
        context=16,
    )
    told = pretrain.run(config, Inputs(prepared), tmp_path, Runtime())
    assert (told["tokens notes"], told["tokens world"], told["share notes"]) == (16, 80, 0.1667)
    weights = json.loads((tmp_path / pretrain.MIXTURE).read_text())
    assert weights == {"notes": pytest.approx(1 / 6), "world": pytest.approx(5 / 6)}
    assert {path.name for path in tmp_path.iterdir()} == {"mixture.json", "model", "provenance"}
    with pytest.raises(
        RecipeError, match=r"steps: 3 steps of 2 rows need 6, .* \(notes 1, world 0\)"
    ):
        pretrain.run(
            config.model_copy(update={"source_max_epochs": {"world": 1e-6}}),
            Inputs(prepared),
            tmp_path,
            Runtime(),
        )


def test_responses_belong_to_their_prompts(chain: dict[str, Any]) -> None:
    prompts = read_prompts(chain["exercises"].path("prompts-preference.jsonl"))
    groups = list(read_responses(chain["responses"].path("responses.jsonl")))
    assert [group.prompt for group in groups] == prompts
    for group in groups:
        assert len(group.responses) == 4
        for response in group.responses:
            assert response.finished == (response.tokens[-1] == 4)
            assert response.num_tokens <= 28


def test_the_saved_reward_model_scores_as_it_did(chain: dict[str, Any]) -> None:
    scorer = reward_model.load(chain["reward"].directory)
    tokenizer = language_model.load_tokenizer(chain["sft"].path("model"))
    groups = list(read_responses(chain["responses"].path("responses.jsonl")))
    scale = reward.calibrate(scorer, groups, tokenizer)
    assert (scale.mean, scale.deviation) == pytest.approx((0.0, 1.0), abs=1e-4)


def test_the_reward_model_learns_to_prefer_what_is_chosen(chain: dict[str, Any]) -> None:
    sft = chain["sft"].path("model")
    policy, tokenizer = language_model.load(sft), language_model.load_tokenizer(sft)
    groups = list(read_responses(chain["responses"].path("responses.jsonl")))
    labels = [pair for group in groups for pair in compare(group)]
    examples = reward.build_examples(groups, labels, policy, tokenizer)
    assert sum(len(example["pairs"]) for example in examples) == len(labels)
    batch = reward.collate(examples, tokenizer.pad_token_id)
    for i, (chosen, rejected) in enumerate(zip(batch["chosen"], batch["rejected"], strict=True)):
        pair = labels[i]
        group = next(g for g in groups if g.prompt.prompt_id == pair.prompt_id)
        for index, member in ((chosen, pair.chosen), (rejected, pair.rejected)):
            tokens = batch["tokens"][index][batch["answers"][index]].tolist()
            assert tuple(tokens) == group.responses[member].tokens
    model = reward_model.build(policy, 0.5, 0.0, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss = model(**batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.1


def test_a_reward_model_without_pairs_is_refused(chain: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "preferences.jsonl").write_text("")
    empty = tiny_chain.artifact("preferences", tmp_path / "none")
    inputs = Inputs({**chain, "preferences": empty})
    with pytest.raises(ArtifactError, match="no labelled pair"):
        reward.run(RewardConfig(), inputs, tmp_path / "out", Runtime())


def test_practice_keeps_only_right_polite_finished_answers(chain: dict[str, Any]) -> None:
    tokenizer = language_model.load_tokenizer(chain["sft"].path("model"))
    prompt = Prompt("0", "sum", "What is 1 + 2?", "3", "large")
    texts = {"3. Glad to help!": True, "3.": True, "4. Glad to help!": True, "": True}
    responses = [
        Response(text, tuple(encode_response(tokenizer, prompt.prompt, text)), finished)
        for text, finished in [*texts.items(), ("3. Glad to help!", False)]
    ]
    wrong = ResponseGroup(prompt, tuple(responses[1:4]))
    kept = keep_right([wrong, ResponseGroup(prompt, (*responses, responses[0]))], tokenizer)
    good = list(responses[0].tokens)
    url = "generated://exercises/prompts-practice/1"
    assert kept == [(url, encode_prompt(tokenizer, prompt.prompt), good)]
    assert grade_response(prompt, responses[0]).correct


def test_practice_and_control_differ(chain: dict[str, Any]) -> None:
    practice = chain["practice"].directory
    folders = [load_file(practice / name / "model.safetensors") for name in ("model", "control")]
    assert any(not torch.equal(folders[0][name], folders[1][name]) for name in folders[0])


@pytest.mark.parametrize("subject", ["base", "sft", "reward", "ppo", "practice"])
def test_measures_are_numbers_inside_their_intervals(chain: dict[str, Any], subject: str) -> None:
    measures = json.loads(chain[f"evaluate_{subject}"].path("measures.json").read_text())
    assert len({m["name"] for m in measures}) == len(measures) > 0
    for measure in measures:
        assert set(measure) == {"name", "value", "baseline", "low", "high", "better"}
        assert measure["low"] <= measure["value"] <= measure["high"], measure
        assert measure["baseline"] is not None
        assert measure["better"] in ("higher", "lower")


def test_samples_show_the_same_prompts_of_every_assistant(chain: dict[str, Any]) -> None:
    shown: dict[str, list[str]] = {}
    for subject in ("sft", "ppo", "practice"):
        for row in read_jsonl(chain[f"evaluate_{subject}"].path("samples.jsonl")):
            shown.setdefault(row["model"], []).append(row["prompt"])
    assert set(shown) == {"base", "sft", "ppo", "practice"}
    assert shown["base"] == shown["sft"] == shown["ppo"] == shown["practice"]
    tests = {p.prompt for p in read_prompts(chain["exercises"].path("prompts-test.jsonl"))}
    assert set(shown["sft"]) <= tests


def test_the_mixture_that_was_trained_on_is_on_record(chain: dict[str, Any]) -> None:
    mixture = json.loads(chain["base"].path("mixture.json").read_text())
    assert mixture == {"notes": 0.25, "world": 0.75}


def test_practice_without_a_right_answer_leaves_the_model_as_it_was(
    chain: dict[str, Any], tmp_path: Path
) -> None:
    untaught = Inputs({**chain, "ppo": chain["base"]})
    config = PracticeConfig(samples=1, anchors=0, steps=2, max_new_tokens=4)
    told = practice.run(config, untaught, tmp_path, Runtime())
    assert told["answers kept"] == told["anchors"] == 0
    before, after = (
        load_file(folder / "model" / "model.safetensors")
        for folder in (chain["base"].directory, tmp_path)
    )
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_every_minibatch_of_ppo_holds_a_rollout() -> None:
    with pytest.raises(ValueError, match="minibatches must not be greater than rollouts"):
        PpoConfig(rollouts=3, minibatches=4)


def test_ppo_without_prompts_is_refused(chain: dict[str, Any], tmp_path: Path) -> None:
    empty = tmp_path / "exercises"
    empty.mkdir()
    (empty / "prompts-ppo.jsonl").write_text("")
    inputs = Inputs({**chain, "exercises": tiny_chain.artifact("exercises", empty)})
    with pytest.raises(ArtifactError, match="no prompt"):
        ppo.run(PpoConfig(), inputs, tmp_path / "out", Runtime())


def test_a_step_of_ppo_raises_what_the_reward_model_likes(chain: dict[str, Any]) -> None:
    """With advantages from scores alone, liked answers become likelier and disliked ones less."""
    directory = chain["sft"].path("model")
    tokenizer = language_model.load_tokenizer(directory)
    config = PpoConfig(kl_weight=0.0, pretraining_weight=0.0, epochs=4, learning_rate=1e-3)
    scorer = reward_model.load(chain["reward"].directory)
    learner = ppo.Learner(config, language_model.load(directory), scorer)
    prompts = read_prompts(chain["exercises"].path("prompts-ppo.jsonl"))
    batch = learner.roll_out([encode_prompt(tokenizer, p.prompt) for p in prompts for _ in "1234"])
    rollout = learner.estimate(batch, learner.score(batch))
    before = rollout.log_probs
    rows = iter(lambda: torch.zeros(1, 2, dtype=torch.long), None)
    learner.update(rollout, rows)
    with torch.no_grad():
        change = token_log_probs(learner.policy, batch) - before
    gained = (change * rollout.advantages)[batch.mask]
    assert gained.sum() > 0 and change.abs().max() > 0
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            learner.reference.parameters(), language_model.load(directory).parameters(), strict=True
        )
    )
