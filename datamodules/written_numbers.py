"""Numbers as people write them: `40%`, `$10,000`, `1,010`, `1.010,5 €`, `40 kg`.

The form of a column is "number" (a plain one), "thousands" (`1,010`, `1 010` and `1'010`), "percent", "currency $" with
its sign, or "unit kg". Where the decimal mark is a comma it is "decimal comma", or "percent, decimal comma" and so on;
such a number is read as one with a point once commas and points have changed places. An amount of money with three
digits after its only mark is a whole one, `1.200 €` is 1200, unless somebody says that the mark is a point; it is then
"currency €, decimal point".
"""

import re
from collections import Counter
from collections.abc import Iterator

import pandas as pd

MOSTLY = 0.5  # share of numbers above which a column is numeric, and its other values are mistakes
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)  # float() takes "1_000" and "nan" too
SIGN = r"[$€£¥₹]|USD|EUR|GBP|CHF"
BLANK = "[ \u00a0\u202f]?"
GROUPED = "\\d{1,3}(?:(?P<mark>[,'\u2019 \u00a0\u202f])\\d{3})(?:(?P=mark)\\d{3})*(?:\\.\\d*)?"
AMOUNT = rf"(?:{GROUPED}|\d+(?:\.(?:\d{{0,2}}|\d{{4,}}))?)"  # three digits after a point may be thousands
PERCENT = re.compile(rf"([+-]?(?:\d+(?:\.\d*)?|\.\d+)){BLANK}%", re.ASCII)
THOUSANDS = re.compile(rf"[+-]?{GROUPED}", re.ASCII)
CURRENCY, EXACT_CURRENCY = (
    re.compile(
        rf"(?P<minus>[+-]?)(?P<before>{SIGN})?{BLANK}(?P<amount>[+-]?{amount}){BLANK}(?P<after>{SIGN})?", re.ASCII
    )
    for amount in (AMOUNT, rf"(?:{GROUPED}|\d+(?:\.\d*)?)")
)
UNIT = re.compile(rf"([+-]?\d[\d.,]*){BLANK}([^\W\d_]{{1,5}}[²³23]?)")
FEW = 0.1  # share of values that are no numbers, up to which they may be mistakes
UNSEPARATED = re.compile(r"[+-]?\d{4}", re.ASCII)  # where thousands are separated, no number begins like this
COMMA, POINT = "decimal comma", "decimal point"
SWAPPED = str.maketrans(".,", ",.")


def form_of(text: str, amounts: re.Pattern[str] = CURRENCY) -> str:
    """The form of a number with a decimal point that is not plain; "" for anything else."""
    if PERCENT.fullmatch(text):
        return "percent"
    if THOUSANDS.fullmatch(text):
        return "thousands"
    currency = amounts.fullmatch(text)
    if currency and bool(currency["before"]) != bool(currency["after"]):
        return f"currency {currency['before'] or currency['after']}"
    return ""


def plain(text: str, form: str) -> str:
    """A number of this form as a plain one; other text as it is, which for "percent" is not a number in any case."""
    base, comma, _ = form.partition(COMMA)
    if comma:
        return plain(text.translate(SWAPPED), base.removesuffix(", ") or "thousands")
    if form == "percent":
        percent = PERCENT.fullmatch(text)
        return percent[1] if percent else f"{text} without %"
    if form.startswith("unit "):
        unit = UNIT.fullmatch(text)
        return plain(unit[1], "thousands") if unit and unit[2] == form.removeprefix("unit ") else text
    amounts = EXACT_CURRENCY if form.endswith(POINT) else CURRENCY
    if form_of(text, amounts) not in ("thousands", form.removesuffix(f", {POINT}")):
        return text
    currency = amounts.fullmatch(text)
    return re.sub("[,'\u2019 \u00a0\u202f]", "", currency["minus"] + currency["amount"] if currency else text)


def parses(text: str, form: str) -> bool:
    """Whether a text is a number of this form."""
    return looks_numeric(text if form == "number" else plain(text, form))


def unit_of(text: str) -> str:
    """The unit after a number, such as kg; "" if there is none."""
    found = UNIT.fullmatch(text)
    return found[2] if found else ""


def looks_numeric(text: str) -> bool:
    return bool(NUMBER.fullmatch(text)) or text.lower().lstrip("+-") in ("inf", "infinity")


