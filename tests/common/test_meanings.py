"""Meanings of keys are the docstrings under their fields, read when they are asked for."""

from __future__ import annotations

from pydantic import Field, create_model

from common.config import meanings
from common.config.base import Config
from common.config.meanings import SchemaWithMeanings, meaning_of


class Base(Config):
    lr: float = 0.1
    """Step size,
    as in the paper."""
    epochs: int = 1
    """Number of passes."""
    size: int = Field(1, alias="lambda", description="Given where it is defined.")
    """Not this."""
    bare: int = 0


class Child(Base):
    class Inner(Config):
        key: int = 0
        """A key of an object."""

    lr: float = 0.2
    epochs: int = 2
    """Number of passes over all data."""
    inner: Inner = Inner()


def test_a_key_means_what_stands_below_it_or_below_that_of_the_base() -> None:
    assert [meaning_of(Child, name) for name in Child.model_fields] == [
        "Step size,\nas in the paper.", "Number of passes over all data.",
        "Given where it is defined.", "", "",
    ]  # fmt: skip
    assert meaning_of(Base, "epochs") == "Number of passes."
    assert meaning_of(create_model("Child", __base__=Base, lr=(int, 1)), "lr") == meaning_of(
        Base, "lr"
    )


def test_the_schema_has_the_meanings_of_all_keys() -> None:
    schema = Child.model_json_schema(schema_generator=SchemaWithMeanings)
    told = {key: value.get("description") for key, value in schema["properties"].items()}
    assert told == {
        "lr": "Step size,\nas in the paper.", "epochs": "Number of passes over all data.",
        "lambda": "Given where it is defined.", "bare": None, "inner": None,
    }  # fmt: skip
    (inner,) = schema["$defs"].values()
    assert inner["properties"]["key"]["description"] == "A key of an object."


def test_no_source_is_read_for_models_that_are_defined_and_used() -> None:
    meanings._docstrings.cache_clear()

    class Local(Base):
        more: int = 0
        """Has a source that nobody finds."""

    assert Local().more == 0
    assert meanings._docstrings.cache_info().misses == 0
    assert Local.model_fields["more"].description is None
    assert meaning_of(Local, "more") == ""
