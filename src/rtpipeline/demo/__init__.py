"""A small synthetic cohort as messy DICOM, tiny segmentation weights, and the configuration that runs on them.

The cohort's DICOM files are written here with pydicom alone, not with `rtpipeline.dicom`, so that a run of the demo
never reads only what the same code wrote.
"""
