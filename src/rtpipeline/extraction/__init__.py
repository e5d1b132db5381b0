"""The engine that the radiomics workers run, and the jobs that both environments speak of."""
