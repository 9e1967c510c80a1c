-- By how much the edge moves a sender's times, because its clock is steadily off.

ALTER TABLE ledger ADD COLUMN clock_offset_ms real;
COMMENT ON COLUMN ledger.clock_offset_ms IS 'Sender''s clock less true time; NULL while it is right.';
