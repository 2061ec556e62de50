"""Build hook: compile the shared libraries into the wheel, with the machine's own C compiler."""

from __future__ import annotations

import runpy
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CoreBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """The libraries are loaded with cffi in ABI mode, so the wheel fits every Python of the platform."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        root = Path(self.root)
        sys.path.insert(0, str(root))
        try:
            libraries = [
                runpy.run_path(str(root / "hil" / "emulator" / "build_core.py"))["CORE"],
                runpy.run_path(str(root / "hil" / "cells" / "build_recurrent.py"))["RECURRENT"],
            ]
            for library in libraries:
                library.build(library.path)
                build_data["artifacts"].append(library.path.relative_to(root).as_posix())
        finally:
            sys.path.remove(str(root))
        commit = Path(self.directory) / "commit.txt"
        commit.parent.mkdir(parents=True, exist_ok=True)
        commit.write_text(_commit(root))
        build_data["force_include"][str(commit)] = "hil/_resources/commit.txt"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_platform()}"


def _commit(root: Path) -> str:
    """What reports of the installed package cite; empty outside a checkout."""
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty", "--match="]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _platform() -> str:
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")
