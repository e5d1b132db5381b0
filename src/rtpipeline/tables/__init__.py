"""Tables: Parquet is the truth, Excel is the export. Schemas are data; both files are written atomically."""
