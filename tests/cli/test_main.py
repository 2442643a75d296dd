import errno
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import rxt
from rxt.cli.main import VERBS, main
from rxt.errors import UserError


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_importing_the_package_imports_no_torch() -> None:
    heavy = "print(sorted({'torch', 'pydantic', 'tyro', 'rich', 'numpy'} & set(sys.modules)))"
    assert python(f"import sys, rxt, rxt.cli.main; {heavy}") == "[]"
    assert python(f"import sys; from rxt.cli.main import main; main(['--help']); {heavy}").endswith("[]")
    assert python("import sys, rxt; rxt.preset_names(), rxt.RxTConfig; print('torch' in sys.modules)") == "False"


def test_a_turn_needs_no_compiler() -> None:
    """PyTorch's compiler, and sympy with it, takes as long to import as PyTorch itself."""
    assert python("import sys, rxt; rxt.load_chat().ask('hi'); print('sympy' in sys.modules)") == "False"


def test_every_exported_name_is_there() -> None:
    assert set(rxt.__all__) <= set(dir(rxt))
    for name in rxt.__all__:
        assert getattr(rxt, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = rxt.nonsense  # type: ignore[attr-defined]
    assert rxt.UserError is UserError


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"rxt {rxt.__version__}\n"
    declared = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["version"]
    assert rxt.__version__ in (declared, "0+unknown")
    for argv in ([], ["--help"], ["-h"]):
        assert main(argv) == 0
        out = capsys.readouterr().out
        assert all(verb in out for verb in VERBS)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["chta"], "rxt: chta: no such command; did you mean chat?\n"),
        (["zzz"], f"rxt: zzz: no such command; there are {', '.join(VERBS)} (rxt --help)\n"),
        (["--verzion"], "rxt: --verzion: no such option; did you mean --version?\n"),
        (["info", "--nme"], "rxt: unrecognized options: --nme (rxt info --help lists the options)\n"),
        (["info", "a", "b"], "rxt: unrecognized options: b (rxt info --help lists the options)\n"),
        (
            ["chat", "--tempratur", "1"],
            "rxt: unrecognized options: --tempratur, 1; "
            "did you mean --temperature? (rxt chat --help lists the options)\n",
        ),
        (
            ["chat", "--temperature", "hot"],
            "rxt: error parsing --temperature: could not convert string to float: "
            "'hot' (rxt chat --help lists the options)\n",
        ),
        (
            ["chat", "--seed"],
            "rxt: missing value for argument '--seed'. Expected 1 values. (rxt chat --help lists the options)\n",
        ),
    ],
)
@pytest.mark.parametrize("columns", ["60", "200"])
def test_a_mistake_is_one_line(
    argv: list[str], message: str, columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert main(argv) == 2
    assert capsys.readouterr() == ("", message)


def test_the_help_of_a_verb_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["chat", "--help"])
    assert not exit_.value.code
    assert "--memory" in capsys.readouterr().out


def test_errors_become_exit_codes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def raising(error: BaseException) -> int:
        def run(argv: list[str]) -> int:
            raise error

        monkeypatch.setattr("rxt.cli.info.run", run)
        return main(["info"])

    assert raising(UserError("wrong")) == 2
    assert capsys.readouterr().err == "rxt: wrong\n"
    assert raising(KeyboardInterrupt()) == 130
    with pytest.raises(ZeroDivisionError):
        raising(ZeroDivisionError())


def test_a_reader_that_leaves_is_no_traceback() -> None:
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run([sys.executable, "-m", "rxt", "--help"], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (process.returncode, process.stderr) == (1, "")


def rxt_in_shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """``$rxt`` in the command is this package's; the shell redirects."""
    environment = {**os.environ, "rxt": f"{sys.executable} -m rxt", **environment}
    return subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize("argv", ["--help", "info"])
def test_output_to_a_full_disk_is_one_line(argv: str) -> None:
    done = rxt_in_shell(f"$rxt {argv} > /dev/full")
    assert (done.returncode, done.stderr) == (2, "rxt: output: no space left on device\n")


def test_streams_that_are_closed_are_no_traceback() -> None:
    assert rxt_in_shell("$rxt info <&- >&-").returncode == 0
    assert rxt_in_shell("$rxt chta >&- 2>&-").returncode == 2
    for argv in ("chat", "classify runs/classify"):
        done = rxt_in_shell(f"$rxt {argv} <&-")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("rxt: standard input is closed")
        assert done.stderr.count("\n") == 1


def test_a_character_that_the_output_cannot_write_is_a_question_mark() -> None:
    plain, narrow = (rxt_in_shell("$rxt info", PYTHONIOENCODING=encoding) for encoding in ("utf-8", "ascii"))
    assert (narrow.returncode, narrow.stderr) == (0, "")
    assert "·" in plain.stdout
    assert "?" in narrow.stdout


def test_a_name_that_is_too_long_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    name = "a" * 300
    assert main(["info", f"{name}/x"]) == 2
    assert capsys.readouterr().err == f"rxt: {name[:200]}: file name too long\n"


def test_what_may_not_be_read_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(argv: list[str]) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", "talks.jsonl")

    monkeypatch.setattr("rxt.cli.info.run", run)
    assert main(["info"]) == 2
    assert capsys.readouterr().err == "rxt: talks.jsonl: permission denied\n"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WORLD_SIZE": "2"}, "rxt: WORLD_SIZE is 2 in the environment, but RANK is not set: "),
        ({"WORLD_SIZE": "two"}, "rxt: WORLD_SIZE is 'two' in the environment: a whole number is needed"),
    ],
)
def test_half_a_process_group_is_one_line(environment: dict[str, str], message: str, tmp_path: Path) -> None:
    done = rxt_in_shell(f"$rxt train smoke --out {tmp_path}/run", **environment)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
