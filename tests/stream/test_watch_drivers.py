"""The reasons of an alert: each is given if, and only if, the figures support it."""

from __future__ import annotations

from decimal import Decimal

from costream.alerts import Driver
from stream.watch.reasons.drivers import drivers
from stream.watch.reasons.evidence import Change, Evidence, Part, Spender


def part(calls: int, tokens: int, cost: str) -> Part:
    return Part(calls=calls, tokens=tokens, cost_usd=Decimal(cost))


def reasons(evidence: Evidence) -> dict[str, Driver]:
    return {driver.kind: driver for driver in drivers(evidence)}


def one_model(now: Part, usual: Part, *, hours: int = 10) -> Evidence:
    return Evidence(usual_hours=hours, models={"m": Change(now, usual)})


def test_more_calls_are_a_reason_from_half_as_many_again() -> None:
    assert reasons(one_model(part(149, 1490, "1.49"), part(1000, 10_000, "10"))) == {}
    calls = reasons(one_model(part(150, 1500, "1.50"), part(1000, 10_000, "10")))
    assert list(calls) == ["calls"]
    assert calls["calls"].text == "150 calls against 100 in a usual hour (1.5x)"
    assert (calls["calls"].before, calls["calls"].after) == (100, 150)


def test_larger_requests_are_a_reason_from_half_as_large_again() -> None:
    assert reasons(one_model(part(100, 1499, "1.5"), part(1000, 10_000, "10"))) == {}
    larger = reasons(one_model(part(100, 1500, "1.5"), part(1000, 10_000, "10")))
    assert list(larger) == ["tokens_per_call"]
    assert larger["tokens_per_call"].text == "15 tokens a call against 10 usually (1.5x)"


def test_the_model_named_is_the_one_whose_share_has_grown_and_not_the_one_that_always_took_most() -> None:
    evidence = Evidence(
        usual_hours=10,
        models={
            "always": Change(part(60, 600, "18"), part(500, 5_000, "150")),
            "grown": Change(part(40, 400, "16"), part(0, 0, "0")),
            "small": Change(part(0, 0, "0"), part(500, 5_000, "50")),
        },
    )
    assert reasons(evidence)["model_mix"].name == "grown"


def test_of_two_models_that_took_more_the_one_that_adds_most_to_the_average_is_named() -> None:
    models = {
        "usual": Change(part(60, 600, "0.6"), part(100, 1_000, "1")),
        "a little dearer": Change(part(30, 300, "0.33"), part(0, 0, "0")),
        "much dearer": Change(part(10, 100, "0.4"), part(0, 0, "0")),
    }
    assert reasons(Evidence(usual_hours=1, models=models))["model_mix"].name == "much dearer"


def test_a_cheap_model_that_is_used_less_is_not_the_dearer_model_chosen() -> None:
    models = {
        "cheap": Change(part(1, 10, "0.01"), part(300, 3_000, "3")),
        "dear": Change(part(99, 990, "9.9"), part(700, 7_000, "70")),
    }
    mix = reasons(Evidence(usual_hours=10, models=models))["model_mix"]
    assert mix.text == "dear took 99 % of the tokens against 70 % usually, at 1.4x the average price"


def test_a_model_of_the_same_share_as_ever_is_not_named_whatever_it_costs() -> None:
    models = {
        "cheap": Change(part(50, 500, "0.5"), part(90, 900, "0.9")),
        "dear": Change(part(10, 100, "10"), part(10, 100, "10")),
        "new": Change(part(40, 400, "3.6"), part(0, 0, "0")),
    }
    assert reasons(Evidence(usual_hours=1, models=models))["model_mix"].name == "new"


def test_one_token_on_each_side_is_enough_to_compare_by_token() -> None:
    usual = {"a": part(100, 1, "1"), "b": part(0, 0, "0")}
    now = {"a": part(100, 1, "1"), "b": part(1, 1, "10")}
    models = {name: Change(now[name], usual[name]) for name in usual}
    mix = reasons(Evidence(usual_hours=10, models=models))["model_mix"]
    assert mix.text == "b took 50 % of the tokens against 0 % usually, at 10.0x the average price"
    now = {"a": part(9, 0, "0.09"), "b": part(1, 1, "1")}
    usual = {"a": part(1_000, 1_000, "1"), "b": part(1_000, 1_000, "10")}
    models = {name: Change(now[name], usual[name]) for name in usual}
    mix = reasons(Evidence(usual_hours=10, models=models))["model_mix"]
    assert mix.text == "b took 100 % of the tokens against 50 % usually, at 1.8x the average price"


