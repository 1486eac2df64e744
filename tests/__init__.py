"""Tests mirror `src/`: one attack, one property or one user journey per test."""
