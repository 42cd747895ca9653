"""Files of certificates for the connections to a target, by name. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Files for the connections to one target.

    Attributes:
        ca_file: CA certificates; None for those of the system.
        certificate_file: The certificate that is shown to the target; None for no certificate.
        key_file: Its key; None if it is in `certificate_file`.
    """

    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """The files that are named."""
        return tuple(path for path in (self.ca_file, self.certificate_file, self.key_file) if path is not None)


SYSTEM_TLS = TlsFiles()
