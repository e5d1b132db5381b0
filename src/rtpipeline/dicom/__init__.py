"""Reading and writing DICOM objects: the only room that knows tags."""
