"""Native code: instruction sets by what the kernel lists, compilers by what is installed."""

import ctypes
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from processor.errors import NetworkError
from processor.network import native

LEVEL_3 = "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"
LEVEL_4 = f"{LEVEL_3} avx512f avx512bw avx512cd avx512dq avx512vl"


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    native.instruction_sets.cache_clear()
    native.compiler.cache_clear()
    yield
    native.instruction_sets.cache_clear()
    native.compiler.cache_clear()


def cpu(monkeypatch: pytest.MonkeyPatch, machine: str, *cores: str) -> list[str]:
    """The instruction sets of a machine whose cores have these features."""
    name = "flags" if machine == "x86_64" else "Features"
    text = "".join(f"processor\t: {n}\n{name}\t\t: fpu {each}\n\n" for n, each in enumerate(cores))
    monkeypatch.setattr(native.platform, "machine", lambda: machine)
    monkeypatch.setattr(native.Path, "read_text", lambda _: text)
    return [each.name for each in native.instruction_sets()]


def test_instruction_sets_are_those_that_every_core_has(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cpu(monkeypatch, "x86_64", LEVEL_4, LEVEL_4) == ["x86-64-v4", "x86-64-v3"]


@pytest.mark.parametrize(
    ("machine", "cores", "expected"),
    [
        ("x86_64", [LEVEL_4, LEVEL_3], ["x86-64-v3"]),
        ("x86_64", [LEVEL_4.replace("avx512bw", "")], ["x86-64-v3"]),  # Knights Landing
        ("x86_64", [LEVEL_3.replace("fma", "")], []),
        ("aarch64", ["fp asimd evtstrm"], ["armv8-a"]),
        ("aarch64", [LEVEL_4], []),
        ("riscv64", [LEVEL_4], []),
        ("x86_64", [], []),
    ],
)
def test_a_lesser_core_decides(
    monkeypatch: pytest.MonkeyPatch, machine: str, cores: list[str], expected: list[str]
) -> None:
    assert cpu(monkeypatch, machine, *cores) == expected


def installed(folder: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> None:
    """A machine on whose PATH there are only these programs."""
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_gcc_is_preferred_to_clang_and_a_broken_one_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, monkeypatch, gcc="echo 99.1.0", clang="echo 98.0.0")
    assert native.compiler() == native.Compiler((str(tmp_path / "gcc"),), "gcc-99.1.0")
    native.compiler.cache_clear()
    installed(tmp_path, monkeypatch, gcc="exit 1")
    assert native.compiler() == native.Compiler((str(tmp_path / "clang"),), "clang-98.0.0")


def test_without_a_compiler_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path, monkeypatch)
    monkeypatch.setattr(native, "find_spec", lambda _: None)
    assert native.compiler() is None


def test_zig_is_told_its_own_names_of_processors() -> None:
    zig, gcc = native.Compiler(("zig",), "zig-0.15.1"), native.Compiler(("gcc",), "gcc-12.2.0")
    assert [zig.options(each)[0] for each in native.INSTRUCTION_SETS] == [
        *("-mcpu=x86_64_v4", "-mcpu=x86_64_v3", "-mcpu=generic")
    ]
    assert gcc.options(native.INSTRUCTION_SETS[1]) == ["-march=x86-64-v3"]


def test_vectors_of_512_bits_stay_whole() -> None:
    """clang splits them by default, and the code takes twice as long."""
    clang = native.Compiler(("clang",), "clang-19.1.7")
    wide, *others = (clang.options(each) for each in native.INSTRUCTION_SETS)
    assert "-mprefer-vector-width=512" in wide
    assert all(len(options) == 1 for options in others)


def test_a_compilers_complaint_is_reported(tmp_path: Path) -> None:
    target, compiler = native.instruction_sets()[0], native.compiler()
    assert compiler
    source = tmp_path / "broken.c"
    source.write_text("int f(void) { return missing; }\n")
    message = r"cannot compile broken\.c: .*broken\.c:1:\d+: error: .*missing"
    with pytest.raises(NetworkError, match=message):
        native.compiled(source, target, compiler)
    with pytest.raises(NetworkError, match=r"gone-1 cannot compile broken\.c: .*No such file"):
        native.compiled(source, target, native.Compiler(("/gone",), "gone-1"))
    with pytest.raises(NetworkError, match=r"false-1 cannot compile broken\.c: .*status 1"):
        native.compiled(source, target, native.Compiler(("false",), "false-1"))


def function(tmp_path: Path, value: int) -> bytes:
    compiler = native.compiler()
    assert compiler
    source = tmp_path / "value.c"
    source.write_text(
        f'__attribute__((visibility("default"))) int value(void) {{ return {value}; }}\n'
    )
    return native.compiled(source, native.instruction_sets()[0], compiler)


def test_libraries_are_loaded_from_memory_and_kept_apart(tmp_path: Path) -> None:
    first, second = (native.load(function(tmp_path, value)) for value in (1, 2))
    shutil.rmtree(tmp_path)
    assert (first.value(), second.value()) == (1, 2)
    assert isinstance(first, ctypes.CDLL)


def test_what_is_not_a_library_is_refused() -> None:
    with pytest.raises(NetworkError, match="cannot be loaded here"):
        native.load(b"not a library")


def test_a_library_needs_nothing_of_the_c_library(tmp_path: Path) -> None:
    path = tmp_path / "value.so"
    path.write_bytes(function(tmp_path, 1))
    listed = subprocess.run(["ldd", path], capture_output=True, text=True, check=False)
    assert "statically linked" in listed.stdout + listed.stderr
    assert sys.platform == "linux"
