"""Distil reasoning from a large language model into a small one."""

__version__ = "0.1.0.dev0"
