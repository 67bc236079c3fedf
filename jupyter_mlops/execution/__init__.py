"""Where and how notebooks run: engines for sweeps, the sweep itself."""
