"""The version, where packaging and stored files read it."""

__version__ = "0.1.0"
