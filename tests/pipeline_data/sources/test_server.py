import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from pipeline_data.sources.server import serve_site
from tests.pipeline_data.sources.artifacts import write_files

FILES = {
    "secret.txt": "outside of every host",
    "a.example/index.html": "home of a",
    "a.example/a b.html": "a page with a space",
    "b.example/index.html": "home of b",
    "b.example/data.csv": "1,2",
    "routes.json": json.dumps(
        {
            "flaky": ["http://a.example/"],
            "redirects": {"http://a.example/old": "http://b.example/"},
            "content_types": {"http://b.example/": "text/html"},
        }
    ),
}


def fetch(proxy: str, url: str) -> tuple[int, str, str]:
    """Status, type and body of a URL asked for through a proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy}))
    try:
        with opener.open(url, timeout=10) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, "", error.read().decode()


def test_hosts_are_served_behind_one_port(tmp_path: Path) -> None:
    write_files(tmp_path, FILES)
    with serve_site(tmp_path) as proxy:
        assert fetch(proxy, "http://a.example/")[0] == 503
        assert fetch(proxy, "http://a.example/") == (200, "text/html; charset=utf-8", "home of a")
        assert fetch(proxy, "http://A.EXAMPLE/a%20b.html")[2] == "a page with a space"
        assert fetch(proxy, "http://a.example/old") == (200, "text/html", "home of b")
        assert fetch(proxy, "http://b.example/data.csv")[1] == "text/csv"
        assert fetch(proxy, "http://c.example/")[0] == 404


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example/../secret.txt",
        "http://a.example/%2e%2e/secret.txt",
        "http://a.example/..%2fb.example/index.html",
        "http://../secret.txt",
        "http://a.example/%00",
    ],
)
def test_nothing_outside_a_host_is_served(tmp_path: Path, url: str) -> None:
    write_files(tmp_path / "site", FILES)
    write_files(tmp_path, {"secret.txt": "outside of the site"})
    with serve_site(tmp_path / "site") as proxy:
        assert fetch(proxy, url)[0] == 404
