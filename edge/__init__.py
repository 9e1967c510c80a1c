"""One zone: intake, admit, aggregate, spool, uplink; downlink."""
