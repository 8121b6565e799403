import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsbounds._text import complete_file, down


@given(st.floats(-1e6, 1e6), st.integers(0, 8))
def test_down_never_exceeds_the_value(value, digits):
    shown = float(down(value, digits))
    assert shown <= value + 1e-9 * abs(value) * 1e-6
    assert value - shown <= 1.0000001 * 10.0**-digits + 1e-9 * abs(value) * 1e-6


def test_down_rounds_half_units_down():
    assert down(0.3789, 3) == "0.378"
    assert down(-0.3781, 3) == "-0.379"
    assert down(np.inf) == "inf"


def test_a_file_appears_only_when_complete(tmp_path):
    target = tmp_path / "out.txt"
    target.write_text("old")

    def half():
        with complete_file(target) as stream:
            stream.write("new")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
    with complete_file(target) as stream:
        stream.write("new")
    assert target.read_text() == "new"
    with pytest.raises(ValueError, match="folder that exists"), complete_file(tmp_path / "no/x"):
        pass
