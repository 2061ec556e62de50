"""A fault of the bench makes a test VOID: the run fails, and no firmware is blamed."""

from __future__ import annotations

from typing import Any

import pytest

from hil.errors import RigError

PROPERTY = "hil.void"


def judge(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> pytest.TestReport:
    """Mark a report whose phase ended in a `RigError`, and tell the rig that it must recover."""
    error = call.excinfo.value if call.excinfo else None
    if not isinstance(error, RigError):
        return report
    why = f"{type(error).__name__}: {error}"
    report.outcome = "failed"
    report.longrepr = f"VOID: the bench failed, nothing is said about the firmware.\n{why}"
    report.user_properties = [*report.user_properties, (PROPERTY, why)]
    item.user_properties.append((PROPERTY, why))  # JUnit reads the last phase's
    bench = getattr(item, "funcargs", {}).get("hil_bench")
    if bench is not None:
        bench.must_recover = True
    return report


def reason(report: Any) -> str | None:
    """Why a test is void; None if it is not."""
    found = [value for name, value in getattr(report, "user_properties", ()) if name == PROPERTY]
    return str(found[-1]) if found and report.outcome == "failed" else None


def status(report: Any) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    """Category, letter and word of a void test; None for others."""
    return ("void", "V", ("VOID", {"yellow": True})) if reason(report) is not None else None
