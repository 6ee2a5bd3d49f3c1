"""Everything that draws: rich tables, histograms and progress; data on stdout, the rest on stderr."""

from distill.terminal.consoles import show_error
from distill.terminal.dataset import show_group, show_stats
from distill.terminal.evaluation import show_comparison, show_evaluated
from distill.terminal.listing import show_cards, show_checks, show_registry
from distill.terminal.progress import show_progress
from distill.terminal.runs import show_curated, show_plan, show_trained

__all__ = [
    "show_cards",
    "show_checks",
    "show_comparison",
    "show_curated",
    "show_error",
    "show_evaluated",
    "show_group",
    "show_plan",
    "show_progress",
    "show_registry",
    "show_stats",
    "show_trained",
]
