"""Made-up documents and the artefacts that hold them."""

import io
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from pipeline_data.artifact import Artifact, content_digest, describe, part_digests
from pipeline_data.formats import DOCUMENTS, KEPT, document_id, write_table

SUBJECTS = "the miller, an old sailor, the committee, every river, the small orchestra, a baker"
VERBS = "repairs, remembers, carries, paints, measures, forgets, sells, questions, follows"
OBJECTS = "wooden bridges, the long winter, a map of the coast, three letters, red lanterns, bread"
ENDINGS = (
    "with great care, before the rain, and then leaves, in the north, of that time, to be sure"
)


def _choose(rng: random.Random, words: str) -> str:
    return rng.choice(words.split(", "))


def make_sentence(rng: random.Random) -> str:
    parts = [_choose(rng, words) for words in (SUBJECTS, VERBS, OBJECTS, ENDINGS)]
    sentence = f"{' '.join(parts)} {rng.choice(('have', 'that', 'with'))} {_choose(rng, OBJECTS)}"
    return f"{sentence[0].upper()}{sentence[1:]}{rng.choice('..!?')}"


def make_text(seed: int, num_sentences: int = 12, sentences_per_line: int = 3) -> str:
    rng = random.Random(seed)
    sentences = list(dict.fromkeys(make_sentence(rng) for _ in range(num_sentences * 3)))
    lines = [
        " ".join(sentences[start : start + sentences_per_line])
        for start in range(0, num_sentences, sentences_per_line)
    ]
    return "\n".join(lines)


def make_documents(texts: Iterable[str], source: str = "made") -> list[dict[str, str]]:
    urls = [f"https://{source}.example/{number}" for number in range(10_000)]
    return [
        {"doc_id": document_id(source, url), "url": url, "source": source, "text": text}
        for url, text in zip(urls, texts, strict=False)
    ]


def as_artifact(directory: Path, shard: str | None = None) -> Artifact:
    """The record of the files below ``directory``, as the store would make it."""
    files = describe(directory)
    digest = content_digest(files)
    parts = part_digests(files)
    return Artifact("test", 1, digest, digest, directory, shard=shard, files=files, parts=parts)


def documents_artifact(directory: Path, rows: Sequence[dict[str, str]], shard: str) -> Artifact:
    write_table(directory / "documents.parquet", DOCUMENTS, rows)
    return as_artifact(directory, shard)


def kept_artifact(directory: Path, doc_ids: Sequence[str], shard: str) -> Artifact:
    write_table(directory / "kept.parquet", KEPT, [{"doc_id": doc_id} for doc_id in doc_ids])
    return as_artifact(directory, shard)


def make_page(seed: int, extra: str = "") -> str:
    paragraphs = "".join(f"<p>{line}</p>" for line in make_text(seed).split("\n"))
    return (
        f"<html><head><title>Page {seed}</title></head><body>"
        "<nav><ul><li><a href='/'>Home</a></li><li><a href='/all'>All pages</a></li></ul></nav>"
        f"<article><h1>Heading {seed}</h1>{paragraphs}{extra}</article>"
        "<footer>Imprint and <a href='/legal'>legal notes</a></footer></body></html>"
    )


def warc_artifact(folder: Path, pages: Sequence[tuple[str, bytes]], date: str) -> Artifact:
    folder.mkdir(parents=True)
    with (folder / "pages.warc.gz").open("wb") as handle:
        writer = WARCWriter(handle, gzip=True)
        for url, body in pages:
            headers = StatusAndHeaders("200 OK", [("Content-Type", "text/html")], "HTTP/1.1")
            record = writer.create_warc_record(
                url,
                "response",
                payload=io.BytesIO(body),
                http_headers=headers,
                warc_headers_dict={
                    "WARC-Date": date,
                    "WARC-Record-ID": f"<urn:uuid:00000000-0000-0000-0000-{len(body):012d}>",
                },
            )
            writer.write_record(record)
            record.raw_stream.close()  # a temporary file of warcio's
    return as_artifact(folder, "web-000")
