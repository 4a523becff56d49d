"""The checker of histories itself: what it accepts, and what it must find."""

from __future__ import annotations

import itertools
import random
from collections.abc import Hashable, Iterable

import pytest

from job_model import DONE, EXISTS, UNKNOWN, ModelJob, job_model
from linearizability import NotLinearizableError, Operation, check_linearizable

NUMBERS = itertools.count()


def did(call: str, argument: str, answer: Hashable, invoked: int, answered: int | None) -> Operation:
    return Operation(f"{call}-{next(NUMBERS)}", call, argument, invoked, answered, answer)


def check(*history: Operation) -> None:
    check_linearizable(history, job_model, None)


def is_explained_by_some_order(history: Iterable[Operation]) -> bool:
    """Try every order of every choice of the operations, as the definition says."""
    history = list(history)
    certain = [one for one in history if one.is_certain]
    uncertain = [one for one in history if not one.is_certain]
    for count in range(len(uncertain) + 1):
        for chosen in itertools.combinations(uncertain, count):
            for order in itertools.permutations((*certain, *chosen)):
                if _respects_time(order) and _is_what_the_model_says(order):
                    return True
    return False


def _respects_time(order: tuple[Operation, ...]) -> bool:
    pairs = itertools.combinations(order, 2)
    return all(later.answered is None or earlier.invoked <= later.answered for earlier, later in pairs)


def _is_what_the_model_says(order: tuple[Operation, ...]) -> bool:
    job: ModelJob | None = None
    for operation in order:
        answer, job = job_model(job, operation)
        if operation.is_certain and answer != operation.answer:
            return False
    return True


def test_operations_one_after_the_other_are_explained_by_their_order() -> None:
    check(
        did("read", "", None, 1, 2),
        did("pause", "", UNKNOWN, 3, 4),
        did("add", "a", DONE, 5, 6),
        did("add", "b", EXISTS, 7, 8),
        did("pause", "", True, 9, 10),
        did("pause", "", False, 11, 12),
        did("change", "c", DONE, 13, 14),
        did("read", "", ModelJob("c", paused=True), 15, 16),
        did("resume", "", True, 17, 18),
        did("remove", "", DONE, 19, 20),
        did("read", "", None, 21, 22),
    )


def test_concurrent_operations_may_have_either_order() -> None:
    add = did("add", "a", DONE, 1, 10)
    for seen in (None, ModelJob("a")):
        check(add, did("read", "", seen, 2, 9))


def test_an_answered_order_must_be_visible_to_a_later_question() -> None:
    with pytest.raises(NotLinearizableError, match="nothing explains the answer None to read"):
        check(did("add", "a", DONE, 1, 2), did("read", "", None, 3, 4))


def test_what_one_question_has_shown_later_ones_must_show() -> None:
    add = did("add", "a", DONE, 1, 10)
    with pytest.raises(NotLinearizableError):
        check(add, did("read", "", ModelJob("a"), 2, 3), did("read", "", None, 4, 5))


def test_two_concurrent_orders_cannot_both_be_the_first() -> None:
    with pytest.raises(NotLinearizableError):
        check(did("add", "a", DONE, 1, 10), did("add", "b", DONE, 2, 9))
    with pytest.raises(NotLinearizableError):
        check(did("add", "a", DONE, 1, 2), did("pause", "", True, 3, 9), did("pause", "", True, 4, 8))


def test_an_order_that_was_done_twice_is_found() -> None:
    remove = did("remove", "", DONE, 5, 6)
    with pytest.raises(NotLinearizableError):
        check(did("add", "a", DONE, 1, 2), remove, did("read", "", ModelJob("a"), 7, 8))


@pytest.mark.parametrize("seen", [None, ModelJob("a")])
def test_an_order_without_an_answer_may_have_been_done_or_not(seen: ModelJob | None) -> None:
    check(did("add", "a", None, 1, None), did("read", "", seen, 5, 6))


def test_an_order_without_an_answer_is_done_once_at_most() -> None:
    unanswered = did("add", "a", None, 1, None)
    with pytest.raises(NotLinearizableError):
        check(
            unanswered,
            did("read", "", ModelJob("a"), 2, 3),
            did("remove", "", DONE, 4, 5),
            did("read", "", ModelJob("a"), 6, 7),
        )


def test_an_order_is_not_done_before_it_was_called() -> None:
    with pytest.raises(NotLinearizableError):
        check(did("read", "", ModelJob("a"), 1, 2), did("add", "a", None, 3, None))


def test_many_orders_without_an_answer_are_checked_in_a_moment() -> None:
    unanswered = [did("change", f"lost {n}", None, n, None) for n in range(2, 40)]
    questions = [did("read", "", ModelJob(f"lost {n}"), 100 + 2 * n, 101 + 2 * n) for n in range(2, 40)]
    check(did("add", "a", DONE, 0, 1), *unanswered, *questions)
    with pytest.raises(NotLinearizableError):
        check(did("add", "a", DONE, 0, 1), *unanswered, *questions, did("read", "", ModelJob("lost 3"), 200, 201))


def test_the_search_agrees_with_trying_every_order() -> None:
    chance, verdicts = random.Random(16), []
    for _ in range(400):
        history = [a_random_operation(chance) for _ in range(5)]
        is_explained = is_explained_by_some_order(history)
        verdicts.append(is_explained)
        try:
            check(*history)
        except NotLinearizableError:
            assert not is_explained, history
        else:
            assert is_explained, history
    assert 40 < sum(verdicts) < 360  # both verdicts were tried


def a_random_operation(chance: random.Random) -> Operation:
    call = chance.choice(["add", "change", "pause", "resume", "remove", "read", "read"])
    by_call: dict[str, list[Hashable]] = {
        "read": [None, ModelJob("x"), ModelJob("y"), ModelJob("x", paused=True)],
        "add": [DONE, DONE, EXISTS],
        "pause": [True, False, UNKNOWN],
        "resume": [True, False, UNKNOWN],
    }
    answers = by_call.get(call, [DONE, UNKNOWN])
    invoked = chance.randrange(12)
    answered = None if chance.random() < 0.2 else invoked + chance.randrange(10)
    return did(call, chance.choice("xy"), chance.choice(answers), invoked, answered)
