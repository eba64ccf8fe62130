"""What tests/run_all.py is made of: running programs, reading their reports, and the groups of tests.

Standard library only, so that a missing package shows as a failed test and not as a failed runner.
"""
