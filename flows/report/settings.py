"""What only its provider can say about a model; it goes into the papers and into no result."""

from pydantic import Field

from pipeline_data.settings import Settings


class Provider(Settings):
    """Who answers for the models; what is left out stands in the papers as not on record."""

    name: str | None = Field(None, min_length=1)
    """Name of the provider."""
    contact: str | None = Field(None, min_length=1)
    """Contact details of the provider."""
    representative: str | None = Field(None, min_length=1)
    """Authorised representative in the Union, with contact details."""
    model_licence: str | None = Field(None, min_length=1)
    """Licence of the models, best as an SPDX identifier."""
    placed_on_market: str | None = Field(None, pattern=r"^\d{4}-\d{2}-\d{2}$")
    """Date of placement on the Union market (ISO 8601)."""
    is_sme: bool | None = None
    """A small or medium-sized enterprise lists fewer domains: a twentieth, or a thousand."""
    signed_code_of_practice: bool | None = None
    """Signatory of the Code of Practice for general-purpose AI models."""
    intended_use: str | None = Field(None, min_length=1)
    """What the models are for, and what they must not be used for."""
