"""How good the pictures are, in numbers that a few hundred of them can bear.

`features` is how a frozen network sees a set of pictures; `kid`, `coverage`, `diversity` and
`nearest` compare two such sets; `scores` puts the comparisons together; `meter` does all of it during
training. No number is read alone: 50 real pictures repeated have an excellent KID.
"""

JUDGES = ("lite2", "lite0")
"""EfficientNet-Lites that can look at pictures; the first is the default (`features`)."""
