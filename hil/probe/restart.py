"""Reset a chip through its debug probe, whatever its firmware does."""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import monotonic

from hil.chips import Chip
from hil.errors import RigError, RigNotFound, ToolError
from hil.probe.flash import find_pyocd
from hil.probe.process import Child


def restart_through_pyocd(uid: str, chip: Chip, rig: str, deadline_s: float) -> str:
    """
    Pull the reset line, and see that the debug unit does not hold the core; where no chip answers, only pull.

    Args:
        uid: The probe's whole id.
        chip: What is behind it.
        rig: Name for errors.
        deadline_s: For everything; pyOCD is ended then.

    Returns:
        What was done, in words.

    Raises:
        RigNotFound: No probe of that id is attached.
        RigError: The probe cannot be opened, or did not come back.
        ToolError: pyOCD is not installed or failed.
    """
    find_pyocd()
    order = {"uid": uid, "target": chip.name}
    with tempfile.TemporaryDirectory(prefix="hil-restart-") as folder:
        child = Child("hil.probe.plugin.restart", order, cwd=Path(folder))
        try:
            said = next(child.said(monotonic() + deadline_s), {})
        except TimeoutError:
            raise RigError(
                rig, f"the probe {uid} did not come back within {deadline_s:g} s. Plug it in anew."
            ) from None
        finally:
            child.kill()
    if "done" in said:
        return str(said["done"])
    if said.get("failed") == "no_probe":
        attached = ", ".join(said["attached"]) or "none"
        raise RigNotFound(rig, f"no debug probe has the id {uid!r} (attached: {attached}). Check its cable.")
    if said.get("failed"):
        raise RigError(rig, f"the probe {uid} cannot reset the chip ({said.get('text', '')}).")
    raise ToolError(f"{rig}: pyOCD ended without a word while it reset the chip:\n{child.log}")
