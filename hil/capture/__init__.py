"""Field recordings: made so that whatever ends them leaves them readable, and made into tests and training data."""

from hil.capture.info import CaptureInfo
from hil.capture.reader import Capture, Segment, load_capture
from hil.capture.recorder import CaptureEnded, Recorder

__all__ = ["Capture", "CaptureEnded", "CaptureInfo", "Recorder", "Segment", "load_capture"]
