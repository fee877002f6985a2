"""What each model is worth: measures with intervals, against the number it has to beat.

One stage function a subject: base, SFT, reward, PPO, practice. Each writes ``measures.json`` (rows
of ``name``, ``value``, ``baseline``, ``low``, ``high``, ``better``) and, where the subject answers,
``samples.jsonl``: the same few test prompts answered greedily. Only held-out documents and the test
split of the exercises are used here, and nothing is chosen by them. Large sums, which only
practice is for, are measured apart and are no part of any overall number.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

import numpy as np
import torch

from model_code import language_model, reward_model
from model_code.comparisons import (
    KINDS,
    axis_gains,
    is_correct,
    resampling,
    rows_by_kind,
    utility_gain,
)
from model_code.conversation import encode_prompt
from model_code.graded_answers import GradedAnswers, answer_prompts, right_probabilities
from model_code.held_out_text import bigram_bits, completes, model_bits
from model_code.ngram import Bigram
from model_code.practice import CONTROL
from model_code.pretrain import MIXTURE, MODEL
from model_code.responses import respond
from model_code.sampling import Sampler
from model_code.settings import EvaluateConfig
from model_code.statistics import (
    Array,
    Measure,
    bootstrap_ratio,
    paired_difference,
    proportion,
)
from model_code.token_streams import HeldOutDocument, read_heldout, read_streams
from model_code.training import set_threads
from pipeline_data.artifact import Artifact, Counts
from pipeline_data.formats import read_jsonl, write_jsonl
from pipeline_data.preferences import AXES, Prompt, compare, read_prompts
from pipeline_data.stage_run import Inputs, Runtime

GENERATED = "generated://"
COMPLETIONS = {
    "fact": "facts completed in an unseen phrasing",
    "sum": "held-out sums completed",
    "sum-large": "held-out large sums completed",
    "sum-seen": "sums of the documents completed",
}
RANKED_RESPONSES = 4


def run_base(config: EvaluateConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Measure ``base`` on held-out documents of ``tokens`` and completions of ``exercises``.

    Bits per byte, of the sources the model was trained on, stand against a bigram trained on all
    training documents of the same source; completions against always naming the commonest value.
    """
    set_threads(runtime)
    directory = inputs.one("base").path(MODEL)
    model, tokenizer = language_model.load(directory), language_model.load_tokenizer(directory)
    shards, bos = inputs.many("tokens"), tokenizer.bos_token_id
    mixture = json.loads(inputs.one("base").path(MIXTURE).read_text(encoding="utf-8"))
    bigrams = {
        stream.source: Bigram(stream.tokens, len(tokenizer))
        for stream in read_streams(shards, sorted(mixture), bos, 0)
    }
    chosen: list[HeldOutDocument] = []
    for source, group in groupby(read_heldout(shards), key=lambda document: document.source):
        if source in bigrams:
            chosen += list(group)[: config.max_documents]
    bits = np.array(model_bits(model, chosen, bos, config.context))
    baseline = np.array([bigram_bits(bigrams[d.source], [d], bos)[0] for d in chosen])
    measures: list[Measure] = []
    for name, rows in _text_groups(chosen).items():
        sizes = [chosen[i].num_bytes for i in rows]
        measures += _bits_per_byte(name, bits[rows], baseline[rows], sizes, config)
    completions = _test_completions(inputs)
    right = completes(model, tokenizer, completions)
    for kind, name in COMPLETIONS.items():
        rows = [i for i, c in enumerate(completions) if c["kind"] == kind]
        if rows:
            commonest = Counter(completions[i]["value"] for i in rows).most_common(1)[0][1]
            outcomes = [right[i] for i in rows]
            measures.append(
                proportion(f"{name}, over the commonest value", outcomes, commonest / len(rows))
            )
    return _write(measures, out) | {"documents": len(chosen)}


