"""Everything that draws: rich tables, histograms and progress; data on stdout, the rest on stderr."""

from distill.terminal.consoles import show_error
from distill.terminal.dataset import draw_stats, show_stats
from distill.terminal.dataset_changes import draw_changes, show_changes
from distill.terminal.dataset_group import GroupView, draw_group, show_group, show_groups
from distill.terminal.dataset_list import show_group_list
from distill.terminal.evaluation import show_comparison, show_evaluated
from distill.terminal.listing import show_cards, show_checks, show_registry
from distill.terminal.progress import show_progress
from distill.terminal.publishing import show_exported, show_published
from distill.terminal.runs import show_curated, show_plan, show_shard, show_status, show_trained, snapshot_line
from distill.terminal.safety import show_safety
from distill.terminal.training import show_merged, show_plotted, show_training_plan
from distill.terminal.verdict import show_explanation

__all__ = [
    "GroupView",
    "draw_changes",
    "draw_group",
    "draw_stats",
    "show_cards",
    "show_changes",
    "show_checks",
    "show_comparison",
    "show_curated",
    "show_error",
    "show_evaluated",
    "show_explanation",
    "show_exported",
    "show_group",
    "show_group_list",
    "show_groups",
    "show_merged",
    "show_plan",
    "show_plotted",
    "show_progress",
    "show_published",
    "show_registry",
    "show_safety",
    "show_shard",
    "show_stats",
    "show_status",
    "show_trained",
    "show_training_plan",
    "snapshot_line",
]
