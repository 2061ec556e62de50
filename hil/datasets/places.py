"""Where data sets lie: HIL_DATA, else the cache."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hil.errors import UsageError


def cache_folder() -> Path:
    """``HIL_CACHE``, or ``hil`` in the platform's folder for a user's caches."""
    if chosen := os.environ.get("HIL_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "hil"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hil"


def download_folder() -> Path:
    """Where `hil data get` puts data sets."""
    return cache_folder() / "data"


def find_data(name: str) -> Path | None:
    """
    Folder of a data set in its publisher's layout: ``$HIL_DATA/name``, else the downloaded one.

    Raises:
        UsageError: ``HIL_DATA`` is set and is no folder.
    """
    places = [download_folder() / name]
    if given := os.environ.get("HIL_DATA"):
        folder = Path(given).expanduser()
        if not folder.is_dir():
            raise UsageError(
                f"HIL_DATA = {given}: no such folder. Set it to the folder that holds {name}/, or unset it"
            )
        places.insert(0, folder / name)
    return next((place for place in places if place.is_dir()), None)


def data_folder(name: str) -> Path:
    """
    Like `find_data`, but there must be one.

    Raises:
        UsageError: There is none; what to do is said.
    """
    found = find_data(name)
    if found is None:
        given = os.environ.get("HIL_DATA")
        looked = f"HIL_DATA ({given}) has no {name}/, nor has" if given else "HIL_DATA is not set, and there is none in"
        raise UsageError(
            f"data set {name!r}: {looked} {download_folder()}. Download it: `hil data get {name}`, "
            f"or set HIL_DATA to a folder that holds {name}/ as its publisher ships it"
        )
    return found
