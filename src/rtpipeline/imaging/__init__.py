"""Grids, volumes, contours and masks: the only room that knows axis order.

World coordinates are DICOM patient coordinates (LPS, mm) as arrays `(…, 3)` in the order x, y, z. Voxel arrays are
`(plane, row, column)`, written (z, y, x). Index coordinates are `(…, 3)` in the order column, row, plane (x, y, z).
"""
