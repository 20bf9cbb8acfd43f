"""``make mutants``: mutation testing of the decision logic.

mutmut changes one expression at a time (a mutant) and runs the tests that cover it. If none of them fails, the mutant
has survived: either a test is missing, or the change makes no difference. ``survivors.json`` lists those that make no
difference, with the reason; ``docs/mutants.md`` shows the result.
"""
