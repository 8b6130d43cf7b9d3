import fullduplex.base.arrays as arrays


def test_the_legend_as_text_holds_the_legend_as_data():
    for letter, meaning in arrays.AXES.items():
        assert f"{letter}  {meaning}" in arrays.__doc__
