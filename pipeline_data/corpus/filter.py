"""Stage ``filter``: languages, quality rules and masking of personal data, one shard at a time."""

from collections import Counter
from pathlib import Path

from pipeline_data.artifact import Counts
from pipeline_data.corpus.language import identify_language
from pipeline_data.corpus.pii import mask_personal_data
from pipeline_data.corpus.quality import Drop, Rule, make_rules
from pipeline_data.corpus.settings import FilterConfig, RuleName
from pipeline_data.formats import DOCUMENTS, DROPPED, read_rows, write_table
from pipeline_data.stage_run import Inputs, Runtime


def run(config: FilterConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Keep the documents that pass, in their order, and say of each other one what dropped it.

    Input ``documents`` (documents.parquet). Writes documents.parquet and dropped.parquet.
    A rule may change the text (C4 takes out lines); masking comes last.
    """
    rules = make_rules(config)
    kept, dropped = [], []
    masked: Counter[str] = Counter(dict.fromkeys(config.pii, 0))
    for num_read, row in enumerate(read_rows(inputs.one("documents").path("documents.parquet")), 1):
        rule, verdict = _judge(config, rules, row["url"], row["text"])
        if isinstance(verdict, Drop):
            detail = f"{verdict.reason} {verdict.detail}".strip()
            dropped.append(row | {"stage": "filter", "rule": rule, "detail": detail})
        else:
            text, counts = mask_personal_data(verdict, config.pii)
            masked.update(counts)
            kept.append(row | {"text": text})
        runtime.progress(num_read, None, "documents")
    write_table(out / "documents.parquet", DOCUMENTS, kept)
    write_table(out / "dropped.parquet", DROPPED, dropped)
    return (
        {"num_documents": len(kept), "num_dropped": len(dropped)}
        | _count_drops(config, Counter(row["rule"] for row in dropped))
        | {f"num_masked_{kind}": count for kind, count in sorted(masked.items())}
    )


def _judge(
    config: FilterConfig, rules: list[tuple[RuleName, Rule]], url: str, text: str
) -> tuple[str, str | Drop]:
    """The first rule that drops the page and its verdict, or the text that is left."""
    if config.languages:
        language, probability = identify_language(
            text, config.language_num_chars, config.language_candidates
        )
        if language not in config.languages or probability < config.min_language_probability:
            return "language", Drop(language, f"{probability:.3f}")
    for name, rule in rules:
        verdict = rule(url, text)
        if isinstance(verdict, Drop):
            return name, verdict
        if not verdict.strip():
            return name, Drop("empty")
        text = verdict
    return "", text


def _count_drops(config: FilterConfig, drops: Counter[str]) -> Counts:
    asked = [*(["language"] if config.languages else []), *config.rules]
    return {f"num_dropped_{rule}": drops[rule] for rule in asked}
