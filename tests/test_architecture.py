"""The import direction of the package, as a test."""

import ast
import subprocess
import sys
from pathlib import Path

import hil

# Top to bottom.  A module may import only from rows below its own.
ROWS = [
    {"cli", "pytest_plugin"},
    {"capture", "report"},
    {"experiment"},
    {"rig"},
    {"firmware", "probe"},
    {"codegen", "link", "emulator", "train"},
    {"cells", "quant", "features", "datasets"},
    {"arithmetic", "artefact", "recipe", "clip", "trace", "float_model", "language"},
    {"fixed", "config", "resources", "chips", "layer_build", "native", "data_recipe", "train_recipe", "prune_recipe"},
    {"errors"},
]
RANK = {name: i for i, row in enumerate(ROWS) for name in row}
PACKAGE = Path(hil.__file__).parent


def imports(path):
    """Top-level parts of `hil` that a file imports, wherever the import stands."""
    here = path.relative_to(PACKAGE.parent).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = list(here[: len(here) - node.level]) if node.level else []
            stem = base + (node.module or "").split(".")
            names = [stem, *([*stem, alias.name] for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        else:
            continue
        for parts in names:
            parts = [part for part in parts if part]
            if parts[:1] == ["hil"] and len(parts) > 1 and parts[1] in RANK:
                yield parts[1]


def sources():
    return [p for p in PACKAGE.rglob("*.py") if "_resources" not in p.parts]


def test_imports_point_downwards():
    """No module imports from its own row or from one above."""
    wrong = [
        f"{path.relative_to(PACKAGE.parent)} imports hil.{target}"
        for path in sources()
        if (part := path.relative_to(PACKAGE).with_suffix("").parts[0]) in RANK
        for target in set(imports(path))
        if target != part and RANK[target] <= RANK[part]
    ]
    assert not wrong, "\n".join(wrong)


def test_every_part_has_a_row():
    """A new part of the package is placed in a row before it is merged."""
    found = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()}
    assert found - {"__init__"} <= set(RANK), f"add to ROWS: {sorted(found - {'__init__'} - set(RANK))}"


def outside_importers(library, *allowed):
    """Files of the package that import ``library`` although they lie in none of the allowed folders."""
    return [
        str(path.relative_to(PACKAGE))
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [a.name for a in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        if name.split(".")[0] == library and not any(PACKAGE / folder in path.parents for folder in allowed)
    ]


def test_torch_is_imported_only_for_training():
    """`cells` and `train` are the only importers of torch."""
    assert outside_importers("torch", "cells", "train") == []


def test_pyocd_is_imported_only_by_its_plug_in():
    """`probe.plugin`, which pyOCD loads and flashing runs as a child process, is the only importer of pyOCD."""
    assert outside_importers("pyocd", "probe/plugin") == []


def test_sounddevice_is_imported_by_one_module():
    """`capture.microphone` is the only importer of sounddevice, and imports it when a microphone is opened."""
    assert outside_importers("sounddevice") == ["capture/microphone.py"]
    code = "import sys, hil.capture.microphone, hil.cli.commands; assert 'sounddevice' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_optuna_is_imported_only_by_sweeps():
    """`experiment.sweep` is the only importer of Optuna and of its database."""
    assert outside_importers("optuna", "experiment/sweep") == []
    assert outside_importers("sqlalchemy", "experiment/sweep") == []
