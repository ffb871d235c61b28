"""Numbers and names as a page writes them: sensible digits, plain text instead of LaTeX."""

# ruff: noqa: RUF001 (Greek letters, dashes and minus signs are what the page is to show)

from __future__ import annotations

import math
import re
import unicodedata

THIN_SPACE = "\u202f"
ABSENT = "–"

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SYMBOLS = {
    "to": "→", "rightarrow": "→", "pm": "±", "times": "×", "ell": "ℓ", "bar": "", "overline": "", "mathrm": "",
    "text": "", "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "eta": "η", "theta": "θ",
    "lambda": "λ", "mu": "μ", "nu": "ν", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ", "chi": "χ",
    "psi": "ψ", "omega": "ω", "Gamma": "Γ", "Delta": "Δ", "Lambda": "Λ", "Sigma": "Σ", "Phi": "Φ", "Psi": "Ψ",
    "Omega": "Ω", "prime": "′", "geq": "≥", "leq": "≤", "ge": "≥", "le": "≤", "gt": ">", "lt": "<",
    "quad": " ", "left": "", "right": "", "it": "", "rm": "", "sqrt": "√", "approx": "≈", "sim": "~",
}  # fmt: skip


def number(value: float | None, digits: int = 3) -> str:
    r"""A number with significant digits, thousands apart and powers of ten outside 0.001 to 10^7.

    Counts (integers) below 10^15 are written in full.

    >>> number(0.000012345), number(1234567), number(None), number(48.251)
    ('1.23×10⁻⁵', '1\u202f234\u202f567', '–', '48.3')
    """
    if value is None:
        return ABSENT
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    if float(value).is_integer() and abs(value) < 1e15 and (isinstance(value, int) or abs(value) < 10**digits):
        return grouped(f"{int(value):,}")
    exponent = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    if not -3 <= exponent < 7:
        mantissa = f"{value / 10.0**exponent:.{digits - 1}f}"
        return f"{_minus(mantissa)}×10{str(exponent).translate(_SUPERSCRIPTS)}"
    return grouped(f"{value:,.{max(digits - 1 - exponent, 0)}f}")


def measured(value: float | None, uncertainty: float | None) -> str:
    """A value with its uncertainty, both to two significant digits of the uncertainty.

    >>> measured(1.2345, 0.0678), measured(0.31, None)
    ('1.234 ± 0.068', '0.310')
    """
    if value is None or uncertainty is None or not (math.isfinite(uncertainty) and uncertainty > 0):
        return number(value)
    decimals = max(1 - math.floor(math.log10(uncertainty)), 0)
    return f"{grouped(f'{value:,.{decimals}f}')} ± {grouped(f'{uncertainty:,.{decimals}f}')}"


def percent(part: float, whole: float) -> str:
    """A fraction in percent, or a dash where it is not defined.

    >>> percent(1, 3), percent(4, 100), percent(7, 7), percent(1, 0)
    ('33.3%', '4.0%', '100%', '–')
    """
    if whole == 0:
        return ABSENT
    if part in {0, whole}:
        return "100%" if part else "0%"
    value = 100.0 * part / whole
    return f"{grouped(f'{value:.1f}')}%" if abs(value) >= 1.0 else f"{number(value, 2)}%"


def seconds(value: float) -> str:
    """A duration.

    >>> seconds(0.5), seconds(75)
    ('0.50 s', '1 min 15 s')
    """
    if value < 10:
        return f"{value:.2f} s"
    if value < 60:
        return f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def grouped(text: str) -> str:
    """Thin spaces for the commas between thousands, and a real minus sign."""
    return _minus(text.replace(",", THIN_SPACE))


def _minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}", 1) if text.startswith("-") else text


def plain(label: str) -> str:
    r"""A plot label without LaTeX: Greek letters and arrows become characters, other commands their names.

    >>> plain(r"$Z\to\nu\bar{\nu}$ + jets")
    'Z→νν̄ + jets'
    """
    return re.sub(r"\$([^$]*)\$", lambda match: _without_latex(match.group(1)), label)


def _without_latex(text: str) -> str:
    text = re.sub(r"\\([A-Za-z]+)\s*", lambda match: "\\" + match.group(1) + " ", text)
    text = re.sub(
        r"\\(?:bar|overline) \s*\{?\s*(\\[A-Za-z]+ |[A-Za-z])\s*\}?",
        lambda match: _symbol(match.group(1)) + "\N{COMBINING MACRON}",
        text,
    )
    text = re.sub(r"\^\{?(-?\d+)\}?", lambda match: match.group(1).translate(_SUPERSCRIPTS), text)
    text = re.sub(r"\\([A-Za-z]+) ", lambda match: _SYMBOLS.get(match.group(1), match.group(1)), text)
    text = re.sub(r"\\[,;:! ]", " ", text)
    return unicodedata.normalize("NFC", re.sub(r"[{}^_]", "", text))


def _symbol(text: str) -> str:
    return _SYMBOLS.get(text.strip("\\ "), text.strip("\\ ")) if text.startswith("\\") else text
