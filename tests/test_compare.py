"""The command that measures before and after runs, and leaves nothing behind."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "tests" / "benchmarks" / "compare.py"


def compare(folder, *words):
    command = [sys.executable, str(SCRIPT), *words]
    environment = {**os.environ, "TMPDIR": str(folder)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.skipif(
    shutil.which("git") is None or not (ROOT / ".git").exists(), reason="needs the history"
)
def test_two_trees_are_measured_and_nothing_is_left(tmp_path):
    done = compare(tmp_path, "HEAD", "--rounds", "2", "--only", "import", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    row = found["workloads"]["import"]
    assert row["ratio"] == row["after"] / row["before"] > 0
    assert [len(times) for times in row["all"].values()] == [2, 2]
    assert found["after"].rstrip("+") == found["before"]
    slower = compare(tmp_path, "--rounds", "1", "--only", "import", "--at-most", "1e-9")
    assert slower.returncode == 1
    refused = compare(tmp_path, "no-such-ref")
    assert refused.returncode == 2
    assert "ref is 'no-such-ref'; allowed: a commit" in refused.stderr
    assert list(tmp_path.iterdir()) == []
    words = ["git", "worktree", "list", "--porcelain"]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert str(tmp_path.resolve()) not in listed.stdout
