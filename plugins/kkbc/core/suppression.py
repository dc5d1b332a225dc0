"""The suppression list: who was erased, so that no later delivery brings the person back (Exchange rule 22).

The list holds tokens of NIKs under a key of its own. When that key changes, the tokens are put under the new key as
they are, for nobody has the NIKs any more: a token has a layer for each key that there ever was, the first key first.
"""

from dataclasses import dataclass, field
from functools import reduce

import polars as pl

from kkbc.core.tokens import tokens


@dataclass(frozen=True)
class Suppression:
    """`keys`: the layers of the suppression key, the first first; `tokens`: those of the persons on the list."""

    keys: tuple[bytes, ...] = field(default=(), repr=False)
    tokens: frozenset[str] = field(default=frozenset(), repr=False)

    def __bool__(self) -> bool:
        return bool(self.tokens)

    def token_of(self, nik: str) -> str:
        """The token of a NIK (16 digits) on the list: 32 hex digits."""
        return str(self._tokens_of(pl.Series([nik], dtype=pl.String)).item())

    def suppressed(self, niks: pl.Series) -> pl.Series:
        """Of each NIK (String, 16 digits as cleaned, null where there is none) whether its person is on the list."""
        if not self.tokens:
            return pl.repeat(False, len(niks), dtype=pl.Boolean, eager=True)
        distinct = niks.drop_nulls().unique()
        of_the_list = pl.Series(sorted(self.tokens), dtype=pl.String).implode()
        found = distinct.filter(self._tokens_of(distinct).is_in(of_the_list))
        return niks.is_in(found.implode()).fill_null(False)

    def _tokens_of(self, niks: pl.Series) -> pl.Series:
        return reduce(tokens, self.keys, niks)
