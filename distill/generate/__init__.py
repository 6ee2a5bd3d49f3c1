"""From prompts to completions: one file per backend, and exact entropies by a pass with local weights."""

from distill.generate.base import Backend, BackendOptions, BoundsOptions, open_backend

__all__ = ["Backend", "BackendOptions", "BoundsOptions", "open_backend"]
