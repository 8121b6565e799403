"""The program around the commands: careless users, closed pipes, Ctrl-C, other people's parts."""

import argparse
import dataclasses
import gzip
import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import rsbounds
from rsbounds.commands import COMMANDS, Command, main, run_program
from rsbounds.noises import NOISES

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
LAW = ["--sigma", "1", "--method", "complement", "--top", "0"]


@pytest.fixture
def table(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("class_0,class_1\n990,10\n20,980\n")
    return str(file)


@pytest.fixture
def registered():
    """Registers members for one test."""
    added = []

    def add(registry, name, value):
        registry.register(name, value)
        added.append((registry, name))

    yield add
    for registry, name in added:
        registry._loaded.pop(name, None)
        registry._targets.pop(name, None)


def run(capsys, *words):
    code = main(list(words))
    out, err = capsys.readouterr()
    return code, out, err


# -- careless users ----------------------------------------------------------------------------


def broken_files(folder):
    """Name, bytes: what people hand over by mistake."""
    noise = np.random.default_rng(0).bytes(5000)
    packed = gzip.compress(b"class_0,class_1\n" + b"9,1\n" * 5000)
    yield "empty.csv", b""
    yield "blank.csv", b"\n\n  \n"
    yield "comments.csv", b"# nothing\n# here\n"
    yield "binary.csv", noise
    yield "zeros.tsv", bytes(9000)
    yield "binary.npy", noise
    yield "binary.npz", b"PK\x03\x04" + noise
    yield "binary.csv.gz", noise
    yield "cut.csv.gz", packed[: len(packed) // 2]
    yield "wrong.gz", packed
    yield "quote.csv", b'class_0,class_1\n"9,1\n'
    yield "latin.csv", b"class_0,class_1,label\n9,1,caf\xe9\n"
    yield "late.csv", b"class_0,class_1\n" + b"9,1\n" * 5000 + b"\xff,1\n"
    yield "line.csv", b"9," * (1 << 22)
    yield "field.csv", b"class_0,class_1\n" + b"9" * 200_000 + b",1\n"
    yield "table.xlsx", b"PK\x03\x04"
    yield "huge.csv", b"class_0,class_1\n9" + b"0" * 400 + b",1\n"
    yield "spaces.txt", b"9 1\n8 2\n"


@pytest.mark.parametrize("command", ["certify", "compare", "mean"])
def test_broken_files_end_with_one_sentence(tmp_path, capsys, command):
    more = [] if command == "mean" else ["--sigma", "1", "--top", "0"]
    for name, data in broken_files(tmp_path):
        file = tmp_path / name
        file.write_bytes(data)
        code, out, err = run(capsys, command, str(file), *more)
        assert (code, out) == (2, ""), (name, err)
        assert len(err.strip().splitlines()) == 1, (name, err)
        assert err.startswith(f"rsbounds {command}: "), (name, err)
        assert len(err) < 600, (name, err)


@pytest.mark.parametrize("command", ["certify", "compare", "mean", "rebound", "export", "report"])
def test_folders_and_missing_files_end_with_one_sentence(tmp_path, capsys, command):
    more = {"export": ["x.tsv"], "certify": LAW, "compare": ["--sigma", "1"]}.get(command, [])
    for name in (str(tmp_path), str(tmp_path / "none.csv"), "", "/dev/null"):
        code, out, err = run(capsys, command, name, *more)
        assert (code, out) == (2, ""), (name, err)
        assert len(err.strip().splitlines()) == 1, (name, err)


def test_outputs_are_replaced_only_with_force_and_inputs_never(
    table, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    target = tmp_path / "out.tsv"
    words = ["certify", table, *LAW, "--output", str(target)]
    assert run(capsys, *words)[0] == 0
    first = target.read_bytes()
    code, _, err = run(capsys, *words)
    assert code == 2
    assert "is there already" in err
    assert target.read_bytes() == first
    assert run(capsys, *words, "--force")[0] == 0
    same = tmp_path / "counts.tsv"
    same.write_text("class_0\tclass_1\n990\t10\n")
    before = same.read_bytes()
    os.link(same, tmp_path / "linked.tsv")
    os.symlink(same, tmp_path / "pointer.tsv")
    for name in (str(same), "counts.tsv", "linked.tsv", "pointer.tsv", "./counts.tsv"):
        code, _, err = run(capsys, "certify", str(same), *LAW, "--output", name, "--force")
        assert code == 2
        assert "which is read" in err
        assert same.read_bytes() == before
    for name in (str(tmp_path), "no/folder/x.tsv", "x.tsv/", "/dev/null"):
        assert run(capsys, "certify", table, *LAW, "--output", name, "--force")[0] == 2
    for what, name in (("--output", "a.json"), ("--figure", "a.svg")):
        (tmp_path / name).write_text("mine")
        words = ["compare", table, "--sigma", "1", "--top", "0", "--methods", "complement"]
        code, _, err = run(capsys, *words, what, name)
        assert code == 2
        assert what in err
        assert (tmp_path / name).read_text() == "mine"


def test_reports_and_exports_are_replaced_only_with_force(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rsbounds.certify_dataset(
        lambda x: (x[:, 0] > 0).astype(int), np.array([[0.4], [-0.7]]), [1, 0],
        noise=rsbounds.Gaussian(0.5), n=500, num_classes=2, seed=1, store="run.sqlite",
        method="complement", progress=False,
    )  # fmt: skip
    store = Path("run.sqlite").read_bytes()
    report = ["report", "run.sqlite", "--methods", "complement"]
    assert run(capsys, *report)[0] == 0
    made = Path("report/report.tsv").read_bytes()
    code, _, err = run(capsys, *report)
    assert code == 2
    assert "is there already" in err
    assert Path("report/report.tsv").read_bytes() == made
    assert run(capsys, *report, "--force")[0] == 0
    Path("file").write_text("")
    assert "a file; allowed: a folder" in run(capsys, *report, "--output", "file")[2]
    assert run(capsys, "export", "run.sqlite", "rows.tsv")[0] == 0
    assert run(capsys, "export", "run.sqlite", "rows.tsv")[0] == 2
    assert run(capsys, "export", "run.sqlite", "run.sqlite", "--force")[0] == 2
    os.symlink("run.sqlite", "link.tsv")
    assert "which is read" in run(capsys, "export", "run.sqlite", "link.tsv", "--force")[2]
    assert "which is read" in run(
        capsys, "rebound", "run.sqlite", "--output", "link.tsv", "--force"
    )[2]  # fmt: skip
    assert Path("run.sqlite").read_bytes() == store


def test_options_are_spelled_out(table, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["certify", table, "--sig", "1"])
    assert stopped.value.code == 2
    assert "unrecognized arguments: --sig" in capsys.readouterr().err
    assert run(capsys, "certify", table, *LAW, "--option", "a=1", "--option", "a=2")[0] == 2


# -- laws --------------------------------------------------------------------------------------


def test_laws_are_told_by_their_flags(table, capsys):
    def summary(*law):
        code, out, err = run(capsys, "certify", table, "--top", "0", "--json", *law)
        assert code == 0, err
        return json.loads(out)["summary"]

    assert summary("--sigma", "0.5")["noise"] == "gaussian(sigma=0.5)"
    assert summary("--half-width", "0.5")["norm"] == "l1"
    assert (
        "noise=uniform(half_width=0.5)"
        in summary("--half-width", "0.5", "--lipschitz", "2")["noise"]
    )
    for law, said in [
        ([], "no noise law is given; allowed: --sigma (gaussian), --half-width (uniform)"),
        (["--sigma", "1", "--half-width", "1"], "--sigma --half-width is given together"),
        (["--sigma", "1", "--noise", "uniform"], "--sigma is given for --noise uniform"),
        (["--noise", "best"], "--noise is 'best'; allowed: gaussian, uniform"),
        (["--noise", "gaussian"], "nothing is given for --noise gaussian"),
        (["--sigma", "inf"], "sigma is inf"),
        (["--sigma", "1", "--lipschitz", "0"], "constant is 0"),
        (["--lipschitz", "2"], "--lipschitz is given without the law that noise is drawn from"),
    ]:
        code, _, err = run(capsys, "certify", table, "--top", "0", *law)
        assert code == 2
        assert said in err


def test_a_law_of_a_third_party_has_its_flags(table, capsys, registered):
    @dataclasses.dataclass(frozen=True, eq=False)
    class Wide(rsbounds.Gaussian):
        """A law from elsewhere."""

        stretch: float = 1.0
        name: ClassVar[str] = "wide"

        def __str__(self):
            return f"wide({self.sigma:g}, {self.stretch:g})"

    registered(NOISES, "wide", Wide)
    words = ["certify", table, "--top", "0", "--method", "complement", "--json", "--sigma", "0.5"]
    for more, noise in [
        ([], "gaussian(sigma=0.5)"),
        (["--noise", "wide"], "wide(0.5, 1)"),
        (["--stretch", "3"], "wide(0.5, 3)"),
    ]:
        code, out, err = run(capsys, *words, *more)
        assert code == 0, err
        assert json.loads(out)["summary"]["noise"] == noise


def test_a_broken_law_leaves_the_others(table, capsys, registered):
    registered(NOISES, "broken", "no.such.module:Law")
    code, _, err = run(capsys, "certify", table, *LAW)
    assert code == 0
    assert "noise law 'broken' is left out: noise 'broken' cannot be loaded" in err


# -- commands of other packages, errors, pipes, interrupts ----------------------------------------


def test_a_command_of_a_third_party(capsys, registered):
    def arguments(parser):
        parser.add_argument("--name", default="you")

    def greet(given: argparse.Namespace) -> int:
        if given.name == "nobody":
            raise ValueError("--name is 'nobody'; allowed: somebody")
        if given.name == "warned":
            warnings.warn("watch out", RuntimeWarning, stacklevel=1)
        print(f"hello {given.name}")
        return 0

    registered(COMMANDS, "greet", Command("say hello", arguments, greet))
    registered(COMMANDS, "broken", "no.such.module:COMMAND")
    assert run(capsys, "greet", "--name", "a") == (0, "hello a\n", "")
    assert run(capsys, "greet", "--name", "nobody") == (
        2, "", "rsbounds greet: --name is 'nobody'; allowed: somebody\n",
    )  # fmt: skip
    assert run(capsys, "greet", "--name", "warned")[2] == "rsbounds greet: watch out\n"
    code, _, err = run(capsys, "broken")
    assert code == 2
    assert err.startswith("rsbounds broken: command 'broken' cannot be loaded from no.such.module")
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert "say hello" in out
    assert "cannot be loaded" in out
    assert "certify-model" in out


def test_the_list_of_commands_loads_no_torch():
    code = (
        "import sys\n"
        "from rsbounds.commands import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print('torch' in sys.modules, 'numba' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT
    )
    assert done.stdout.splitlines()[-1] == "False False"


def test_without_torch_the_extra_is_named():
    code = (
        "import sys\nsys.modules['torch'] = None\n"
        "from rsbounds.commands import main\n"
        "sys.exit(main(['certify-model', '--model', 'a:b', '--data', 'c', '--sigma', '1',\n"
        "               '--num-classes', '2', '--store', 's']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=ENVIRONMENT
    )
    assert done.returncode == 1
    assert done.stderr == "rsbounds certify-model: PyTorch is missing; install rsbounds[torch]\n"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "\nprog go: again\n"),
        (MemoryError(), 1, "prog go: MemoryError\n"),
        (OSError(28, "No space left on device"), 2, "prog go: [Errno 28] No space left"),
        (ImportError("needs x"), 1, "prog go: needs x\n"),
        (ValueError("two\nlines"), 2, "prog go: two lines\n"),
    ],
)
def test_errors_have_one_place(capsys, error, code, said):
    def fail(_):
        raise error

    command = Command("go", lambda _: None, fail, lambda _: "again")
    assert run_program("prog", "", {"go": command}, ["go"]) == code
    assert said in capsys.readouterr().err


INTERRUPTED = """
import sys, time
from rsbounds.commands import COMMANDS, Command, main

def run(given):
    print("ready", flush=True)
    time.sleep(60)

COMMANDS.register("sleep", Command("sleep", lambda parser: None, run))
sys.exit(main(["sleep"]))
"""


def test_ctrl_c_is_a_line_and_130():
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "\nrsbounds sleep: interrupted\n"


def test_a_reader_that_leaves_and_a_full_disk():
    words = [sys.executable, "-m", "rsbounds", "methods"]
    shell = f"set -o pipefail; {' '.join(words)} --json | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", shell], capture_output=True, text=True, env=ENVIRONMENT, check=False
    )
    assert "Traceback" not in done.stderr
    assert done.stdout.strip() in ("0", "1")
    if Path("/dev/full").exists():
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                words, stdout=full, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, check=False
            )
        assert done.returncode == 2
        assert done.stderr.startswith("rsbounds methods: ")
        assert "No space left" in done.stderr
