"""The two web pages people use, in a real browser: Prefect's run form and run page, and MLflow.

HEADWATER_SCREENSHOTS names a folder for pictures of what the tests saw.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from mlflow.entities import LoggedModel
from PIL import Image, ImageChops
from prefect.client.schemas.objects import FlowRun

from tasks.lineage.catalogue import Catalogue
from tasks.store import Store
from tests.conftest import free_port
from tests.flows.deployed import await_run, find_deployment, task_states
from tests.tasks.tracking.small_model import make_small_model

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="no browser tests without the Python package playwright"
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = [
    pytest.mark.xdist_group("deployments"),
    pytest.mark.skipif(CHROMIUM is None, reason="no browser tests without chromium: install it"),
    pytest.mark.usefixtures("mlflow_server"),  # it starts slowly, while the others run
]
TRAINING = """
    localStorage.setItem('mlflow.workflowType_v1', '"machine_learning"');
    localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');
    localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');
"""
"""Has MLflow show what concerns training, and no chat over it at the first visit."""
SLOW = 60_000
"""Milliseconds until a page has given up; a loaded machine takes many."""


@pytest.fixture(scope="module")
def mlflow_server(worker: Path, first_run: FlowRun) -> Iterator[str]:
    """The address of an MLflow server of the worker's home, which may still be starting."""
    address = ("127.0.0.1", free_port())
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", address[0],
         "--port", str(address[1]), "--backend-store-uri", f"sqlite:///{worker / 'mlflow.db'}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}, cwd=worker,
        start_new_session=True,
    )  # fmt: skip
    try:
        yield "http://{}:{}".format(*address)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


