"""The table of drawn names that people edit and feed back."""

from __future__ import annotations

from rtpipeline.tables.schema import Column, Table

STRUCTURE_NAMES = Table(
    name="structure_names",
    description="One row per name that structures were drawn under, to edit and to feed back as structures.names.",
    columns=(
        Column("roi_name", "text", "The name as drawn."),
        Column("standard_name", "text", "TG-263 name that tables have now; to edit. Empty: none."),
        Column("proposed_name", "text", "TG-263 name that it may stand for; empty where there is none."),
        Column("confidence", "text", "certain (used already), likely, possible or none."),
        Column("reason", "text", "Why this name is proposed, or why none is."),
        Column("structures", "integer", "Number of structures of this name."),
        Column("courses", "integer", "Number of courses with such a structure."),
        Column(
            "sources",
            "text",
            "Where they come from: manual, auto, custom, custom_model:<name>, auto_mr:<series>, seg:<name>.",
        ),
        Column("interpreted_types", "text", "Their RTROIInterpretedTypes."),
    ),
    sort_by=("roi_name",),
)
