"""Speed of the emulator against Unicorn without hooks, in one run: the same as `hil bench emulator`."""

import sys

from hil.cli import run

if __name__ == "__main__":
    sys.exit(run(["bench", "emulator"]))
