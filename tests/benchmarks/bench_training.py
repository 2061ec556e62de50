"""Speed of the event-based GRU's training step against torch.nn.GRU, in one run: the same as `hil bench training`."""

import sys

from hil.cli import run

if __name__ == "__main__":
    sys.exit(run(["bench", "training", *sys.argv[1:]]))