@pytest.fixture(scope="module")
def page() -> "Iterator[sync_api.Page]":
    """A browser's page that asks nobody but this machine."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": 1400, "height": 900}, locale="en-US", timezone_id="UTC"
        )
        page.set_default_timeout(SLOW)
        page.route(re.compile(r"^https?://(?!127\.0\.0\.1)"), lambda route: route.abort())
        page.add_init_script(TRAINING)
        sync_api.expect.set_options(timeout=SLOW)
        yield page
        browser.close()


@pytest.fixture(scope="module")
def pages_of_prefect(prefect_server: str) -> str:
    return prefect_server.removesuffix("/api") + "/v2"


@pytest.fixture(scope="module")
def forced_run(
    page: "sync_api.Page", pages_of_prefect: str, first_run: FlowRun, mlflow_server: str
) -> FlowRun:
    """A run that the form started, with one stage forced."""
    deployment = find_deployment("corpus/corpus")
    page.goto(f"{pages_of_prefect}/deployments/deployment/{deployment.id}/run")
    page.get_by_label("Run Name").fill("again-dedup")
    page.get_by_role("button", name="Select by name").click()
    page.get_by_role("option", name="smoke").click()
    page.get_by_role("button", name="Select force").click()
    page.get_by_role("option", name="dedup", exact=True).click()
    page.keyboard.press("Escape")
    sync_api.expect(page.get_by_role("listbox")).to_have_count(0)
    sync_api.expect(page.get_by_role("main").get_by_text("dedup", exact=True)).to_be_visible()
    save_picture(page, "run-form")
    return await_run(submit_form(page))


def submit_form(page: "sync_api.Page") -> UUID:
    """The id of the run that the server makes of a form."""
    created = click(page.get_by_role("button", name="Submit"), "POST", "/create_flow_run")
    return UUID(created.json()["id"])


def click(target: "sync_api.Locator", method: str, path: str) -> "sync_api.Response":
    """What the server answers to the request of a click, clicking again while it is too busy."""
    page = target.page
    for _ in range(20):
        with page.expect_response(
            lambda r: r.request.method == method and path in r.url
        ) as answered:
            target.click()
        if answered.value.status != 503:
            break
        page.wait_for_timeout(3000)
    assert answered.value.ok, (answered.value.status, answered.value.text())
    return answered.value


def save_picture(page: "sync_api.Page", name: str) -> None:
    if folder := os.environ.get("HEADWATER_SCREENSHOTS"):
        page.screenshot(path=Path(folder, f"{name}.png"))


def test_the_form_names_the_field_of_a_wrong_value(
    page: "sync_api.Page", pages_of_prefect: str, worker: Path
) -> None:
    deployment = find_deployment("pipeline/pipeline")
    page.goto(f"{pages_of_prefect}/deployments/deployment/{deployment.id}/run")
    page.get_by_role("tab", name="change").click()
    section = page.locator("div.group", has=page.get_by_text("pretrain (Optional)", exact=True))
    section.last.get_by_role("tab", name="change").click()
    steps = page.get_by_label("pretrain.steps")
    steps.fill("0")
    page.get_by_role("button", name="Submit").click()
    refusal = "Value must be greater than or equal to 1."
    assert steps.evaluate("field => field.validationMessage") == refusal
    assert page.url.endswith("/run")


def test_a_stage_forced_in_the_form_runs_alone(
    page: "sync_api.Page", pages_of_prefect: str, first_run: FlowRun, forced_run: FlowRun
) -> None:
    assert forced_run.state_name == "Completed", forced_run.state and forced_run.state.message
    states = task_states(forced_run.id)
    assert states.keys() == task_states(first_run.id).keys()
    assert states.pop("dedup") == "Completed"
    assert set(states.values()) == {"Cached"}

    page.goto(f"{pages_of_prefect}/runs/flow-run/{forced_run.id}?tab=TaskRuns")
    main = page.get_by_role("main")
    sync_api.expect(main.get_by_text("again-dedup").first).to_be_visible()
    sync_api.expect(main.get_by_text("Completed", exact=True).first).to_be_visible()
    sync_api.expect(main.get_by_text("Cached", exact=True).first).to_be_visible()


def test_the_run_page_draws_the_graph_with_its_edges(
    page: "sync_api.Page", pages_of_prefect: str, prefect_server: str, forced_run: FlowRun
) -> None:
    graph = httpx.get(f"{prefect_server}/flow_runs/{forced_run.id}/graph-v2").json()
    nodes = dict(graph["nodes"])
    parents = {
        node["label"]: {nodes[parent["id"]]["label"] for parent in node["parents"]}
        for node in nodes.values()
    }
    shards = ("web-000", "web-001", "world-000", "world-001")
    assert parents["crawl web"] == {"site"}
    assert parents["dedup"] == {f"signature {shard}" for shard in shards}
    assert parents["tokenizer"] == {f"sample {shard}" for shard in shards}

    page.goto(f"{pages_of_prefect}/runs/flow-run/{forced_run.id}?tab=TaskRuns")
    canvas = page.locator("canvas")
    canvas.wait_for()
    choose_look(page, "radio", "Dependency grid")
    choose_look(page, "switch", "Hide dependency arrows")
    without_arrows = picture_at_rest(canvas)
    choose_look(page, "switch", "Hide dependency arrows")
    for _ in range(SLOW // 500):
        changed = ImageChops.difference(without_arrows, picture_at_rest(canvas)).convert("L")
        num_pixels = sum(changed.histogram()[32:])
        if num_pixels > 500:
            break
    assert num_pixels > 500
    save_picture(page, "run-page")


def choose_look(page: "sync_api.Page", role: str, name: str) -> None:
    """Change a setting of the drawn graph."""
    page.locator("button[aria-haspopup=dialog]").last.click()
    page.get_by_role(role, name=name).click()
    page.keyboard.press("Escape")
    sync_api.expect(page.get_by_role("dialog")).to_have_count(0)


def picture_at_rest(canvas: "sync_api.Locator") -> Image.Image:
    """What is drawn once nothing moves any more."""
    canvas.page.mouse.move(0, 0)
    deadline = time.monotonic() + SLOW / 1000
    earlier = b""
    while time.monotonic() < deadline:
        shot = canvas.screenshot()
        picture = Image.open(BytesIO(shot)).convert("RGB")
        if shot == earlier and sum(map(bool, picture.histogram())) > 99:  # colours: not empty
            return picture
        earlier = shot
        canvas.page.wait_for_timeout(500)
    raise TimeoutError("the graph does not come to rest")


def test_a_schedule_is_switched_on_and_off(
    page: "sync_api.Page", pages_of_prefect: str, worker: Path
) -> None:
    deployment = find_deployment("corpus/corpus")
    page.goto(f"{pages_of_prefect}/deployments/deployment/{deployment.id}")
    switch = page.get_by_role("switch", name=re.compile("toggle At 02:00"))
    sync_api.expect(switch).not_to_be_checked()
    for active in (True, False):
        click(switch, "PATCH", "/schedules/")
        sync_api.expect(switch).to_be_checked(checked=active)
        assert [s.active for s in find_deployment("corpus/corpus").schedules] == [active]


def test_mlflow_shows_the_run_and_what_its_stages_read(
    page: "sync_api.Page", mlflow_server: str, forced_run: FlowRun
) -> None:
    await_address(f"{mlflow_server}/health")
    page.goto(f"{mlflow_server}/#/experiments/1/runs")
    runs = page.get_by_role("link", name=re.compile("^smoke "))
    sync_api.expect(runs.first).to_be_visible()

    run = run_of_stage(mlflow_server, "tokenize")
    page.goto(f"{mlflow_server}/#/experiments/1/runs/{run['info']['run_id']}")
    sync_api.expect(page.get_by_role("heading", name="tokenize", exact=True)).to_be_visible()
    first, *others = run["inputs"]["dataset_inputs"]
    shown = f"{first['dataset']['name']} ({first['dataset']['digest']})"
    sync_api.expect(page.get_by_role("button", name=shown)).to_be_visible()
    sync_api.expect(page.get_by_text(f"+{len(others)}", exact=True)).to_be_visible()
    sync_api.expect(runs).to_be_visible()  # the run it was a part of
    save_picture(page, "mlflow-run")


@pytest.fixture(scope="module")
def model(
    mlflow_server: str, worker: Path, tmp_path_factory: pytest.TempPathFactory
) -> LoggedModel:
    """A model in the MLflow of the worker's home, logged through its server."""
    from tasks.tracking.check import disagreements
    from tasks.tracking.mirror import Mirror

    await_address(f"{mlflow_server}/health")
    folder = tmp_path_factory.mktemp("model")
    store = Store(str(folder / "store"), folder / "cache")
    stages = make_small_model(store)
    (base,) = stages["pretrain"]
    catalogue = Catalogue.open(store)
    mirror = Mirror(catalogue, mlflow_server, worker / "mlflow")
    mirror.record("a model", {}, stages, {"base": base})
    assert disagreements(catalogue, base, mlflow_server) == []
    wanted = f"tags.key = '{base.key}'"
    (model,) = mirror.client.search_logged_models([mirror.experiment], filter_string=wanted)
    return model


