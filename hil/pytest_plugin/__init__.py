"""
Tests on rigs: ``pytest --rig=samd21`` (docs/pytest.md).

Options and hooks are here, the fixtures in `hil.pytest_plugin.fixtures`.  Nothing heavy is imported before a test
takes a rig.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from hil.pytest_plugin import options, reports, void
from hil.pytest_plugin.baseline import ABSOLUTE, EXACT, RELATIVE, Within, absolute, exact, relative
from hil.pytest_plugin.clock import DEVICE_CLOCK, DeviceClock
from hil.pytest_plugin.comparing import NotBitExact, NotClose, assert_bit_exact, assert_close
from hil.pytest_plugin.fixtures import firmware, hil_bench, measure, model, rig, stream
from hil.pytest_plugin.values import Measurement

__all__ = [
    "ABSOLUTE",
    "DEVICE_CLOCK",
    "EXACT",
    "RELATIVE",
    "DeviceClock",
    "Measurement",
    "NotBitExact",
    "NotClose",
    "Within",
    "absolute",
    "assert_bit_exact",
    "assert_close",
    "exact",
    "firmware",
    "hil_bench",
    "measure",
    "model",
    "relative",
    "rig",
    "stream",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    options.add(parser)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "model(path): the model of this test: a recipe, its folder, or an artefact")
    config.addinivalue_line("markers", "needs(feature, ...): skipped on rigs without it: " + ", ".join(options.NEEDS))
    options.check(config)
    config.pluginmanager.register(reports.Reports(config), "hil-reports")


def pytest_report_header(config: pytest.Config) -> str:
    return f"hil: rigs {', '.join(options.rig_names(config))}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Once for each rig; in a worker of pytest-xdist once, on whichever of them is free."""
    if "hil_bench" not in metafunc.fixturenames:
        return
    names = options.rig_names(metafunc.config)
    if options.in_pool(metafunc.config) and len(names) > 1:
        metafunc.parametrize("hil_bench", [tuple(names)], ids=["pool"], indirect=True, scope="session")
    else:
        ids = [Path(name).stem for name in names]
        metafunc.parametrize("hil_bench", [(name,) for name in names], ids=ids, indirect=True, scope="session")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    return void.judge(item, call, report)


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.TestReport | pytest.CollectReport) -> Any:
    return void.status(report)


# pytest-benchmark, where it is installed


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_benchmark_scale_unit(
    config: pytest.Config, unit: str, benchmarks: Any, best: Any, worst: Any, sort: Any
) -> Any:
    from hil.pytest_plugin import clock

    return clock.scale_unit(unit, benchmarks)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    from hil.pytest_plugin import clock

    clock.describe(config, machine_info)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_compare_machine_info(
    config: pytest.Config, benchmarksession: Any, machine_info: dict[str, Any], compared_benchmark: dict[str, Any]
) -> None:
    from hil.pytest_plugin import clock

    clock.remember_compared(config, compared_benchmark.get("machine_info", {}))
