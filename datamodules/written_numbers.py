"""Numbers as people write them: `40%`, `$10,000`, `1,010`; and what only looks like numbers: dates, and units.

The form of a column is "percent", "thousands" (separated by commas) or "currency $", with its sign. Forms that can be
read in two ways are not read, such as `1.200 €`, which is 1200 in some countries.
"""

import re

SIGNS = "$€£¥₹"
BLANK = "[ \u00a0]?"
GROUPED = r"\d{1,3}(?:,\d{3})+(?:\.\d*)?"
AMOUNT = rf"(?:{GROUPED}|\d+(?:\.(?:\d{{0,2}}|\d{{4,}}))?)"  # three digits after a dot may be thousands
PERCENT = re.compile(rf"([+-]?(?:\d+(?:\.\d*)?|\.\d+)){BLANK}%", re.ASCII)
THOUSANDS = re.compile(rf"[+-]?{GROUPED}", re.ASCII)
CURRENCY = re.compile(rf"([+-]?)([{SIGNS}]?){BLANK}({AMOUNT}){BLANK}([{SIGNS}]?)", re.ASCII)
UNIT = re.compile(rf"[+-]?\d[\d.,]*{BLANK}([^\W\d_]{{1,5}}[²³23]?)")
_DAY, _TIME = r"\d{1,2}", r"([T ,]+\d{1,2}:\d{2}.*)?"
_MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
DATE = re.compile(
    rf"(\d{{4}}[-/.]{_DAY}[-/.]{_DAY}|\d{{4}}-(0\d|1[0-2])|{_DAY}[-/.]{_DAY}[-/.](\d{{4}}|\d{{2}})"
    rf"|{_DAY}[ -]{_MONTH}[ ,-]*(\d{{4}}|\d{{2}})|{_MONTH} ?{_DAY},? \d{{4}}){_TIME}|\d{{1,2}}:\d{{2}}(:\d{{2}})?",
    re.ASCII | re.IGNORECASE,
)


def form_of(text: str) -> str:
    """The form of a number that is not plain; "" for anything else."""
    if PERCENT.fullmatch(text):
        return "percent"
    if THOUSANDS.fullmatch(text):
        return "thousands"
    currency = CURRENCY.fullmatch(text)
    if currency and bool(currency[2]) != bool(currency[4]):
        return f"currency {currency[2] or currency[4]}"
    return ""


def plain(text: str, form: str) -> str:
    """A number of this form as a plain one; other text as it is, which for "percent" is not a number in any case."""
    if form == "percent":
        percent = PERCENT.fullmatch(text)
        return percent[1] if percent else f"{text} without %"
    if form_of(text) in ("thousands", form):
        return re.sub(rf"[,{SIGNS} \u00a0]", "", text)
    return text


def unit_of(text: str) -> str:
    """The unit after a number, such as kg; "" if there is none."""
    found = UNIT.fullmatch(text)
    return found[1] if found else ""