def test_the_page_of_a_model_shows_its_data_and_its_lineage(
    page: "sync_api.Page", mlflow_server: str, model: LoggedModel
) -> None:
    page.goto(f"{mlflow_server}/#/experiments/1/models/{model.model_id}")
    sync_api.expect(page.get_by_text("Datasets used", exact=True)).to_be_visible()
    shards = page.get_by_text(re.compile(r"^tokenize \(2 shards\) \(#[0-9a-f]{36}\)$"))
    sync_api.expect(shards.first).to_be_visible()
    sync_api.expect(page.get_by_text("heldout/bits per byte - web", exact=True)).to_be_visible()
    save_picture(page, "mlflow-model")
    shards.first.click()
    for name in ("a-000", "b-000"):
        listed = page.get_by_text(re.compile(rf"^tokenize/{name} \([0-9a-f]{{36}}\)"))
        sync_api.expect(listed).to_be_visible()
    page.keyboard.press("Escape")

    page.get_by_text("Artifacts", exact=True).click()
    page.get_by_text("lineage.html", exact=True).first.click()
    lineage = page.frame_locator("iframe")
    sync_api.expect(lineage.get_by_text(model.tags["digest"]).first).to_be_visible()
    shards = lineage.get_by_role("button", name="tokenize, 2 shards, 4 tokens")
    sync_api.expect(shards).to_be_visible()
    lineage.locator("input").first.fill("www.example/a-000")
    page_found = lineage.get_by_text("http://www.example/a-000.html", exact=True)
    sync_api.expect(page_found.first).to_be_visible()


def test_the_page_of_a_version_shows_the_chain_it_was_made_of(
    page: "sync_api.Page", mlflow_server: str, model: LoggedModel
) -> None:
    query = {"filter": "name = 'base'"}
    found = httpx.get(f"{mlflow_server}/api/2.0/mlflow/model-versions/search", params=query).json()
    key = {"key": "key", "value": model.tags["key"]}
    (version,) = (v["version"] for v in found["model_versions"] if key in v["tags"])
    page.goto(f"{mlflow_server}/#/models/base/versions/{version}")
    sync_api.expect(page.get_by_text(model.tags["digest"]).first).to_be_visible()
    chain = page.get_by_role("row", name=re.compile("^pretrain 1 .* tokenize .*tokens 4$"))
    sync_api.expect(chain).to_be_visible()
    sync_api.expect(page.get_by_text("@ champion")).to_be_visible()


def await_address(address: str) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def run_of_stage(server: str, stage: str) -> dict[str, Any]:
    """A stage's run, as MLflow's API tells it."""
    query = {"experiment_ids": ["1"], "filter": f"tags.stage = '{stage}'"}
    found = httpx.post(f"{server}/api/2.0/mlflow/runs/search", json=query, timeout=60).json()
    run: dict[str, Any] = found["runs"][0]
    return run
