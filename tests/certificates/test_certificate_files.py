"""What an abstention looks like everywhere, and certificates that are read back from files."""

import dataclasses

import numpy as np
import pytest

import rsbounds
from rsbounds import _tables

COUNTS = np.array([[990, 8, 2], [400, 350, 250], [10, 985, 5], [0, 5, 0]])
TOP = np.array([0, 0, 1, 0])
LAW = rsbounds.Gaussian(0.1 + 0.2)


@pytest.fixture
def certificates():
    return rsbounds.certify(COUNTS, TOP, noise=LAW, alpha=0.01)


class TestAbstentions:
    """An abstained row had a class, and counted as a right answer."""

    def test_certified_is_where_a_class_is_certified(self, certificates):
        assert certificates.certified.tolist() == [True, False, True, False]
        assert (certificates.certified == (certificates.radius > 0)).all()
        assert (certificates.certified == ~certificates.abstained).all()
        assert certificates.solved.all()

    def test_what_a_user_would_write_counts_no_abstention_as_right(self, certificates):
        labels = TOP
        share = rsbounds.certified_accuracy(certificates, labels, 0.0)[0]
        assert share == 0.5
        for shown in (
            (certificates.top == labels).mean(),
            np.mean(np.equal(certificates.top, labels)),
            (certificates.top.astype(np.int32) == labels).mean(),
            (certificates.top.astype(np.int16) == labels).mean(),
            (certificates.top.astype(float) == labels).mean(),
            np.mean([c.top == y for c, y in zip(certificates, labels, strict=True)]),
            (certificates.to_pandas()["top"] == labels).mean(),
            np.mean(
                [row["top"] == y for row, y in zip(certificates.records(), labels, strict=True)]
            ),
        ):
            assert shown == share
        # Labels for "not known" that data sets use.
        for unknown in (-1, -100, 0, 255, 128):
            assert not (certificates.top[certificates.abstained] == unknown).any()

    def test_no_class_is_no_place_in_an_array(self, certificates):
        names = np.array(["cat", "dog", "bird"])
        assert names[certificates.top[certificates.certified]].tolist() == ["cat", "dog"]
        with pytest.raises(IndexError):
            names[certificates.top]
        with pytest.raises(ValueError, match="negative"):
            np.bincount(certificates.top)
        with pytest.raises(ValueError, match=r"top\[1\] is -9187201950435737472"):
            rsbounds.certify(COUNTS, certificates.top, noise=LAW)

    def test_exported_printed_and_pandas_forms_are_empty(self, certificates, tmp_path):
        pandas = pytest.importorskip("pandas")
        assert certificates[1].top is None
        assert certificates[1].candidate == 0
        certificates.write(tmp_path / "c.tsv")
        frame = pandas.read_csv(tmp_path / "c.tsv", sep="\t", comment="#")
        assert frame["top"].isna().tolist() == [False, True, False, True]
        assert frame["index"].tolist() == [0, 1, 2, 3]
        made = certificates.to_pandas()
        assert made["top"].isna().tolist() == [False, True, False, True]
        assert str(rsbounds.NO_CLASS) not in (tmp_path / "c.tsv").read_text() + str(certificates)

    def test_predictions_do_the_same(self):
        answers = rsbounds.predict([[80, 15, 5], [51, 49, 0]])
        assert (answers.top == [0, 0]).tolist() == [True, False]
        assert answers.candidate.tolist() == [0, 0]

    def test_nothing_can_be_changed_afterwards(self, certificates):
        for name in ("candidate", "radius", "top", "certified", "index", "n"):
            with pytest.raises(ValueError, match="read-only"):
                getattr(certificates, name)[0] = 1

    @pytest.mark.parametrize("radius", [np.nan, np.inf, -1.0])
    def test_a_radius_is_finite(self, certificates, radius):
        with pytest.raises(ValueError, match="radius is"):
            dataclasses.replace(certificates, radius=np.full(4, radius))


