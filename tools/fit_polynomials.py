"""Fits the polynomials of src/kernels/vec_math.h (exact-erf GELU and exp) and prints the coefficients and the errors
of their float evaluation. Needs numpy and scipy; run it again only to change the degrees.

GELU: gelu(x) = max(x, 0) - |x| * Q(|x|) with Q(a) = erfc(a / sqrt 2) / 2, piece by piece: piece n holds |x| nearest to n / kPerUnit and is
a polynomial of x's distance from there; the last piece is 0. Coefficients of one power are looked up in a table of 16.
exp: exp(r) = 1 + r + r^2 * q(r) on |r| <= ln(2) / 2, minimax in the relative error.
Weighted least squares with Lawson's update converges to the minimax polynomial.
"""
import numpy as np
from scipy.special import erfc

GELU_REACH, GELU_PIECES, GELU_DEGREE, EXP_DEGREE = 5.5, 16, 4, 6


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


def fit_exp():
    r = np.cos(np.linspace(0, np.pi, 4001)) * (np.log(2) / 2 * 1.0001)
    powers = np.stack([r**k for k in range(2, EXP_DEGREE + 1)], axis=1)
    c, error = lawson(powers, np.exp(r) - 1 - r, np.exp(-r))
    print(f"exp, relative fit error {error:.2e}, r^2 first:")
    print(", ".join(f"{v:.9g}F" for v in np.float32(c)))


fit_gelu()
fit_exp()
