"""Fits the polynomials of src/kernels/vec_math.h (exact-erf GELU, exp and 2^y for codes) and prints the coefficients and
the errors of their float evaluation. Needs numpy and scipy; run it again only to change the degrees.

GELU: gelu(x) = max(x, 0) - |x| * Q(|x|) with Q(a) = erfc(a / sqrt 2) / 2, piece by piece: piece n holds |x| nearest to n / kPerUnit and is
a polynomial of x's distance from there; the last piece is 0. Coefficients of one power are looked up in a table of 16.
exp: n sixteenths of ln 2 and a rest r, 2^(n / 16) from a table; exp(r) = 1 + r + r^2 * q(r) on |r| <= ln(2) / 32, minimax.
2^y: likewise in sixteenths of y, 2^r = 1 + r * q(r) on |r| <= 1 / 32, with one power less, as codes have 8 bits.
Weighted least squares with Lawson's update converges to the minimax polynomial.
"""
import numpy as np
from scipy.special import erfc

GELU_REACH, GELU_PIECES, GELU_DEGREE, EXP_DEGREE, EXP2_DEGREE = 5.5, 16, 4, 3, 2


def lawson(basis, target, weight, steps=200):
    """Minimax fit of basis @ c to target in the error scaled by weight."""
    w = np.ones_like(target)
    for _ in range(steps):
        scale = np.sqrt(w) * weight
        c = np.linalg.lstsq(basis * scale[:, None], target * scale, rcond=None)[0]
        error = np.abs(basis @ c - target) * weight
        w = w * (error + 1e-3 * error.max())
        w /= w.sum()
    return c, error.max()


def fma(a, b, c):
    """Float fma, up to double rounding."""
    return np.float32(np.float64(a) * np.float64(b) + np.float64(c))


def fit_gelu():
    per_unit = np.float32((GELU_PIECES - 1.5) / GELU_REACH)
    unit = np.float32(1 / per_unit)
    pieces = np.zeros((GELU_PIECES, GELU_DEGREE + 1), np.float32)
    for n in range(GELU_PIECES - 1):
        centre, half = np.float64(unit) * n, 0.5 / np.float64(per_unit) * 1.0001
        t = np.cos(np.linspace(0, np.pi, 2001)) * half
        if n == 0:
            t = t[t >= 0]
        basis = t[:, None] ** np.arange(GELU_DEGREE + 1)
        c, _ = lawson(basis / half ** np.arange(GELU_DEGREE + 1), 0.5 * erfc((centre + t) / np.sqrt(2)), np.ones_like(t), 400)
        pieces[n] = np.float32(c / half ** np.arange(GELU_DEGREE + 1))
    pieces[0, 0] = 0.5
    x = np.float32(np.linspace(-10, 10, 2000001))
    a = np.abs(x)
    top = np.float32(np.float32(GELU_PIECES - 1) * unit)
    near = np.minimum(top, a)
    n = np.rint(np.float64(near) * np.float64(per_unit)).astype(int)
    t = fma(np.float32(-n), unit, near)
    r = pieces[n, GELU_DEGREE]
    for k in range(GELU_DEGREE - 1, -1, -1):
        r = fma(r, t, pieces[n, k])
    y = fma(-near, r, np.maximum(x, np.float32(0)))
    exact = np.float64(x) * 0.5 * erfc(-np.float64(x) / np.sqrt(2))
    worst = np.max(np.abs(y - exact) / np.maximum(a, 1e-30))
    print(f"GELU, {per_unit:.9g}F pieces per unit, unit {unit:.9g}F, top {top:.9g}F, worst float error / |x| {worst:.2e}, t^0 first:")
    for k in range(GELU_DEGREE + 1):
        print("{" + ", ".join(f"{v:.9g}F" for v in pieces[:, k]) + "},")


def literals(values):
    return ", ".join(f"{v:.9g}F" for v in np.float32(values))


def print_powers():
    power = np.float32(2.0 ** (np.arange(16) / 16))
    less = (power.view(np.uint32) - (np.arange(16, dtype=np.uint32) << np.uint32(19))).view(np.float32)
    print("2^(i / 16):", literals(power))
    print("less i * 2^19 in their bits:", literals(less))
    return power


def fit_exp(power):
    r = np.cos(np.linspace(0, np.pi, 4001)) * (np.log(2) / 32 * 1.0001)
    c, _ = lawson(np.stack([r**k for k in range(2, EXP_DEGREE + 1)], axis=1), np.exp(r) - 1 - r, np.ones_like(r))
    c = np.float32(c)
    x = np.float32(np.linspace(-87.3, 88, 4000001))
    n = np.rint(np.float64(x) * np.float32(16 / np.log(2)))
    r = fma(-n, np.float32(-2.12194440e-4 / 16), fma(-n, np.float32(0.693359375 / 16), x))
    scaled = np.float32(np.ldexp(np.float64(power[n.astype(int) % 16]), (n // 16).astype(int)))
    y = fma(scaled * r, fma(fma(c[1], r, c[0]), r, 1), scaled)
    exact = np.exp(np.float64(x))
    print(f"exp, worst relative float error {np.max(np.abs(y - exact) / exact):.2e}, r^2 first: {literals(c)}; lowest {-127 * np.log(2):.9g}F")


def fit_exp2(power):
    r = np.cos(np.linspace(0, np.pi, 4001)) / 32 * 1.0001
    c, _ = lawson(np.stack([r**k for k in range(1, EXP2_DEGREE + 1)], axis=1), 2.0**r - 1, np.ones_like(r))
    c = np.float32(c)
    y = np.float32(np.linspace(-120, 8, 4000001))
    n = np.rint(np.float64(y) * 16)
    r = np.float32(y - np.float32(n / 16))
    scaled = np.float32(np.ldexp(np.float64(power[n.astype(int) % 16]), (n // 16).astype(int)))
    e = fma(scaled * r, fma(c[1], r, c[0]), scaled)
    exact = np.exp2(np.float64(y))
    print(f"2^y, worst relative float error {np.max(np.abs(e - exact) / exact):.2e}, r first: {literals(c)}")


powers = print_powers()
fit_exp(powers)
fit_exp2(powers)
fit_gelu()
