"""The rules that keep raftkv safe, deliberately broken: by a driver, a core or a patched function.

One file per subject. Each function breaks one rule and returns the driver to run; a docstring says which.
What catches it is said in `test_broken_rules` and its siblings.
"""
