-- Portfolios are archived and restored (VIS-8).

ALTER TABLE portfolios ADD COLUMN archived boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN portfolios.archived IS 'Kept, but nothing is added or changed in it (VIS-8).';

-- A program that does not know the column would go on allowing changes.
UPDATE cluster SET min_reader = greatest(min_reader, 2);
