"""`python -m igq` is the program: the same answers and exit codes."""

import subprocess
import sys


def run(*arguments):
    return subprocess.run([sys.executable, "-m", "igq", *map(str, arguments)], capture_output=True, text=True)


def test_version_usage_and_faults(tmp_path):
    assert run("--version").stdout.startswith("igq ")
    assert run("no-such-verb").returncode == 2
    failed = run("predict", tmp_path / "nowhere", "x.png")
    assert failed.returncode == 1 and failed.stderr.startswith("igq: error: ") and failed.stderr.count("\n") == 1


def test_predict(igq_file, photo, program):
    done = run("predict", igq_file, photo, "--json")
    assert done.returncode == 0
    import json

    expected = program("predict", igq_file, photo)
    assert json.loads(done.stdout)["images"] == expected["images"]
