"""
What pyOCD loads: the probe class and the targets.  The only modules of this package that import pyOCD.

pyOCD loads its plug-ins while it is being imported itself, so it has to come first.
"""

import pyocd  # noqa: F401
