"""What a shell offers for a half-typed name, where ``distill --install-completion`` was run.

Typer keeps of each list what begins with the letters that stand there.
"""

from __future__ import annotations

from pathlib import Path


def complete_source(incomplete: str) -> list[str]:
    """Data cards that serve as sources, and files."""
    return [*_cards("source"), *_paths(incomplete)]


def complete_benchmark(incomplete: str) -> list[str]:
    """Data cards that serve as benchmarks; behind a colon their splits."""
    from distill.cards import card_names, load_card

    name, colon, _ = incomplete.partition(":")
    if colon and name in card_names():
        return [f"{name}:{split}" for split in load_card(name).splits]
    return _cards("benchmark")


def complete_recipe(incomplete: str) -> list[str]:
    """Shipped recipes, and files."""
    from distill.recipe import shipped_recipes

    return [*shipped_recipes(), *_paths(incomplete)]


def complete_method() -> list[str]:
    """Registered training methods."""
    return _registered("methods")


def complete_backend() -> list[str]:
    """Registered backends."""
    return _registered("backends")


def complete_kind() -> list[str]:
    """What 'distill list' lists."""
    from distill.registry import REGISTRY

    return ["sources", "benchmarks", *REGISTRY]


def _registered(kind: str) -> list[str]:
    from distill.registry import REGISTRY

    return list(REGISTRY[kind])


def _cards(role: str) -> list[str]:
    from distill.cards import list_cards

    return [card.name for card in list_cards() if role in card.roles]


def _paths(incomplete: str) -> list[str]:
    """Files and folders whose path begins so; a folder with a slash behind it."""
    folder = Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent
    return [f"{path}/" if path.is_dir() else str(path) for path in sorted(folder.glob("*"))]
