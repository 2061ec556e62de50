"""The documents' commands and examples run, and their tables agree with the code."""

import doctest
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from sound_folder import make_sounds

from hil.datasets.sources import SOURCES
from hil.link import schema
from hil.resources import resource

ROOT = Path(__file__).parents[1]
CARDS = sorted((ROOT / "models").glob("*/README.md"))
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")), *CARDS]

TINY = """
name = "tiny"
[data]
keywords = ["yes", "no"]
unknown_words = ["house"]
clips = 100
[cell]
hidden = [5, 4]
dense = 6
[train]
epochs = 1
[quantize]
epochs = 1
"""
OWN = 'name = "sounds"\n[data]\nsource = "folder"\nfolder = "../../sounds"\n' + TINY[TINY.index("[cell]") :]


def hil(*arguments, cwd):
    environment = {**os.environ, "HIL_DATA": str(cwd / "data")} if (cwd / "data").is_dir() else None
    command = [sys.executable, "-m", "hil.cli", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


def readme_commands():
    lines = re.findall(r"^    hil (.*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    return [line.split("#")[0].strip() for line in lines]


def test_the_readmes_commands_run_in_their_order(tmp_path):
    """
    Each `hil ...` line of the README, on recipes small enough for a test.

    ``sounds/`` is a folder of sounds, whose recipe is there already; every data set is, so that none is downloaded.
    """
    for folder, recipe in (("models/tiny", TINY), ("build/sounds", OWN)):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "recipe.toml").write_text(recipe)
    make_sounds(tmp_path / "sounds")
    for name in SOURCES:
        (tmp_path / "data" / name).mkdir(parents=True)
    commands = readme_commands()
    assert len(commands) >= 9
    for command in commands:
        run = hil(*shlex.split(command.replace("models/keyword-demo", "models/tiny")), cwd=tmp_path)
        assert run.returncode == 0, f"hil {command}\n{run.stdout}\n{run.stderr}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_links_between_documents_lead_somewhere(document):
    """Every relative link names a file that exists."""
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    """What `hil --help` prints."""
    return hil("--help", cwd=tmp_path_factory.mktemp("help")).stdout


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_commands_in_documents_exist(document, listed):
    """`hil COMMAND` in running text names a command of the program."""
    for command in set(re.findall(r"`hil ([a-z]+)", document.read_text())):
        assert re.search(rf"^  {command}\b", listed, re.MULTILINE), f"{document.name}: hil {command}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_python_examples_in_documents_are_true(document):
    """`>>>` examples print what they say."""
    assert doctest.testfile(str(document), module_relative=False).failed == 0


def test_the_links_numbers_are_those_of_the_schema():
    """docs/link.md states the sizes that the code uses."""
    text = (ROOT / "docs" / "link.md").read_text().replace(",", "")
    assert f"{schema.MAX_BODY} bytes" in text
    assert f"{schema.MAX_REPLY} bytes" in text
    assert f"{schema.FRAME_TAG:02X}" in text
    assert f"up to {schema.WINDOW} of them" in text
    assert f"{schema.MAX_STREAM_LINE} bytes" in text
    assert f"{schema.MAX_STREAM_REPLY} encoded" in text


def test_shipped_folders_are_there():
    """What the commands need travels with the package."""
    assert (resource("models") / "keyword-demo" / "recipe.toml").is_file()
    assert (resource("firmware") / "kernels").is_dir()
    assert (resource("rigs") / "emulator.toml").is_file()
