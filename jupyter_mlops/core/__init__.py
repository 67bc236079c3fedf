"""The words and the rules: records, errors, access, parameters, grammars. No I/O, no database, no HTTP, no Jupyter."""
