from pathlib import Path
from typing import Any

import pytest

from model_code import language_model
from model_code.chat import stream
from model_code.conversation import decode_response, encode_prompt
from model_code.sampling import Sampler
from pipeline_data.errors import ArtifactError

pytestmark = pytest.mark.xdist_group("chain")


def ask(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_pieces_join_to_the_greedy_answer(chain: dict[str, Any]) -> None:
    questions = ("What is 1 + 2?", "Who?", "How much is 3 plus 4?", "Where does it live?")
    num_pieces = []
    for stage in ("base", "sft"):
        folder = chain[stage].path("model")
        tokenizer = language_model.load_tokenizer(folder)
        prompts = [encode_prompt(tokenizer, question) for question in questions]
        answers = Sampler(language_model.load(folder)).generate(prompts, 12)
        for question, answer in zip(questions, answers, strict=True):
            pieces = list(stream(folder, ask(question), max_new_tokens=12))
            assert "".join(pieces) == decode_response(tokenizer, answer)
            assert all(pieces)
            num_pieces.append(len(pieces))
    assert max(num_pieces) > 1


def test_a_seed_decides_a_sampled_answer(chain: dict[str, Any]) -> None:
    folder = chain["base"].path("model")
    answers = [
        list(stream(folder, ask("Who?"), temperature=1.0, seed=seed, max_new_tokens=12))
        for seed in (1, 1, 2)
    ]
    assert answers[0] == answers[1] != answers[2]


def test_old_messages_are_dropped_when_there_is_no_room(chain: dict[str, Any]) -> None:
    folder = chain["base"].path("model")
    long = [*ask("word " * 120), {"role": "assistant", "content": "3."}, *ask("What is 1 + 2?")]
    alone = list(stream(folder, long[1:], max_new_tokens=8))
    assert list(stream(folder, long, max_new_tokens=8)) == alone
    with pytest.raises(ArtifactError, match="longer than the"):
        list(stream(folder, ask("word " * 400)))


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no model at"):
        list(stream(tmp_path, ask("Who?")))
