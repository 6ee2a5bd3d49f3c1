"""Verifiers: a completion's text and a gold answer in, a verdict out; one file per kind of answer."""

from distill.verifiers.judge import Judge, gold_problem, verify

__all__ = ["Judge", "gold_problem", "verify"]