def same(one, two):
    for f in dataclasses.fields(rsbounds.Certificates):
        a, b = getattr(one, f.name), getattr(two, f.name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype, f.name
            assert a.tolist() == b.tolist(), f.name
        else:
            assert a == b, f.name
    return True


class TestFiles:
    """A file of certificates did not say what made it, and could not be read back."""

    @pytest.mark.parametrize("ending", [".tsv", ".jsonl"])
    @pytest.mark.parametrize(
        ("law", "method", "options"),
        [
            (LAW, "exact", {}),
            (rsbounds.Uniform(1 / 3), "t-certify", {"fractions": (0.1, 0.7)}),
            (rsbounds.Lipschitz(0.7, rsbounds.Uniform(0.3)), "runner-up", {"split": "optimal"}),
        ],
    )
    def test_every_field_survives(self, tmp_path, ending, law, method, options):
        made = rsbounds.certify(COUNTS, TOP, noise=law, alpha=1e-7 / 3, method=method, **options)
        path = tmp_path / f"c{ending}"
        made[1:].write(path)
        back = rsbounds.Certificates.read(path)
        assert same(made[1:], back)
        assert rsbounds.noises.noise_from_dict(back.law) == law
        assert back.version == rsbounds.__version__
        again = rsbounds.certify(
            COUNTS, back.candidate[[0, *range(3)]], noise=law, alpha=back.alpha,
            method=back.method, **back.options,
        )  # fmt: skip
        assert again.radius[1:].tolist() == back.radius.tolist()

    def test_names_and_identifiers_are_columns(self, certificates, tmp_path):
        pandas = pytest.importorskip("pandas")
        named = dataclasses.replace(
            certificates, classes=("cat", 'a "dog" #2', "cow"), ids=("007", "x#1", 'say "y"', "")
        )
        called = ["cat", None, 'a "dog" #2', None]
        for ending in (".tsv", ".jsonl"):
            path = tmp_path / f"c{ending}"
            named.write(path)
            assert same(named, rsbounds.Certificates.read(path))
        frame = pandas.read_csv(
            tmp_path / "c.tsv", sep="\t", comment="#", dtype={"id": str}, keep_default_na=False
        )
        assert frame["class"].tolist() == [name or "" for name in called]
        assert frame["id"].tolist() == list(named.ids)
        plain = pandas.read_csv(tmp_path / "c.tsv", sep="\t", comment="#")
        assert plain["class"].isna().tolist() == [False, True, False, True]
        made = named.to_pandas()
        assert made["class"].isna().tolist() == [False, True, False, True]
        assert made["id"].tolist() == list(named.ids)
        assert [row["class"] for row in named.records()] == called
        assert str(named[0]).startswith("input 007: class cat within")
        assert (made["class"] == ["cat"] * 4).mean() == 0.25
        broken = dataclasses.replace(named, ids=("a\tb", "c", "d", "e"))
        with pytest.raises(ValueError, match=r"id is 'a\\tb'; allowed in TSV"):
            broken.write(tmp_path / "broken.tsv")
        assert not (tmp_path / "broken.tsv").exists()
        broken.write(tmp_path / "broken.jsonl")
        assert rsbounds.Certificates.read(tmp_path / "broken.jsonl").ids == broken.ids

    def test_a_class_that_is_not_its_name_is_refused(self, certificates, tmp_path):
        named = dataclasses.replace(certificates, classes=("cat", "dog", "cow"))
        rows = list(named.records())
        for change in ({"class": "dog"}, {"class": None}, {"top": 7, "candidate": 7}):
            _tables.write(
                tmp_path / "c.jsonl", named.header(), list(rows[0]), [{**rows[0], **change}],
                tsv=False, force=True,
            )  # fmt: skip
            with pytest.raises(ValueError, match="cannot be read as certificates"):
                rsbounds.Certificates.read(tmp_path / "c.jsonl")

    def test_the_hash_is_that_of_the_counts(self, certificates):
        for kind in (np.uint16, np.float32, float):
            other = rsbounds.certify(COUNTS.astype(kind), TOP, noise=LAW, method="complement")
            assert other.input_hash == certificates.input_hash
        changed = COUNTS.copy()
        changed[0, 0] += 1
        for counts in (changed, COUNTS[:, ::-1], COUNTS[:3]):
            top = TOP[: len(counts)]
            other = rsbounds.certify(counts, top, noise=LAW, method="complement")
            assert other.input_hash != certificates.input_hash
        scores = np.random.default_rng(0).dirichlet([9, 1], 50)
        soft = rsbounds.certify_soft(scores, 0, noise=LAW)
        assert len(soft.input_hash) == 64
        assert soft.options["pair"] == "split"

    def test_sequential_certificates_are_written_too(self, tmp_path):
        run = rsbounds.Adaptive([0, 1], noise=LAW, looks=(1000, 2000))
        run.update([[990, 10], [400, 600]])
        test = rsbounds.Decide(0.1, [0, 1], noise=LAW)
        test.update([[990, 10], [400, 600]])
        for made in (run.certificates(), test.certificates()):
            made.write(tmp_path / "c.tsv", force=True)
            assert same(made, rsbounds.Certificates.read(tmp_path / "c.tsv"))

    def test_an_existing_file_is_kept(self, certificates, tmp_path):
        path = tmp_path / "c.tsv"
        certificates.write(path)
        before = path.read_text()
        for write in (certificates[:1].write, certificates[:1].to_tsv, certificates.to_jsonl):
            with pytest.raises(ValueError, match=r"c.tsv', which is there already"):
                write(path)
        assert path.read_text() == before
        certificates[:1].write(path, force=True)
        assert len(rsbounds.Certificates.read(path)) == 1
        with pytest.raises(ValueError, match=r"allowed endings: \.tsv, \.jsonl"):
            certificates.write(tmp_path / "c.csv")

    @pytest.mark.parametrize("ending", [".tsv", ".jsonl"])
    def test_any_changed_character_is_noticed(self, certificates, tmp_path, ending):
        path = tmp_path / f"c{ending}"
        certificates.write(path)
        data = path.read_bytes()
        rng = np.random.default_rng(0)
        for _ in range(300):
            flipped = bytearray(data)
            flipped[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
            path.write_bytes(flipped)
            try:
                back = rsbounds.Certificates.read(path)
            except ValueError as error:
                assert "cannot be read as certificates" in str(error)  # noqa: PT017
            else:
                assert same(certificates, back)
        for size in rng.integers(len(data) - 1, size=50):
            path.write_bytes(data[:size])
            with pytest.raises(ValueError, match="cannot be read as certificates"):
                rsbounds.Certificates.read(path)

    def test_files_that_say_two_things_are_refused(self, certificates, tmp_path):
        path = tmp_path / "c.jsonl"
        rows = list(certificates.records())
        for change, message in (
            ({"top": 2}, "has class 2 at radius"),
            ({"top": None}, "has class None at radius"),
            ({"radius": 0.0}, "has radius 0.0 and says otherwise"),
            ({"radius": "nan"}, "'nan' is not a number"),
            ({"candidate": -1}, "-1 is not a whole number"),
            ({"n": 1.5}, "1.5 is not a whole number"),
            ({"certified": 2}, "2 is neither 0 nor 1"),
            ({"extra": 2}, "it has a column 'extra'"),
            ({"alpha": 0.5}, "has alpha 0.5, others 0.01"),
        ):
            _tables.write(
                path, certificates.header(), list(rows[0]), [{**rows[0], **change}, *rows[1:]],
                tsv=False, force=True,
            )  # fmt: skip
            with pytest.raises(ValueError, match=f"cannot be read as certificates.*{message}"):
                rsbounds.Certificates.read(path)
        path.write_text("\n".join(path.read_text().splitlines()[1:]))
        with pytest.raises(ValueError, match="what the rows share are missing"):
            rsbounds.Certificates.read(path)
        path.write_text("")
        with pytest.raises(ValueError, match="cannot be read as certificates"):
            rsbounds.Certificates.read(path)
        with pytest.raises(ValueError, match="a file that exists"):
            rsbounds.Certificates.read(tmp_path / "none.tsv")

    def test_files_of_the_version_before_are_read(self, tmp_path):
        # As version 0.1.0 wrote them: no head, the class of an abstention under top.
        (tmp_path / "c.tsv").write_text(
            "index\ttop\tradius\tabstained\tmargin_lower\tn\talpha\tmethod\tguarantee\tcertified"
            "\tnoise\tnorm\n"
            "0\t0\t1.05\t0\t4.2\t1000\t0.01\texact\tproven\t1\tgaussian(sigma=0.5)\tl2\n"
            "1\t2\t0.0\t1\t-inf\t1000\t0.01\texact\tproven\t1\tgaussian(sigma=0.5)\tl2\n"
        )
        assert _tables.is_certificates(tmp_path / "c.tsv")
        from rsbounds.commands import main

        assert main(["certify", str(tmp_path / "c.tsv")]) == 0
        back = rsbounds.Certificates.read(tmp_path / "c.tsv")
        assert back.top.tolist() == [0, rsbounds.NO_CLASS]
        assert back.candidate.tolist() == [0, 2]
        assert (back.scale, back.law, back.version) == ("probit", None, "unknown")
        assert back.margin_lower.tolist() == [4.2, -np.inf]


def test_results_say_what_they_are_in_one_line(certificates):
    assert repr(certificates) == (
        f"Certificates(4 inputs, 2 certified, {LAW}, l2, exact, alpha 0.01, proven)"
    )
    assert certificates._repr_html_().startswith("<pre>input")
