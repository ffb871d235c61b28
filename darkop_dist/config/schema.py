"""The JSON schema of the document, for editors and for ``darkop schema``."""

from __future__ import annotations

from typing import Any

from darkop_dist.config.document import Document


def document_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of the analysis document, with a description of every key."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Document.model_json_schema(mode="validation"),
        "title": "darkop-dist analysis document",
    }
