"""The model card: every number from the files, valid for the hub, and safe to show."""

import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from flows.report import render_card
from flows.report.card import render_card as render
from flows.report.record import ModelRecord
from tests.flows.report.homes import number, open_catalogue, read_table
from tests.flows.report.truth import count_masks, lines, one, read_truth

pytestmark = pytest.mark.xdist_group("lineage")


@pytest.fixture(scope="module")
def card(record: ModelRecord) -> str:
    return render(record)


def test_the_text_it_was_trained_on_is_what_its_shards_hold(card: str, report_home: Path) -> None:
    truth = read_truth(report_home)
    table = {row[0]: row for row in read_table(card, "source | category")}
    assert {name: (number(row[3]), number(row[4])) for name, row in table.items()} == {
        source: (truth.documents[source, "train"], truth.tokens[source, "train"])
        for source in ("web", "world")
    }
    total = [
        sum(c[s, "train"] for s in table) for c in (truth.documents, truth.tokens, truth.bytes)
    ]
    documents, tokens, num_bytes = (f"{value:,}" for value in total)
    amount = f"{documents} documents with {tokens} tokens ({num_bytes} bytes of text)"
    assert f"Pretraining drew from {amount}" in card
    held_out = [sum(c[s, "heldout"] for s in table) for c in (truth.documents, truth.tokens)]
    assert f"{held_out[0]:,} documents with {held_out[1]:,} tokens were\nheld out" in card


def test_tokens_seen_are_those_of_the_training(card: str, report_home: Path) -> None:
    pretrain, folder = one(report_home, "pretrain")
    config = pretrain["config"]
    seen = config["steps"] * config["batch_size"] * config["context"]
    rows = [r for r in read_table(card, "stage | order") if r[:2] == ["pretrain", "tokens"]]
    assert [(number(r[2]), number(r[3])) for r in rows] == [(seen, seen)]
    assert f"saw {seen:,} tokens, repeats included" in card
    shares = {r[0]: float(r[5].rstrip("%")) for r in read_table(card, "source | category")}
    of_rows = {s: pretrain["counts"][f"tokens {s}"] / seen for s in shares}
    assert shares == {s: round(100 * share, 1) for s, share in of_rows.items()}
    assert folder.is_dir()


def test_hosts_and_what_was_taken_out_are_counted_right(card: str, report_home: Path) -> None:
    truth = read_truth(report_home)
    hosts = {r[0]: [number(n) for n in r[1:4]] for r in read_table(card, "host ")}
    assert hosts == {
        host: [amount["documents"], amount["tokens"], amount["bytes"]]
        for host, amount in truth.hosts.items()
    }
    taken = {(r[0], r[1]): number(r[2]) for r in read_table(card, "stage | rule")}
    assert taken == {rule: n for rule, n in truth.dropped.items() if n}
    masked = {kind: count_masks(report_home, kind) for kind in ("email", "ip")}
    assert f"Personal data masked: email {masked['email']}, ip {masked['ip']}." in card
    assert masked["email"] > 0


def test_what_alignment_was_taught_with_is_what_its_files_hold(
    card: str, report_home: Path
) -> None:
    table = read_table(card, "used by | what")
    told = [(r[0], r[1], number(r[2])) for r in table]
    exercises = "exercises/prompts-{}.jsonl"
    ppo = one(report_home, "ppo")[0]["config"]
    practice, folder = one(report_home, "practice")
    assert told[:6] == [
        (
            "sft",
            "demonstrations",
            lines(report_home, "curriculum", "exercises/demonstrations.jsonl"),
        ),
        ("reward", "prompts", lines(report_home, "curriculum", exercises.format("preference"))),
        ("reward", "responses", 4 * lines(report_home, "responses", "responses.jsonl")),
        ("reward", "rankings", lines(report_home, "preferences", "preferences.jsonl")),
        ("ppo", "prompts", lines(report_home, "curriculum", exercises.format("ppo"))),
        ("ppo", "responses", ppo["iterations"] * ppo["rollouts"]),
    ]
    assert told[6] == (
        "practice",
        "prompts",
        lines(report_home, "curriculum", exercises.format("practice")),
    )
    order = json.loads((folder / "provenance/orders/practice/order.json").read_text())
    assert order["order"] == "practice"
    assert sum(n for _, what, n in told[6:] if what == "answers") == sum(
        int(practice["counts"][name]) for name in ("answers kept", "anchors")
    )


def test_every_measure_stands_there_with_its_interval_and_a_verdict(
    card: str, report_home: Path
) -> None:
    for stage in ("base", "sft", "reward", "ppo", "practice"):
        record, folder = one(report_home, f"evaluate-{stage}")
        subject = "pretrain" if stage == "base" else stage
        section = card.split(f"\n### {subject} `")[1].split("\n### ")[0]
        measures = json.loads((folder / "measures.json").read_text())
        expected = [
            [
                m["name"],
                f"{m['value']:.3f}",
                f"{m['low']:.3f} to {m['high']:.3f}",
                f"{m['baseline']:.3f}",
            ]
            for m in measures
        ]
        table = read_table(section, "measure")
        assert [row[:4] for row in table] == expected
        for row, m in zip(table, measures, strict=True):
            beyond = (m["low"] > m["baseline"]) - (m["high"] < m["baseline"])
            sign = beyond if m["better"] == "higher" else -beyond
            assert row[4] == {1: "better", 0: "not told apart", -1: "worse"}[sign]
        assert record["counts"]["measures"] == len(table)


def test_the_hub_can_read_its_metadata_and_results(card: str, report_home: Path) -> None:
    parsed = ModelCard(card)
    _, folder = one(report_home, "evaluate-practice")
    measures = json.loads((folder / "measures.json").read_text())
    results = parsed.data.eval_results
    assert results is not None
    assert [(r.metric_name, r.metric_value) for r in results] == [
        (m["name"], m["value"]) for m in measures
    ]
    assert parsed.data.language == ["en"]
    assert parsed.data.license == "unknown"
    assert parsed.data.pipeline_tag == "text-generation"
    assert parsed.text.lstrip().startswith(
        f"# assistant `{one(report_home, 'practice')[0]['digest'][:12]}`"
    )


def test_what_is_not_on_record_is_said_with_how_to_record_it(card: str) -> None:
    assert "| Licence | *not on record* (set provider.model_licence in the recipe) |" in card
    assert "*not on record* (set provider.intended_use in the recipe)" in card


def test_the_same_record_gives_the_same_card(card: str, report_home: Path) -> None:
    catalogue = open_catalogue(report_home)
    assert render_card(catalogue, catalogue.named("assistant")) == card


@pytest.mark.parametrize("name", ["base", "sft", "reward"])
def test_other_models_have_cards_of_their_own(name: str, report_home: Path) -> None:
    catalogue = open_catalogue(report_home)
    artifact = catalogue.named(name)
    text = render_card(catalogue, artifact)
    assert ModelCard(text).data.model_name == f"{name}-{artifact.digest[:12]}"
    assert ("Nothing: it is a base model." in text) == (name == "base")
    assert "## What it is worth" in text
