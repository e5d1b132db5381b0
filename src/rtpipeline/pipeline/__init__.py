"""The stage graph, one course's walk through it, and the run of a cohort."""
