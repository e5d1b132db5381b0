"""Robustness of radiomic features under perturbation of noise, position, contour and volume (NTCV).

A state is drawn and recorded first, and applied purely afterwards, so that every value can be replayed from its row.
`course.run` is the stage of one course, `cohort.aggregate_robustness` puts the courses together, and `statistics` runs
in the radiomics environment. Nothing is imported here, because that environment lacks what the other modules need.
"""