def number_form(counts: pd.Series, decimal: str = "") -> str:
    """The form of a column of numbers, judged by all of its values; "" if it is none.

    Args:
        counts: rows by text, without missing values.
        decimal: "," where the table has commas as decimal marks, so that `1,010` has one too; "." where no column has;
            "" for whatever makes more of the column numbers, a point if both do.
    """
    total, texts = int(counts.sum()), counts.index.tolist()
    if all(map(NUMBER.fullmatch, texts)) and not (decimal == "," and any("." in text for text in texts)):
        return "number" if texts else ""
    amounts = EXACT_CURRENCY if decimal == "." else CURRENCY
    forms = [(_forms(counts, False, amounts), POINT if decimal == "." else ""), (_forms(counts, True, amounts), COMMA)]
    (point, _), (comma, _) = forms
    takes_comma = comma.total() >= point.total() if decimal == "," else comma.total() > point.total()
    found, mark = forms[takes_comma and decimal != "."]
    if found.total() > MOSTLY * total and not _named_often(counts, found, mark == COMMA):
        return _joined(_prevailing(found, texts, total), mark)
    (unit, rows), *_ = [*_units(counts).most_common(1), ("", 0)]
    if rows < total or len(texts) < 3:
        return ""
    before = counts.groupby([UNIT.sub(r"\1", text) for text in texts]).sum()
    form = number_form(before, decimal)
    return form and _joined(f"unit {unit}", COMMA if form == COMMA else "")


def _vote(counts: pd.Series) -> str:
    """The decimal mark that a column shows: "," or "."; ",?" or ".?" if it has such a mark that may be one; or ""."""
    marked = [text for text in counts.index if "," in text or "." in text]
    if marked and all(map(NUMBER.fullmatch, counts.index)):
        return ".?" if all(THOUSANDS.fullmatch(text.translate(SWAPPED)) for text in marked) else "."
    point, comma = (_forms(counts, swapped, CURRENCY).total() if marked else 0 for swapped in (False, True))
    if max(point, comma) <= MOSTLY * counts.sum():
        return ""
    both = ",?" if any("," in text for text in marked) else ".?"
    return "," if comma > point else "." if point > comma else both


def _named_often(counts: pd.Series, forms: "Counter[str]", swapped: bool) -> bool:
    """Whether too many different values are no numbers for these to be mistakes: most names may have digits only."""
    if forms.total() >= (1 - FEW) * counts.sum():
        return False
    texts = [text.translate(SWAPPED) if swapped else text for text in counts.index]
    return sum(not looks_numeric(text) and not form_of(text) for text in texts) > 3


def decimal_of(columns: Iterator[pd.Series], semicolons: bool) -> str:
    """The decimal mark of most of a table's columns that show theirs, each given as rows by text; "" if it is open.

    Args:
        semicolons: they separate the columns, as where a comma is the decimal mark, so that `1,010` may be one.
    """
    votes: Counter[str] = Counter()
    for counts in columns:
        votes[_vote(counts)] += 1
    if votes[","] or votes["."]:
        return "" if votes[","] == votes["."] else "," if votes[","] > votes["."] else "."
    return "," if semicolons and votes[",?"] and not votes[".?"] else ""


def _forms(counts: pd.Series, swapped: bool, amounts: re.Pattern[str]) -> "Counter[str]":
    """Rows of each form."""
    forms: Counter[str] = Counter()
    for text, count in zip(counts.index.tolist(), counts.tolist(), strict=True):
        text = text.translate(SWAPPED) if swapped else text
        forms["number" if looks_numeric(text) else form_of(text, amounts)] += count
    del forms[""]
    return forms


def _prevailing(forms: "Counter[str]", texts: list[str], total: int) -> str:
    """One form for the column. Plain numbers are also how small ones are written where thousands are separated."""
    if forms["thousands"] + forms["number"] == total and forms["thousands"]:
        small = not any(UNSEPARATED.match(text) for text in texts)
        if small or forms["thousands"] > MOSTLY * total:
            return "thousands"
    if forms["number"] > MOSTLY * total:
        return "number"  # values written differently are mistakes
    return max((form for form in forms if form != "number"), key=lambda form: forms[form])


def _joined(form: str, mark: str) -> str:
    if not mark or (mark == POINT and not form.startswith("currency")):  # of money alone it says more
        return form
    return mark if form in ("number", "thousands") else f"{form}, {mark}"


def scale_of(kind: str) -> str:
    """What two ways of writing a number have in common if it is the same number; "" for what is no number."""
    if kind in ("number", "thousands", COMMA):
        return "number"
    base = kind.removesuffix(f", {COMMA}").removesuffix(f", {POINT}")
    return base if base.startswith(("percent", "currency ", "unit ")) else ""


def _units(counts: pd.Series) -> "Counter[str]":
    units: Counter[str] = Counter()
    for text, count in zip(counts.index.tolist(), counts.tolist(), strict=True):
        units[unit_of(text)] += count
    del units[""]
    return units
