"""That `make mutants` still changes what it is meant to change."""

import pytest

from tests.simulation.mutants import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda each: each.name)
def test_each_safeguard_is_where_the_list_of_mutants_takes_it_away(mutant: Mutant):
    mutant.check()