def test_a_dearer_model_is_a_reason_and_is_named() -> None:
    evidence = Evidence(
        usual_hours=10,
        models={
            "small": Change(part(50, 500, "0.5"), part(990, 9_900, "9.9")),
            "large": Change(part(50, 500, "10"), part(10, 100, "2.0")),
        },
    )
    (mix,) = drivers(evidence)
    assert (mix.kind, mix.name) == ("model_mix", "large")
    assert mix.text == "large took 50 % of the tokens against 1 % usually, at 16.8x the average price"
    assert (mix.before, mix.after, mix.unit) == (Decimal("0.01"), Decimal("0.5"), "share")


def test_a_model_never_seen_before_is_priced_by_the_hour_itself() -> None:
    evidence = Evidence(
        usual_hours=10,
        models={
            "small": Change(part(50, 500, "0.5"), part(1000, 10_000, "10")),
            "new": Change(now=part(50, 500, "10")),
        },
    )
    assert reasons(evidence)["model_mix"].name == "new"


def test_a_model_that_was_used_once_before_has_the_price_of_that_call_and_a_higher_price_is_no_other_mix() -> None:
    assert "model_mix" not in reasons(one_model(part(1, 0, "10"), part(1, 0, "1"), hours=1))
    assert "model_mix" not in reasons(one_model(part(1, 1, "10"), part(1, 1, "1"), hours=1))


def test_larger_requests_to_a_new_model_of_the_same_price_are_not_a_dearer_model() -> None:
    evidence = Evidence(
        usual_hours=10,
        models={
            "old": Change(usual=part(1000, 10_000, "10")),
            "new": Change(now=part(100, 10_000, "10")),
        },
    )
    assert list(reasons(evidence)) == ["tokens_per_call"]


def test_a_cheaper_mix_is_no_reason() -> None:
    evidence = Evidence(
        usual_hours=10,
        models={
            "small": Change(part(300, 3000, "3"), part(500, 5_000, "5")),
            "large": Change(part(0, 0, "0"), part(500, 5_000, "50")),
        },
    )
    assert list(reasons(evidence)) == ["calls"]


def test_models_without_tokens_are_compared_by_call() -> None:
    evidence = Evidence(
        usual_hours=10,
        models={
            "image-s": Change(part(50, 0, "0.5"), part(1000, 0, "10")),
            "image-xl": Change(part(50, 0, "10"), part(10, 0, "2")),
        },
    )
    assert "of the calls" in reasons(evidence)["model_mix"].text


def test_a_model_without_tokens_beside_one_with_tokens_has_no_price_by_token() -> None:
    evidence = Evidence(
        usual_hours=10,
        models={
            "image": Change(part(10, 0, "5"), part(100, 0, "50")),
            "large": Change(part(50, 500, "10"), part(10, 100, "2.0")),
            "small": Change(part(50, 500, "0.5"), part(990, 9_900, "9.9")),
        },
    )
    mix = reasons(evidence)["model_mix"]
    assert mix.text == "large took 50 % of the tokens against 1 % usually, at 16.8x the average price"


def test_an_hour_without_calls_has_no_tokens_a_call() -> None:
    """A correction can take all calls of an hour back and leave tokens."""
    assert reasons(one_model(part(0, 500, "1"), part(100, 100, "1"))) == {}
    assert reasons(one_model(part(5, 500, "1"), part(0, 100, "1"))).keys() == set()
    assert reasons(one_model(part(-1, 500, "1"), part(100, 100, "1"))) == {}
    assert reasons(one_model(part(0, 0, "1"), part(100, 100, "1"))) == {}


def test_a_single_call_and_a_single_token_are_enough_to_compare() -> None:
    assert "tokens_per_call" in reasons(one_model(part(1, 15, "1"), part(1, 10, "1")))
    assert "tokens_per_call" in reasons(one_model(part(1, 2, "1"), part(1, 1, "1")))
    assert "calls" in reasons(one_model(part(2, 0, "1"), part(1, 0, "1"), hours=1))


