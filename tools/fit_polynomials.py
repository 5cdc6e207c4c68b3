"""Fits the polynomials of src/kernels/vec_math.h (exact-erf GELU and exp) and prints the coefficients and the errors
of their float evaluation. Needs numpy and scipy; run it again only to change the degrees.

GELU: gelu(x) = max(x, 0) - |x| * Q(|x|) with Q(a) = erfc(a / sqrt 2) / 2. With s = max(0, 1 - a / kReach) the fit is
Q = s^2 * S(2 s - 1): no division, no exp, and exactly 0 from kReach on. Weighted least squares with Lawson's update
converges to the minimax polynomial.
exp: exp(r) = 1 + r + r^2 * q(r) on |r| <= ln(2) / 2, minimax in the relative error.
"""
import numpy as np
from numpy.polynomial import chebyshev
from scipy.special import erfc

GELU_REACH, GELU_DEGREE, EXP_DEGREE = 5.5, 13, 6


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
    t = np.cos(np.linspace(0, np.pi, 6001))
    s = (t + 1) / 2
    q = 0.5 * erfc(GELU_REACH * (1 - s) / np.sqrt(2))
    c, error = lawson(chebyshev.chebvander(t, GELU_DEGREE) * (s**2)[:, None], q, np.ones_like(q))
    p = np.float32(chebyshev.cheb2poly(c))
    x = np.float32(np.linspace(-10, 10, 2000001))
    a = np.abs(x)
    s = np.maximum(np.float32(0), fma(a, np.float32(-1 / GELU_REACH), 1))
    t = fma(s, 2, -1)
    r = np.full_like(t, p[-1])
    for k in p[-2::-1]:
        r = fma(r, t, k)
    r = r * s * s
    y = fma(-np.minimum(a, np.float32(GELU_REACH)), r, np.maximum(x, np.float32(0)))
    exact = np.float64(x) * 0.5 * erfc(-np.float64(x) / np.sqrt(2))
    worst = np.max(np.abs(y - exact) / np.maximum(a, 1e-30))
    print(f"GELU, fit error of Q {error:.2e}, worst float error / |x| {worst:.2e}, t^0 first:")
    print(", ".join(f"{v:.9g}F" for v in p))


def fit_exp():
    r = np.cos(np.linspace(0, np.pi, 4001)) * (np.log(2) / 2 * 1.0001)
    powers = np.stack([r**k for k in range(2, EXP_DEGREE + 1)], axis=1)
    c, error = lawson(powers, np.exp(r) - 1 - r, np.exp(-r))
    print(f"exp, relative fit error {error:.2e}, r^2 first:")
    print(", ".join(f"{v:.9g}F" for v in np.float32(c)))


fit_gelu()
fit_exp()
