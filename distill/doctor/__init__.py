"""What 'distill doctor' looks at: can this machine curate, train and evaluate, and what is a model like."""

from distill.doctor.checks import Check
from distill.doctor.machine import check_cards, check_machine
from distill.doctor.model import check_model

__all__ = ["Check", "check_cards", "check_machine", "check_model"]
