"""Which groups make which step."""

from __future__ import annotations

from distill.train.plan import TrainPlan

IDS = tuple(f"sums/{n}" for n in range(11))
ORDER_OF_SEED_0 = [5, 8, 3, 2, 7, 4, 1, 0, 6, 9, 10]


def epoch(plan: TrainPlan, number: int) -> list[int]:
    first = number * plan.steps_per_epoch
    return [group for step in range(first, first + plan.steps_per_epoch) for group in plan.groups_of(step)]


def test_every_epoch_has_every_group_once_in_an_order_of_its_own():
    plan = TrainPlan(IDS, groups_per_step=4, epochs=3, seed=0)
    orders = [epoch(plan, number) for number in range(3)]
    assert all(sorted(order) == list(range(11)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3


def test_the_last_step_of_an_epoch_takes_what_is_left():
    plan = TrainPlan(IDS, groups_per_step=4, epochs=2, seed=0)
    assert [len(plan.groups_of(step)) for step in range(plan.num_steps)] == [4, 4, 3, 4, 4, 3]
    assert [step for step in range(plan.num_steps) if plan.ends_epoch(step)] == [2, 5]


def test_the_order_follows_from_the_seed_alone():
    assert epoch(TrainPlan(IDS, 4, 1, seed=1), 0) == epoch(TrainPlan(IDS, 4, 1, seed=1), 0)
    assert epoch(TrainPlan(IDS, 4, 1, seed=1), 0) != epoch(TrainPlan(IDS, 4, 1, seed=2), 0)


def test_the_order_is_the_same_on_every_machine():
    # sorted by blake2b of "0/0/sums/<n>": a change of these numbers breaks resuming of older runs
    assert epoch(TrainPlan(IDS, 4, 1, seed=0), 0) == ORDER_OF_SEED_0


def test_a_step_asked_for_alone_is_the_step_of_the_whole_run():
    whole = TrainPlan(IDS, 4, 3, seed=5)
    steps = [whole.groups_of(step) for step in range(whole.num_steps)]
    assert TrainPlan(IDS, 4, 3, seed=5).groups_of(7) == steps[7]
