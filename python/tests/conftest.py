"""Fixtures of the Python tests: the models and images of the C++ tests; the program that the answers are compared with."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def checkpoint():
    return ROOT / "tests/fixtures/models/vit_token"


@pytest.fixture(scope="session")
def igq_file():
    return ROOT / "tests/fixtures/igq/v1.igq"


@pytest.fixture(scope="session")
def photo():
    return ROOT / "tests/fixtures/images/rgb.jpg"


@pytest.fixture(scope="session")
def program():
    """The program as a function: arguments -> its JSON document."""
    binary = ROOT / "build/igq"
    command = [str(binary)] if binary.exists() else [sys.executable, "-m", "igq"]

    def run(*arguments):
        done = subprocess.run([*command, *map(str, arguments), "--json"], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    return run
