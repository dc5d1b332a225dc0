"""The NIK as patterns: region in 6 digits, day of birth as DDMMYY with 40 added to the day of women, serial in 4 digits
(Exchange rules 6, 7).
"""

DIGITS = "[0-9]{16}"
"""Any text of that form."""

_BORN = (
    "(?:"
    "(?:[04][1-9]|[15][0-9]|[26][0-8])(?:0[1-9]|1[0-2])[0-9]{2}"  # 01-28 of any month
    "|(?:[26]9|[37]0)(?:0[13-9]|1[0-2])[0-9]{2}"  # 29 and 30, but of February
    "|[37]1(?:0[13578]|1[02])[0-9]{2}"  # 31 of the long months
    "|[26]902(?:[02468][048]|[13579][26])"  # 29 February, of 2000 too if not of 1900
    ")"
)
DATED = f"[0-9]{{6}}{_BORN}[0-9]{{4}}"
"""One whose day of birth exists, in 19YY or in 20YY."""
