"""Tiny recurrent networks on a microcontroller, and proof of what they do there."""

__version__ = "0.1.0"
