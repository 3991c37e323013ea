import pytest
from matplotlib.figure import Figure

from plots import canvas


@pytest.mark.parametrize(
    ("caption", "lines"),
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
def test_captions_are_broken_after_commas_where_that_takes_no_more_lines(caption, lines):
    figure = Figure(figsize=(5.5, 3))
    canvas.legend(figure, [[{"label": "line"}]], caption=caption)
    assert figure.legends[0].get_title().get_text().split("\n") == lines
