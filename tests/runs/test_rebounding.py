"""New certificates from stored counts."""

import numpy as np
import pytest
from _stores import CONFIG, LAW, row

import rsbounds
from rsbounds.runs import RunStore, rebound


def test_each_input_is_bounded_with_its_own_law(tmp_path):
    # Re-bounding took the configuration's law, and the row's was text of six digits.
    laws = [LAW, rsbounds.Gaussian(0.5), rsbounds.Gaussian(np.nextafter(LAW.sigma, 1))]
    with RunStore(tmp_path / "run.sqlite", CONFIG) as store:
        store.add_many(row(i, law=laws[i % 3].to_dict()) for i in range(9))
    with RunStore(tmp_path / "run.sqlite") as store:
        got, rows = rebound(store, alpha=0.05), list(store.rows())
    for i, r in enumerate(rows):
        alone = rsbounds.certify(
            [r.estimate], rsbounds.select_top([r.select]), noise=laws[i % 3], alpha=0.05,
            method="complement",
        )  # fmt: skip
        assert got.radius[i] == alone.radius[0]
    assert (got.radius > 0).sum() > 3
    assert "laws" in got.noise


def test_laws_with_different_norms_make_no_table(tmp_path):
    with RunStore(tmp_path / "run.sqlite", CONFIG) as store:
        store.add_many([row(0), row(1, law=rsbounds.Uniform(0.5).to_dict())])
        with pytest.raises(ValueError, match="laws whose radii have one norm"):
            rebound(store)
