"""What every part of OpenVRC shares: contracts, detectors, map formats, the command."""