def test_where_one_side_has_no_tokens_the_mix_is_compared_by_call() -> None:
    changes = {
        "s": Change(part(50, 0, "0.5"), part(1000, 10, "10")),
        "xl": Change(part(50, 0, "10"), part(10, 10, "2")),
    }
    mix = reasons(Evidence(usual_hours=10, models=changes))["model_mix"]
    assert mix.text == "xl took 50 % of the calls against 1 % usually, at 16.8x the average price"
    swapped = {
        "s": Change(part(50, 10, "0.5"), part(1000, 0, "10")),
        "xl": Change(part(50, 10, "10"), part(10, 0, "2")),
    }
    assert reasons(Evidence(usual_hours=10, models=swapped))["model_mix"].text == mix.text


def test_models_that_nobody_used_before_are_compared_with_nothing() -> None:
    """A correction can leave costs of usual hours without a call."""
    nobody = Change(part(10, 0, "5"), part(0, 0, "5"))
    assert reasons(Evidence(usual_hours=10, models={"m": nobody})) == {}
    assert reasons(Evidence(usual_hours=10, models={"m": nobody, "n": Change(usual=part(0, 0, "1"))})) == {}


def test_figures_of_a_reason_are_rounded_to_six_digits() -> None:
    calls = reasons(one_model(part(100, 0, "1"), part(7, 0, "1"), hours=3))["calls"]
    assert calls.before == Decimal("2.333333")
    assert calls.text == "100 calls against 2.3 in a usual hour (42.9x)"


def test_models_whose_usual_cost_is_unknown_give_no_reason_of_price() -> None:
    assert reasons(one_model(part(100, 1000, "50"), part(1000, 10_000, "0"))) == {}


def features(first: str, second: str) -> Evidence:
    return Evidence(
        usual_hours=10,
        models={"m": Change(part(100, 0, str(Decimal(first) + Decimal(second))), part(1000, 0, "20"))},
        features={
            "chat": Change(part(50, 0, first), part(500, 0, "10")),
            "": Change(part(50, 0, second), part(500, 0, "10")),
        },
    )


def test_the_feature_that_brought_the_excess_is_named_with_its_share() -> None:
    top = reasons(features("10", "2"))["top_feature"]
    assert top.name == "chat"
    assert top.text == "feature chat: 10.00 USD against 1.00 USD usually, 90 % of the excess"
    assert (top.before, top.after) == (1, 10)
    assert reasons(features("2", "10"))["top_feature"].text.startswith("calls without a feature: 10.00 USD")


def test_nobody_is_named_for_less_than_a_third_of_the_excess() -> None:
    spread = {str(each): Change(part(10, 0, "4"), part(100, 0, "10")) for each in range(4)}
    users = tuple(Spender(f"u{each}", Decimal(4), Decimal(1)) for each in range(4))
    total = {"m": Change(part(40, 0, "16"), part(400, 0, "40"))}
    assert reasons(Evidence(usual_hours=10, models=total, features=spread, users=users)) == {}


def test_the_user_of_the_excess_is_named() -> None:
    users = (Spender("big", Decimal(8), Decimal("7.9")), Spender("new\n", Decimal(7), Decimal(0)))
    total = {"m": Change(part(10, 0, "16"), part(100, 0, "80"))}
    user = reasons(Evidence(usual_hours=10, models=total, users=users))["top_user"]
    assert user.name == "new\n"
    assert user.text == "user new\\u{a}: 7.00 USD against 0.00 USD usually, 88 % of the excess"


def test_of_two_users_who_grew_alike_the_same_one_is_named_whatever_their_order() -> None:
    total = {"m": Change(part(10, 0, "16"), part(100, 0, "80"))}
    users = (Spender("b", Decimal(8), Decimal(1)), Spender("a", Decimal(8), Decimal(1)))
    for order in (users, users[::-1]):
        assert reasons(Evidence(usual_hours=10, models=total, users=order))["top_user"].name == "b"


def test_a_user_whose_usual_cost_is_not_known_is_named_by_share_of_the_hour() -> None:
    total = {"m": Change(part(10, 0, "16"), part(100, 0, "80"))}
    user = reasons(Evidence(usual_hours=10, models=total, users=(Spender("u", Decimal(8), None),)))["top_user"]
    assert user.text == "user u: 8.00 USD, 50 % of the hour"
    assert user.before is None


def test_without_usual_hours_nothing_is_claimed() -> None:
    assert drivers(Evidence(usual_hours=0, models={"m": Change(now=part(10_000, 0, "9999"))})) == ()


