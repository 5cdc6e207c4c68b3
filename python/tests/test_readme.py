"""The README's Python part says what really comes out: its lines are run, numbers compared to six digits."""

import doctest
import os
import re
import shutil
import subprocess
import sys


def rounded(text):
    return re.sub(r"\d+\.\d+", lambda number: f"{float(number[0]):.6g}", text)


class Checker(doctest.OutputChecker):
    def check_output(self, want, got, flags):
        return super().check_output(rounded(want), rounded(got), flags)


def test_python_part(root, tmp_path, monkeypatch, capsys):
    readme = (root / "README.md").read_text()
    part = readme[readme.index("## From Python") :].split("\n## ")[0]
    monkeypatch.chdir(tmp_path)
    shutil.copytree(root / "assets", tmp_path / "assets")  # the search keeps its vectors beside the photos
    (tmp_path / "examples").symlink_to(root / "examples")
    lines, shell = part.split("    $ ", 1)
    test = doctest.DocTestParser().get_doctest(lines, {}, "README", "README.md", 0)
    result = doctest.DocTestRunner(Checker()).run(test)
    assert result.attempted == 6 and result.failed == 0, capsys.readouterr().out

    command, *said = [line.removeprefix("    ") for line in shell.strip().splitlines()]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    words = [sys.executable, *command.split()[1:]]
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == said
