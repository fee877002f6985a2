"""Training curves, read from beside the models and drawn."""

import base64
import io
import json
from pathlib import Path

import pytest
from PIL import Image

from flows.curves import DOTS_PER_INCH, PANEL_INCHES, Curve, draw_curves, read_curves
from pipeline_data.artifact import Artifact


def artifact(folder: Path, stage: str, *rows: dict[str, float]) -> Artifact:
    """An artefact with these rows of metrics beside it; without any, with no such file."""
    provenance = folder / stage / "provenance"
    provenance.mkdir(parents=True)
    if rows:
        (provenance / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return Artifact(stage, 1, "key", "digest", folder / stage)


def test_a_curve_for_each_metric_but_rates(tmp_path: Path) -> None:
    artifacts = [
        artifact(tmp_path, "crawl"),
        artifact(
            tmp_path,
            "ppo",
            {"step": 1, "score": 0.5, "steps_per_second": 3.0},
            {"step": 2, "score": float("nan"), "divergence": 0.1},
            {"step": 3, "score": 0.7, "divergence": 0.2},
        ),
        artifact(tmp_path, "sft", {"step": 1, "loss": float("inf")}),
    ]
    assert read_curves(artifacts) == [
        Curve("ppo", "score", [1, 3], [0.5, 0.7]),
        Curve("ppo", "divergence", [2, 3], [0.1, 0.2]),
    ]


def draw(num_curves: int, num_steps: int = 9) -> str:
    steps = range(num_steps)
    return draw_curves(
        [
            Curve(f"stage-{i}", "loss", steps, [1 / (s + 1) for s in steps])
            for i in range(num_curves)
        ]
    )


@pytest.mark.parametrize(("num_curves", "columns", "rows"), [(1, 1, 1), (3, 3, 1), (4, 3, 2)])
def test_a_panel_a_curve(num_curves: int, columns: int, rows: int) -> None:
    head, _, data = draw(num_curves).partition(",")
    assert head == "data:image/png;base64"
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    width, height = (round(DOTS_PER_INCH * inches) for inches in PANEL_INCHES)
    assert image.size == (columns * width, rows * height)


def test_a_single_step_is_a_dot_that_can_be_seen() -> None:
    image = Image.open(io.BytesIO(base64.b64decode(draw(1, num_steps=1).partition(",")[2])))
    panel = image.convert("RGB").crop((0, image.height // 5, image.width, image.height))
    colours = [colour for _, colour in panel.getcolors(2**24) or ()]  # the title has the same one
    assert (0x2B, 0x7F, 0x99) in colours


def test_same_numbers_same_bytes() -> None:
    assert draw(2) == draw(2)
