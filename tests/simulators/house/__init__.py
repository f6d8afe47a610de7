"""Tests of the simulated house."""
