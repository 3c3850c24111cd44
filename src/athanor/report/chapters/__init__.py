"""The chapters of the report: each turns what some kinds of steps left behind into what its template shows."""
