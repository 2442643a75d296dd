import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rxt.cli.info import in_bytes, short
from rxt.cli.main import main
from rxt.config import AttentionConfig, BaseModel, DecoderConfig, FeedForwardConfig, PoolConfig, RxTConfig
from rxt.config.on_base import memory_on
from rxt.presets import preset_names


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def info(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(["info", *argv]) == 0
    return capsys.readouterr().out


def test_the_table_names_every_preset_and_fits_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = info(capsys)
    assert all(name in out for name in preset_names())
    assert "…" not in out
    row = next(line.split() for line in out.splitlines() if line.startswith("rxt-alpha "))
    assert row == ["rxt-alpha", "155.7M", "141.4M", "34.8M", "13.9M", "5.53M", "3", "MiB", "256"]


def test_one_preset_in_detail(capsys: pytest.CaptureFixture[str]) -> None:
    out = info(capsys, "rxt-beta")
    for expected in (
        "2,844,863,488",
        "96,969,728",
        "22,332,416",
        "grouped-self-interlayer, 3 groups",
        "4,096 slots",
        "beta template",
        "384 experts, 10 a token, 2 shared",
        "elementwise, sigmoid, one a slot",
        "3 x 384 experts",
    ):
        assert expected in out


def test_a_folder_is_described_by_its_configuration(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    out = info(capsys, str(folder))
    assert "2 layers x 6 slots x 32 = 1.5 KiB" in out
    assert str(folder) in out


def test_a_pool_is_described(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = replace(RxTConfig.preset("rxt-alpha-nano"), pool=PoolConfig(fragment_slots=8, chosen=3))
    (tmp_path / "config.json").write_text(config.to_json())
    assert f"{config.memory_attention.slots - 24} resident slots, 3 fragments of 8" in info(capsys, str(tmp_path))


def test_a_memory_on_a_pre_trained_model_names_its_base(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    attention = AttentionConfig(4, 4, 2, head_dim=12)
    plain = DecoderConfig(
        97, 32, 10, attention, attention, FeedForwardConfig(48), 64, head_bias=False, tied_head=True, memory_layers=()
    )
    config = memory_on(plain, BaseModel("owner/base", "0123456789abcdef", "v1"), slots=7)
    (tmp_path / "config.json").write_text(config.to_json())
    out = info(capsys, str(tmp_path))
    for expected in (
        "owner/base, revision v1 (stored elsewhere), fingerprint 0123456789abcdef",
        "4, 6",
        "each 12 wide",
        "the decoder's own layers, without memory",
        "2 layers x 7 slots x 32",
        "6 interactions x 1 slots, 1 open to all",
    ):
        assert expected in out


def test_the_bundled_model_has_a_row_where_there_is_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rxt.cli.info.BUNDLED", tmp_path)
    assert "bundled" not in info(capsys)
    (tmp_path / "config.json").write_text(RxTConfig.preset("rxt-alpha-nano").to_json())
    assert "bundled model" in info(capsys)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rxt-alfa", "there is no preset 'rxt-alfa'; did you mean rxt-alpha"),
        ("./nowhere", "./nowhere: no such folder"),
        ("a/b/c", "a/b/c: no such folder"),
    ],
)
def test_an_unknown_name_is_one_line(capsys: pytest.CaptureFixture[str], name: str, message: str) -> None:
    assert main(["info", name]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"rxt: {message}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("content", [None, "{", "[]", '{"embed_dim": 4}', '{"decoder": 3}'])
def test_a_folder_without_a_whole_models_configuration_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    assert main(["info", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"rxt: {tmp_path}/config.json: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("argv", [[], ["rxt-alpha"], ["pocket"]])
def test_info_loads_no_more_of_torch_than_it_counts_with(argv: list[str]) -> None:
    """Half of PyTorch's start is sympy and what needs it, which drawing or transforming shapes alone would load."""
    code = f"import sys; from rxt.cli.main import main; main({['info', *argv]!r}); print('sympy' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out.endswith("False\n")


def test_help_needs_no_torch() -> None:
    code = """import sys
from rxt.cli.main import main
try:
    main(["info", "--help"])
finally:
    print("torch" in sys.modules, file=sys.stderr)"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert "False" in done.stderr


def test_numbers_are_short() -> None:
    assert [short(count) for count in (7, 1_500, 9_458_508, 57_767_696, 2_850_000_000)] == [
        "7",
        "1.50k",
        "9.46M",
        "57.8M",
        "2.85B",
    ]
    assert [in_bytes(size) for size in (12, 1536, 3 * 2**20, 168 * 2**20, 2**31)] == [
        "12 bytes",
        "1.5 KiB",
        "3 MiB",
        "168 MiB",
        "2 GiB",
    ]