def run_sft(config: EvaluateConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Measure ``sft`` on the test prompts of ``exercises``, over ``base`` asked the same."""
    set_threads(runtime)
    prompts = _core(_test_prompts(inputs))
    new = answer_prompts(inputs.one("sft").path(MODEL), prompts, config)
    base = answer_prompts(inputs.one("base").path(MODEL), prompts, config)
    told, asked = new.axis(is_correct), base.axis(is_correct)
    gain = paired_difference("exact match, gain over base", told, asked, *resampling(config))
    measures = [
        proportion("exact match, over base", _booleans(told), float(asked.mean())),
        gain,
        utility_gain("utility, gain over base", new, base, config),
    ]
    completions = _asked_as_in_documents(inputs.one("base"), prompts)
    known = [i for i, prompt in enumerate(prompts) if prompt.answer is not None]
    name = "exact match on facts and sums, over base asked as in its documents"
    measures.append(proportion(name, _booleans(told[known]), float(np.mean(completions))))
    for kind, rows in rows_by_kind(prompts).items():
        measures.append(
            proportion(
                f"exact match on {KINDS[kind]}, over base",
                _booleans(told[rows]),
                float(asked[rows].mean()),
            )
        )
    return _write(measures, out) | _write_samples({"base": base, "sft": new}, config, out)


def run_reward(config: EvaluateConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Measure ``reward`` on pairs of ``sft``'s own answers to the test prompts of ``exercises``.

    The pairs carry no label noise. The interval resamples prompts, whose pairs are not independent.
    """
    set_threads(runtime)
    directory = inputs.one("sft").path(MODEL)
    tokenizer = language_model.load_tokenizer(directory)
    scorer = reward_model.load(inputs.one("reward").directory)
    groups = respond(
        Sampler(language_model.load(directory)),
        tokenizer,
        _core(_test_prompts(inputs)),
        RANKED_RESPONSES,
        max_new_tokens=config.max_new_tokens,
        temperature=1.0,
        generator=torch.Generator().manual_seed(config.seed),
    )
    right: dict[str, list[int]] = {}
    total: dict[str, list[int]] = {}
    for group in groups:
        question = encode_prompt(tokenizer, group.prompt.prompt)
        answers = [list(response.tokens) for response in group.responses]
        scores = scorer.score([question] * len(answers), answers)
        pairs = [(p.axis, bool(scores[p.chosen] > scores[p.rejected])) for p in compare(group)]
        for axis in ("all", *AXES):
            outcomes = [won for pair_axis, won in pairs if axis in ("all", pair_axis)]
            right.setdefault(axis, []).append(sum(outcomes))
            total.setdefault(axis, []).append(len(outcomes))
    measures = []
    for axis, wins in right.items():
        rows = [i for i, n in enumerate(total[axis]) if n]
        if rows:
            won, of = [wins[i] for i in rows], [total[axis][i] for i in rows]
            low, high = bootstrap_ratio(won, of, *resampling(config))
            name = f"held-out pairs ranked right ({axis}), over chance"
            measures.append(Measure(name, sum(won) / sum(of), low, high, 0.5))
    return _write(measures, out) | {"pairs": sum(total["all"])}


def run_ppo(config: EvaluateConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Measure ``ppo`` against ``sft`` on the test prompts of ``exercises``, greedy and sampled."""
    set_threads(runtime)
    prompts = _core(_test_prompts(inputs))
    new = answer_prompts(inputs.one("ppo").path(MODEL), prompts, config)
    old = answer_prompts(inputs.one("sft").path(MODEL), prompts, config)
    measures = [
        utility_gain("utility, greedy, gain over SFT", new, old, config),
        utility_gain("utility, sampled, gain over SFT", new, old, config, sampled=True),
    ]
    measures += axis_gains(new, old, "SFT", config)
    return _write(measures, out) | _write_samples({"ppo": new}, config, out)


def run_practice(config: EvaluateConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Measure the assistant of ``practice`` against ``ppo`` and against its control.

    Only this stage looks at the large sums of the test split.
    """
    set_threads(runtime)
    prompts = _test_prompts(inputs)
    practice, ppo = inputs.one("practice"), inputs.one("ppo").path(MODEL)
    folders = {"practice": practice.path(MODEL), "PPO": ppo, "control": practice.path(CONTROL)}
    answers = {n: answer_prompts(folder, prompts, config) for n, folder in folders.items()}
    exact = {n: _right_probabilities(folder, prompts) for n, folder in folders.items()}
    greedy = {n: sheet.axis(is_correct) for n, sheet in answers.items()}
    sums = {
        "large sums": [i for i, p in enumerate(prompts) if p.attribute == "large"],
        "sums": [i for i, p in enumerate(prompts) if p.attribute == "small"],
    }
    measures = []
    for name, rows in sums.items():
        if not rows:
            continue
        for rival in ("PPO", "control"):
            for label, values in (("greedy", greedy), ("probability of the right answer", exact)):
                gain = paired_difference(
                    f"{name}, {label}, gain over {rival}",
                    values["practice"][rows],
                    values[rival][rows],
                    *resampling(config),
                )
                measures.append(gain)
        outcomes = _booleans(greedy["practice"][rows])
        measures.append(
            proportion(f"{name} right, over PPO", outcomes, float(greedy["PPO"][rows].mean()))
        )
    core = [i for i, p in enumerate(prompts) if p.attribute != "large"]
    old, new = _only(answers["PPO"], core), _only(answers["practice"], core)
    measures.append(utility_gain("utility, greedy, gain over PPO", new, old, config))
    measures += axis_gains(new, old, "PPO", config)
    return _write(measures, out) | _write_samples({"practice": new}, config, out)


def _test_prompts(inputs: Inputs) -> list[Prompt]:
    return read_prompts(inputs.one("exercises").path("prompts-test.jsonl"))


def _test_completions(inputs: Inputs) -> list[dict[str, str]]:
    rows = read_jsonl(inputs.one("exercises").path("completions.jsonl"))
    return [row for row in rows if row["split"] == "test"]


def _core(prompts: Sequence[Prompt]) -> list[Prompt]:
    return [prompt for prompt in prompts if prompt.attribute != "large"]


def _only(answers: GradedAnswers, rows: Sequence[int]) -> GradedAnswers:
    return GradedAnswers(
        [answers.prompts[i] for i in rows],
        [answers.greedy[i] for i in rows],
        [answers.sampled[i] for i in rows],
    )


def _booleans(values: Array) -> list[bool]:
    return [bool(value) for value in values]


def _text_groups(documents: Sequence[HeldOutDocument]) -> dict[str, list[int]]:
    """Documents by source, and all that were not generated together."""
    groups: dict[str, list[int]] = {}
    for index, document in enumerate(documents):
        groups.setdefault(document.source, []).append(index)
    real = [i for i, d in enumerate(documents) if not d.url.startswith(GENERATED)]
    if real:
        groups["all real text"] = real
    return groups


def _bits_per_byte(
    name: str,
    bits: Array,
    baseline: Array,
    sizes: Sequence[int],
    config: EvaluateConfig,
) -> list[Measure]:
    low, high = bootstrap_ratio(bits, sizes, *resampling(config))
    saved = baseline - bits
    saved_low, saved_high = bootstrap_ratio(saved, sizes, *resampling(config))
    total = sum(sizes)
    return [
        Measure(
            f"bits per byte, {name}, over a bigram",
            float(bits.sum() / total),
            low,
            high,
            float(baseline.sum() / total),
            "lower",
        ),
        Measure(
            f"bits per byte saved on a bigram, {name}",
            float(saved.sum() / total),
            saved_low,
            saved_high,
            0.0,
        ),
    ]


def _asked_as_in_documents(base: Artifact, prompts: Sequence[Prompt]) -> list[bool]:
    """Whether the base model answers, when asked as its documents ask, what has an answer."""
    directory = base.path(MODEL)
    questions = [
        {"prefix": f"Question: {prompt.prompt} Answer:", "value": prompt.answer}
        for prompt in prompts
        if prompt.answer is not None
    ]
    model, tokenizer = language_model.load(directory), language_model.load_tokenizer(directory)
    return completes(model, tokenizer, questions)


def _right_probabilities(folder: Path, prompts: Sequence[Prompt]) -> Array:
    model, tokenizer = language_model.load(folder), language_model.load_tokenizer(folder)
    return right_probabilities(model, tokenizer, prompts)


def _write(measures: Sequence[Measure], out: Path) -> Counts:
    rows = [{k: _rounded(v) for k, v in asdict(measure).items()} for measure in measures]
    text = json.dumps(rows, indent=1, ensure_ascii=False)
    (out / "measures.json").write_text(text + "\n", encoding="utf-8")
    return {"measures": len(measures)}


def _rounded(value: object) -> object:
    """Enough digits for people; the last bits of a float may differ between machines."""
    return round(value, 6) if isinstance(value, float) else value


def _write_samples(
    models: Mapping[str, GradedAnswers], config: EvaluateConfig, out: Path
) -> Counts:
    """Each model's greedy answers to the first few prompts, which are in random order."""
    rows = [
        {
            "model": model,
            "kind": group.prompt.kind,
            "prompt": group.prompt.prompt,
            "expected": group.prompt.answer,
            "answer": group.responses[0].text,
        }
        for model, answers in models.items()
        for group in answers.greedy[: config.num_shown]
    ]
    return {"samples": write_jsonl(out / "samples.jsonl", rows)}
