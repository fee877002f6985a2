"""The stage table: one row a stage, in the order of the pipeline.

A stage's function lives in a library that knows no Prefect; this is where it gets its name,
its version and its manners. Raise ``version`` when the output for the same input changes.
"""

from tasks.stage import Stage

STAGES = {
    stage.name: stage
    for stage in (
        Stage("download", "pipeline_data.sources.download:run", retries=3),
        Stage("fetch", "pipeline_data.sources.fetch:run", retries=3),
        Stage("site", "pipeline_data.sources.site:run"),
        Stage("crawl", "pipeline_data.sources.crawl:run", sharded=True, retries=3),
        Stage("ingest", "pipeline_data.sources.ingest:run", sharded=True),
        Stage("dataset", "pipeline_data.sources.dataset:run", sharded=True, retries=3),
        Stage("curriculum", "pipeline_data.curriculum.curriculum:run", sharded=True),
        Stage("redact", "pipeline_data.corpus.redact:run"),
        Stage("extract", "pipeline_data.corpus.extraction.extract:run", version=2),
        Stage(
            "filter",
            "pipeline_data.corpus.filters.filter:run",
            version=2,
            scope="pipeline_data.corpus.filters.filter:scope_config",
        ),
        Stage("signature", "pipeline_data.corpus.deduplication.signature:run", version=2),
        Stage("dedup", "pipeline_data.corpus.deduplication.dedup:run", version=2, sharded=True),
        Stage("evaluation-items", "pipeline_data.corpus.decontamination.evaluation_items:run"),
        Stage("decontaminate", "pipeline_data.corpus.decontamination.decontaminate:run"),
        Stage("sample", "pipeline_data.corpus.tokenization.sample:run"),
        Stage("tokenizer", "pipeline_data.corpus.tokenization.tokenizer:run"),
        Stage("adopt-tokenizer", "pipeline_data.corpus.tokenization.adopted_tokenizer:run"),
        Stage("tokenize", "pipeline_data.corpus.tokenization.tokenize:run", version=2),
        Stage("corpus-report", "pipeline_data.corpus.report.report:run"),
        Stage("pretrain", "model_code.pretrain:run", version=2, all_cores=True),
        Stage("sft", "model_code.sft:run", version=2),
        Stage("responses", "model_code.responses:run"),
        Stage("preferences", "pipeline_data.preferences:run"),
        Stage("reward", "model_code.reward:run", version=2),
        Stage("ppo", "model_code.ppo:run", version=2),
        Stage("practice", "model_code.practice:run", version=2),
        *(
            Stage(
                f"evaluate-{model}",
                f"model_code.evaluate:run_{model}",
                version=2,
                measures=subject,
            )
            for model, subject in {
                "base": "pretrain",
                "sft": "sft",
                "reward": "reward",
                "ppo": "ppo",
                "practice": "practice",
            }.items()
        ),
    )
}
