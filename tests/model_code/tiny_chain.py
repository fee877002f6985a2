"""The whole model chain at a size that takes seconds, for tests; run as a script it prints digests.

``python -m tests.model_code.tiny_chain FOLDER THREADS``
"""

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pipeline_data import preferences
from pipeline_data.artifact import Artifact, content_digest, describe
from pipeline_data.curriculum import curriculum
from pipeline_data.curriculum.settings import CurriculumConfig
from pipeline_data.formats import TOKENS, document_id, read_jsonl, write_table
from pipeline_data.stage_run import Inputs, Runtime

CURRICULUM = CurriculumConfig(
    num_towns=4,
    num_people=5,
    num_animals=4,
    max_operand=9,
    max_large_operand=14,
    num_bytes=60_000,
    shards=2,
    num_demonstrations=64,
    num_preference_prompts=16,
    num_ppo_prompts=16,
    num_practice_prompts=12,
    num_validation_prompts=12,
    num_test_prompts=16,
)
SPECIAL = ["<|endoftext|>", "<|pad|>", "<|user|>", "<|assistant|>", "<|end|>"]
TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}"
    "<|user|>{{ message['content'] }}<|end|>{% else %}<|assistant|>{% generation %}"
    "{{ ' ' + message['content'] }}<|end|>{% endgeneration %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def artifact(stage: str, directory: Path, shard: str | None = None) -> Artifact:
    """A finished stage's folder as an artefact."""
    files = describe(directory)
    return Artifact(stage, 1, stage, content_digest(files), directory, shard, files=files)


def make_tokenizer(directory: Path, texts: Iterable[str]) -> None:
    """A small byte-level BPE tokenizer with single digits and the chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=384,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=SPECIAL[0],
        pad_token=SPECIAL[1],
        eos_token=SPECIAL[4],
    )
    wrapped.chat_template = TEMPLATE
    wrapped.save_pretrained(directory)


def make_shard(directory: Path, source: str, texts: Iterable[tuple[str, str]], encode: Any) -> None:
    """A token shard of (url, text); every tenth document is held out."""
    rows: list[dict[str, Any]] = [
        {
            "doc_id": document_id(source, url),
            "url": url,
            "source": source,
            "split": "heldout" if i % 10 == 9 else "train",
            "num_bytes": len(text.encode()),
            "tokens": encode(text, add_special_tokens=False),
        }
        for i, (url, text) in enumerate(texts)
    ]
    rows = [row | {"num_tokens": len(row["tokens"])} for row in rows]
    write_table(directory / "tokens.parquet", TOKENS, rows)


def prepare(root: Path) -> dict[str, Any]:
    """Curriculum, tokenizer and token shards."""
    from model_code.language_model import load_tokenizer

    curriculum.run(CURRICULUM, Inputs({}), root / "curriculum", Runtime())
    texts = {
        shard: [
            (row["url"], row["text"])
            for row in read_jsonl(root / "curriculum" / shard / "records.jsonl")
        ]
        for shard in ("documents-000", "documents-001")
    }
    make_tokenizer(root / "tokenizer", (text for rows in texts.values() for _, text in rows))
    encode = load_tokenizer(root / "tokenizer").encode
    for shard, rows in texts.items():
        make_shard(root / "tokens" / shard, "world", rows, encode)
    notes = [(f"test://{i}", f"Note {i}: the tide was {i * 7 % 30} high. " * 6) for i in range(60)]
    make_shard(root / "tokens" / "notes", "notes", notes, encode)
    shards = ("documents-000", "documents-001", "notes")
    return {
        "tokenizer": artifact("tokenizer", root / "tokenizer"),
        "tokens": [artifact("tokens", root / "tokens" / shard, shard) for shard in shards],
        "exercises": artifact("exercises", root / "curriculum" / "exercises"),
    }


def build(root: Path, threads: int) -> dict[str, Any]:
    """Run every model stage; returns the artefacts by role, with their counts."""
    from model_code import evaluate, ppo, practice, pretrain, responses, reward, sft
    from model_code import settings as s

    made = prepare(root)
    runtime = Runtime(threads=threads)

    def run(name: str, stage: Callable[..., Any], config: Any, *roles: str) -> None:
        out = root / name
        out.mkdir()
        counts = stage(config, Inputs({role: made[role] for role in roles}), out, runtime)
        (out / "provenance").mkdir(exist_ok=True)
        (out / "provenance" / "counts.json").write_text(json.dumps(counts))
        made[name] = artifact(name, out)

    shape = s.ModelShape(hidden_size=32, num_layers=2, num_heads=2, intermediate_size=64)
    mixture = {"world": 3.0, "notes": 1.0, "vanished": 1.0}
    pretraining = s.PretrainConfig(model=shape, mixture=mixture, steps=60, batch_size=8, context=64)
    run("base", pretrain.run, pretraining, "tokens", "tokenizer")
    run(
        "sft",
        sft.run,
        s.SftConfig(steps=40, batch_size=16, learning_rate=5e-3),
        "base",
        "exercises",
    )
    run("responses", responses.run, s.ResponsesConfig(), "sft", "exercises")
    run("preferences", preferences.run, preferences.PreferencesConfig(), "responses")
    run("reward", reward.run, s.RewardConfig(), "sft", "responses", "preferences")
    optimizing = s.PpoConfig(iterations=2, rollouts=8, pretraining_rows=2)
    run("ppo", ppo.run, optimizing, "sft", "reward", "exercises", "tokens")
    practising = s.PracticeConfig(samples=2, anchors=4, steps=3, batch_size=8)
    run("practice", practice.run, practising, "ppo", "reward", "exercises")
    measuring = s.EvaluateConfig(bootstrap=200, max_documents=5, context=64)
    run("evaluate_base", evaluate.run_base, measuring, "base", "tokens", "exercises")
    run("evaluate_sft", evaluate.run_sft, measuring, "sft", "base", "exercises")
    run("evaluate_reward", evaluate.run_reward, measuring, "reward", "sft", "exercises")
    run("evaluate_ppo", evaluate.run_ppo, measuring, "ppo", "sft", "exercises")
    run("evaluate_practice", evaluate.run_practice, measuring, "practice", "ppo", "exercises")
    return made


def digests(made: dict[str, Any]) -> dict[str, list[str]]:
    """The digest of every artefact that a stage made, and the hashes of its training orders."""
    return {
        name: [a.digest, *(f.sha256 for f in a.files if "/orders/" in f.path)]
        for name, a in made.items()
        if isinstance(a, Artifact)
    }


if __name__ == "__main__":
    print(json.dumps(digests(build(Path(sys.argv[1]), int(sys.argv[2])))))
