import pandas as pd
import pytest
from matplotlib.cbook import is_math_text
from matplotlib.figure import Figure

from plots import canvas, lines


@pytest.mark.parametrize(
    ("caption", "broken"),
    [
        (
            "last evaluation: n = 250 inputs, K = 1 sample of each, 2 seeds\nbars: a deviation",
            [
                "last evaluation: n = 250 inputs,",
                "K = 1 sample of each, 2 seeds",
                "bars: a deviation",
            ],
        ),
        (
            "30 iterations, n = 272 to 288 outputs in each, K = 1 of an input; means over parts",
            [
                "30 iterations, n = 272 to 288 outputs in each,",
                "K = 1 of an input; means over parts",
            ],
        ),
        ("short, n = 2", ["short, n = 2"]),
        ("word " * 20, [("word " * 12).strip(), ("word " * 8).strip()]),
    ],
)
def test_captions_are_broken_after_commas_where_that_takes_no_more_lines(caption, broken):
    figure = Figure(figsize=(5.5, 3))
    canvas.legend(figure, [[{"label": "line"}]], caption=caption)
    assert figure.legends[0].get_title().get_text().split("\n") == broken


def test_names_with_dollars_are_no_formulas():
    """Of lines, which a caption may name, too."""
    name = "costs $5_ or $_"
    points = pd.DataFrame({"n": [1], "line": [name]})
    figure, _ = canvas.wrapped(1, 1, (4, 3))
    canvas.legend(figure, lines.entries([(name, [])], points, width=4), caption=f"of {name}: n")
    figure.canvas.draw()
    (drawn,) = figure.legends
    for text in (*drawn.get_texts(), drawn.get_title()):
        assert name in text.get_text().replace(r"\$", "$")
        assert not (text.get_parse_math() and is_math_text(text.get_text()))
