"""Solvers of the inner program of a margin bound; the contract is in `rsbounds.solvers._base`."""
