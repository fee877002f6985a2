"""Stage ``filter``: languages, quality rules and masking of personal data, one shard at a time."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from pipeline_data.artifact import Artifact, Counts
from pipeline_data.corpus.filters.language import identify_language
from pipeline_data.corpus.filters.page import Drop
from pipeline_data.corpus.filters.pii import mask_personal_data
from pipeline_data.corpus.filters.quality import Rules, apply_rules, make_rules
from pipeline_data.corpus.filters.url_rule import has_blocks, scope_url_config
from pipeline_data.corpus.settings import FilterConfig, UrlConfig
from pipeline_data.formats import DROPPED, FILTERED, open_table, read_rows
from pipeline_data.stage_run import Inputs, Runtime

DOCUMENTS_FILE = "documents.parquet"


def run(config: FilterConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Keep the documents that pass, in their order, and say of each other one what dropped it.

    Input ``documents`` (documents.parquet). Writes documents.parquet and dropped.parquet.
    A rule may change the text (C4 takes out lines); masking comes last. The language is that of
    the text as it came in.
    """
    rules = make_rules(config)
    num_kept = 0
    drops: Counter[str] = Counter()
    masked: Counter[str] = Counter(dict.fromkeys(config.pii, 0))
    with (
        open_table(out / DOCUMENTS_FILE, FILTERED) as keep,
        open_table(out / "dropped.parquet", DROPPED) as drop,
    ):
        for row in read_rows(inputs.one("documents").path(DOCUMENTS_FILE)):
            verdict, language = _judge(config, rules, row["url"], row["text"])
            if isinstance(verdict, str):
                text, counts = mask_personal_data(verdict, config.pii)
                masked.update(counts)
                keep(row | {"text": text, "language": language})
                num_kept += 1
            else:
                rule, reason = verdict
                drops[rule] += 1
                drop({"doc_id": row["doc_id"], "url": row["url"]} | _describe(rule, reason))
            runtime.progress(num_kept + drops.total(), None, "documents")
    asked = [*(["language"] if config.languages else []), *config.rules]
    return {
        "num_documents": num_kept,
        "num_dropped": drops.total(),
        **{f"num_dropped_{rule}": drops[rule] for rule in asked},
        **{f"num_masked_{kind}": count for kind, count in sorted(masked.items())},
    }


def scope_config(config: FilterConfig, open_input: Callable[[str], Artifact]) -> FilterConfig:
    """The config without the entries of URL lists that decide about no page of this shard.

    :func:`run` writes the same bytes with it, as it does without a rule that has no entry left. As
    the identity of a shard's result it makes a longer list a reason to filter again only those
    shards that hold an address it decides about. Reads the addresses of input ``documents``
    alone, and nothing at all where no address can be blocked.
    """
    url_config = UrlConfig()
    if "url" in config.rules and has_blocks(config.url):
        rows = read_rows(open_input("documents").path(DOCUMENTS_FILE), ["url"])
        url_config = scope_url_config(config.url, (row["url"] for row in rows))
    rules = tuple(rule for rule in config.rules if rule != "url" or has_blocks(url_config))
    return config.model_copy(update={"url": url_config, "rules": rules})


def _judge(
    config: FilterConfig, rules: Rules, url: str, text: str
) -> tuple[tuple[str, Drop] | str, str]:
    """The first rule that drops the page and its reason, or the text that is left; the language,
    where it is asked for."""
    language = ""
    if config.languages:
        language, probability = _identify(config, text)
        threshold = config.min_language_probability
        if language not in config.languages:
            return ("language", Drop(language, value=probability)), language
        if probability < threshold:
            return ("language", Drop(language, value=probability, threshold=threshold)), language
    verdict = apply_rules(rules, url, text)
    if config.identify_language and not language and isinstance(verdict, str):
        language, _ = _identify(config, text)
    return verdict, language


def _identify(config: FilterConfig, text: str) -> tuple[str, float]:
    return identify_language(text, config.language_num_chars, config.language_candidates)


def _describe(rule: str, reason: Drop) -> dict[str, str | float | None]:
    return {
        "stage": "filter",
        "rule": rule,
        "detail": f"{reason.reason} {reason.detail}".strip(),
        "value": reason.value,
        "threshold": reason.threshold,
    }
