#!/usr/bin/env python3
"""Counts the instructions of the byte products' inner loops for 64-bit ARM, as the compiler made them.

    scripts/test-aarch64 && python3 bench/arm_loops.py [build-aarch64]

Emulation says nothing of time, so this is what can be said of speed without a board: for each instruction set, of the loop that holds
the most products: its multiply-adds, instructions, bytes loaded, and the two ratios. A tile of R rows and C columns needs (R + C) / (R C)
bytes for each multiply-add, whatever the instructions; the peers' lines follow from their published tile shapes by that formula.
"""
import re
import subprocess
import sys
from pathlib import Path

# Multiply-adds of one instruction, by 128-bit operands; widening products of 8 lanes.
PRODUCTS = {"sdot": 16, "usmmla": 32, "smull": 8, "smull2": 8, "smlal": 8, "smlal2": 8}
LOADS = {"ldr": 1, "ldp": 2, "ld1": 1, "ldur": 1}
SETS = (("neon", "bytes_neon"), ("neon-dotprod", "bytes_neon_dotprod"), ("neon-i8mm", "bytes_neon_i8mm"))
PEERS = (("XNNPACK 4x16 (dotprod, i8mm)", 4, 16), ("KleidiAI 16x4 (dotprod, i8mm)", 16, 4), ("ruy 8x8 (dotprod)", 8, 8))


def loops(assembly):
    """Yields the instructions [(name, operands)] of every loop without a loop inside."""
    code = [(int(m[1], 16), m[2], m[3]) for m in re.finditer(r"^\s+([0-9a-f]+):\s+(\S+)[ \t]*(.*)$", assembly, re.M)]
    at = {address: i for i, (address, _, _) in enumerate(code)}
    for i, (address, name, operands) in enumerate(code):
        target = re.search(r"([0-9a-f]+) <", operands) if name.startswith("b.") or name in ("cbnz", "cbz") else None
        if target and int(target[1], 16) < address and int(target[1], 16) in at:
            body = [(n, o) for _, n, o in code[at[int(target[1], 16)]:i + 1]]
            if not any(" <" in o for _, o in body[:-1]):
                yield body


def vectors_loaded(name, operands):
    """How many registers of 16 bytes a load fills."""
    return LOADS.get(name, 0) * bool(re.match(r"\{?[qv]\d", operands))


def count(body):
    macs = sum(PRODUCTS.get(name, 0) for name, operands in body if operands.startswith("v"))
    loads = sum(vectors_loaded(name, operands) for name, operands in body)
    return macs, len(body), loads


def main():
    build = Path(sys.argv[1] if len(sys.argv) > 1 else "build-aarch64")
    folder = build / "src/kernels/CMakeFiles/igq_kernels.dir/arm"
    print("| loop | multiply-adds | instructions | per instruction | vectors loaded | multiply-adds per vector loaded |")
    print("|---|---|---|---|---|---|")
    for name, file in SETS:
        text = subprocess.run(["aarch64-linux-gnu-objdump", "-d", "--no-show-raw-insn", folder / f"{file}.cc.o"], check=True,
                              capture_output=True, text=True).stdout
        macs, instructions, loads = max((count(body) for body in loops(text)), key=lambda c: (c[0], -c[1]))
        print(f"| igq {name} | {macs} | {instructions} | {macs / instructions:.1f} | {loads} | {macs / loads:.0f} |")
    for name, rows, columns in PEERS:
        print(f"| {name}, by its shape | | | | | {16 * rows * columns / (rows + columns):.0f} |")


if __name__ == "__main__":
    main()