def test_an_hour_without_anything_divides_by_nothing() -> None:
    assert drivers(Evidence(usual_hours=5)) == ()
    assert drivers(Evidence(usual_hours=5, models={"m": Change()}, features={"f": Change()})) == ()


def test_an_hour_in_which_no_model_was_used_has_no_mix() -> None:
    """A correction can leave costs without a call."""
    assert reasons(one_model(part(0, 0, "50"), part(1000, 10_000, "10"))) == {}


def test_a_mix_is_dearer_from_a_quarter_on() -> None:
    def mix(dear_calls: int) -> dict[str, Driver]:
        changes = {
            "cheap": Change(part(100 - dear_calls, 0, "1"), part(800, 0, "8")),
            "dear": Change(part(dear_calls, 0, "1"), part(200, 0, "8")),  # four times the price of the cheap one
        }
        return reasons(Evidence(usual_hours=10, models=changes))

    # The usual average is 0.016; with 33 and a third of a hundred calls it is 0.02.
    assert "model_mix" not in mix(33)
    assert mix(34)["model_mix"].name == "dear"
    exactly = {
        "cheap": Change(part(2, 0, "1"), part(800, 0, "8")),
        "dear": Change(part(1, 0, "1"), part(200, 0, "8")),
    }
    assert "model_mix" in reasons(Evidence(usual_hours=1_000, models=exactly))


def test_who_brought_exactly_a_third_of_the_excess_is_named() -> None:
    total = {"m": Change(part(40, 0, "13"), part(400, 0, "100"))}  # 3 above the usual 10
    for now, named in (("2", True), ("1.999999", False)):
        features = {"f": Change(part(10, 0, now), part(100, 0, "10")), "g": Change(part(1, 0, "9"), part(9, 0, "90"))}
        users = (Spender("u", Decimal(now), Decimal(1)), Spender("v", Decimal(9), Decimal(9)))
        found = reasons(Evidence(usual_hours=10, models=total, features=features, users=users))
        assert ("top_feature" in found, "top_user" in found) == (named, named)


def test_a_user_of_exactly_a_third_of_the_hour_is_named() -> None:
    total = {"m": Change(part(40, 0, "9"), part(400, 0, "100"))}
    for now, named in (("3", True), ("2.999999", False)):
        found = reasons(Evidence(usual_hours=10, models=total, users=(Spender("u", Decimal(now), None),)))
        assert ("top_user" in found) is named


def test_an_hour_that_cost_no_more_than_usual_has_nobody_to_name() -> None:
    users = (Spender("u", Decimal(5), Decimal(1)),)
    features = {"f": Change(part(10, 0, "5"), part(100, 0, "10"))}
    for now in ("10", "9"):
        total = {"m": Change(part(40, 0, now), part(400, 0, "100"))}
        assert reasons(Evidence(usual_hours=10, models=total, users=users, features=features)) == {}


def test_an_hour_that_cost_nothing_has_no_share_for_a_user() -> None:
    total = {"m": Change(part(40, 0, "0"), part(400, 0, "100"))}
    assert reasons(Evidence(usual_hours=10, models=total, users=(Spender("u", Decimal(0), None),))) == {}


def test_a_user_whose_usual_cost_is_not_known_has_grown_by_the_whole_cost() -> None:
    users = (Spender("known", Decimal(9), Decimal(2)), Spender("new", Decimal(8), None))
    total = {"m": Change(part(10, 0, "20"), part(100, 0, "80"))}
    assert reasons(Evidence(usual_hours=10, models=total, users=users))["top_user"].name == "new"


def test_of_features_that_grew_alike_the_first_by_name_is_named() -> None:
    alike = Change(part(10, 0, "5"), part(100, 0, "10"))
    total = {"m": Change(part(20, 0, "10"), part(200, 0, "20"))}
    for names in (("a", "b"), ("b", "a")):
        features = dict.fromkeys(names, alike)
        assert reasons(Evidence(usual_hours=10, models=total, features=features))["top_feature"].name == "a"


def test_the_figures_of_all_models_are_summed() -> None:
    changes = {
        "a": Change(part(1, 20, "0.3"), part(4, 50, "0.6")),
        "b": Change(part(7, 80, "0.9"), part(10, 11, "1.2")),
    }
    evidence = Evidence(usual_hours=1, models=changes)
    assert evidence.now == part(8, 100, "1.2")
    assert evidence.usual == part(14, 61, "1.8")
    assert Evidence(usual_hours=1).now == Part(0, 0, Decimal(0))
