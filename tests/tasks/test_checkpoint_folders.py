"""Checkpoints go with the result they are for, or with time."""

import os
import time
from pathlib import Path

from tasks.checkpoint_folders import MAX_AGE_DAYS, checkpoint_folder, discard_old_checkpoints
from tasks.store import Request


def test_a_folder_is_of_one_result(tmp_path: Path) -> None:
    asked = Request("sft", 1, {"steps": 1}, ())
    assert checkpoint_folder(tmp_path, asked) == checkpoint_folder(tmp_path, asked)
    other = Request("sft", 1, {"steps": 2}, ())
    assert checkpoint_folder(tmp_path, asked) != checkpoint_folder(tmp_path, other)


def test_only_what_nobody_came_back_for_is_discarded(tmp_path: Path) -> None:
    assert discard_old_checkpoints(tmp_path) == 0
    folders = [checkpoint_folder(tmp_path, Request("sft", 1, {"n": n}, ())) for n in range(3)]
    for folder in folders:
        (folder / "checkpoint-1").mkdir(parents=True)
    long_ago = time.time() - (MAX_AGE_DAYS + 1) * 24 * 3600
    os.utime(folders[0] / "checkpoint-1", (long_ago, long_ago))
    os.utime(folders[0], (long_ago, long_ago))
    os.utime(folders[1], (long_ago, long_ago))  # its checkpoint is younger
    assert discard_old_checkpoints(tmp_path) == 1
    assert [folder.exists() for folder in folders] == [False, True, True]
