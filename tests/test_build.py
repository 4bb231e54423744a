"""Configuration nodes become checked objects, or errors that name the key."""

from dataclasses import dataclass
from typing import Any

import pytest

from benchmark.config.build import build, class_path, convert, to_plain
from benchmark.errors import InputError, near


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A part."""

    power: float
    fuel: str | None


@dataclass(frozen=True, kw_only=True)
class Car:
    """A whole, with every type that a configuration may hold."""

    engine: Engine
    doors: int
    electric: bool
    colours: list[str]
    weights: dict[str, float]
    options: dict[str, Any]


ENGINE = {"_target_": f"{__name__}.Engine", "power": 1.5, "fuel": None}
CAR = {
    "_target_": f"{__name__}.Car",
    "engine": ENGINE,
    "doors": 4,
    "electric": False,
    "colours": ["red", "blue"],
    "weights": {"empty": 1000.0},
    "options": {"roof": {"open": True, "steps": [1, 2]}},
}


def changed(**values):
    return CAR | values


def without(node, key):
    return {k: v for k, v in node.items() if k != key}


def message(node):
    with pytest.raises(InputError) as refusal:
        build(node, "car")
    text = str(refusal.value)
    assert "\n" not in text
    return text


def test_every_value_arrives_with_the_type_of_its_field():
    car = build(changed(weights={"empty": "1e3"}, doors="4"), "car")
    expected = Car(
        engine=Engine(power=1.5, fuel=None),
        doors=4,
        electric=False,
        colours=["red", "blue"],
        weights={"empty": 1000.0},
        options={"roof": {"open": True, "steps": [1, 2]}},
    )
    assert car == expected
    assert type(car.doors) is int
    assert type(car.weights["empty"]) is float


def test_plain_gives_the_values_back():
    built = build(CAR, "car")
    assert to_plain(built) == without(CAR, "_target_") | {"engine": without(ENGINE, "_target_")}
    assert class_path(built) == CAR["_target_"]


def test_a_fact_of_the_registry_is_no_field_and_no_error():
    assert build(changed(paper="Benz 1886", category="car"), "car") == build(CAR, "car")


def test_a_record_that_lacks_a_field_has_null_there_where_that_is_a_value():
    assert build(changed(engine=without(ENGINE, "fuel")), "car", lenient=True).engine.fuel is None
    with pytest.raises(InputError, match="doors: required"):
        build(without(CAR, "doors"), "car", lenient=True)


def test_an_object_built_before_is_taken_as_it_is():
    engine = Engine(power=2.0, fuel="sun")
    assert build(changed(engine=engine), "car").engine is engine


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (changed(doors="four"), ["car.doors", "'four'", "int"]),
        (changed(doors=4.5), ["car.doors", "4.5", "int"]),
        (changed(doors=None), ["car.doors", "None", "int"]),
        (changed(electric="perhaps"), ["car.electric", "'perhaps'", "bool"]),
        (changed(colours="red"), ["car.colours", "'red'", "list[str]"]),
        (changed(weights={"empty": "heavy"}), ["car.weights", "heavy", "dict[str, float]"]),
        (changed(engine=ENGINE | {"power": "strong"}), ["car.engine.power", "'strong'", "float"]),
        (changed(engine=ENGINE | {"fuel": [1]}), ["car.engine.fuel", "[1]", "str or null"]),
    ],
)
def test_a_wrong_type_is_told_with_key_value_and_wanted_type(node, words):
    text = message(node)
    assert [word for word in words if word not in text] == []


@pytest.mark.parametrize(
    ("node", "key", "meant"),
    [
        (changed(dors=3), "car.dors", "did you mean doors"),
        (changed(engine=ENGINE | {"powr": 3}), "car.engine.powr", "did you mean power"),
    ],
)
def test_an_unknown_key_is_told_with_its_near_match(node, key, meant):
    text = message(node)
    assert text.startswith(f"{key}: ")
    assert meant in text


def test_an_unknown_key_without_a_near_match_is_told_what_there_is():
    text = message(changed(zzz=1))
    assert "did you mean" not in text
    assert "(known: colours, doors, electric, engine, options, weights)" in text


@pytest.mark.parametrize(
    ("node", "key"),
    [
        (without(CAR, "doors"), "car.doors"),
        (changed(doors="???"), "car.doors"),
        (changed(engine=without(ENGINE, "fuel")), "car.engine.fuel"),
    ],
)
def test_a_missing_key_is_named(node, key):
    assert message(node) == f"{key}: required, and not given"


@pytest.mark.parametrize("node", [3, None, {}, {"doors": 4}])
def test_a_node_without_a_target_is_refused_by_name(node):
    assert message(node).startswith("car: ")


@pytest.mark.parametrize("value", [3, None, {"power": 1.0}])
def test_a_plain_value_in_the_place_of_a_node_is_refused_by_name(value):
    assert message(changed(engine=value)).startswith("car.engine: ")


@pytest.mark.parametrize("path", ["tasks.toy.Toyy", "tasks.toyy.Toy", "nonsense"])
def test_a_target_that_does_not_exist_is_named(path):
    text = message({"_target_": path})
    assert "car._target_" in text
    assert path in text


def test_a_single_value_is_typed_as_a_field_is():
    assert convert("3", int, "seed") == 3
    with pytest.raises(InputError, match="seed: 'x' given, int wanted"):
        convert("x", int, "seed")


def test_near_names_what_there_is_even_if_nothing_is_near():
    assert near("lor", ["lora", "dora"]).startswith("; did you mean lora or dora?")
    assert near("zzz", ["lora", "dora"]) == " (known: dora, lora)"
