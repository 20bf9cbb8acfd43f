"""What is measured: a module a suite, each with how it is measured, how it is shown, and what it is plotted as.

``measure(runner)`` makes the measurements, ``section(results)`` writes its part of the page,
``panels(results)`` is its plot, and ``targets(results)`` holds what was measured against what was aimed at.
"""
