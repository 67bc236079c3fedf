"""MLflow's REST API: a dialect. It translates to calls of the tracker, and has no store and no rules of its own."""
