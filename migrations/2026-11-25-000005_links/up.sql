-- Portfolios lie in portfolios, and may use the access settings of theirs (INH-1).

ALTER TABLE portfolios
    ADD COLUMN parent text REFERENCES portfolios (id),
    ADD COLUMN linked boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT portfolios_linked_to_parent CHECK (NOT linked OR parent IS NOT NULL);
CREATE INDEX portfolios_by_parent ON portfolios (parent) WHERE parent IS NOT NULL;
COMMENT ON COLUMN portfolios.parent IS 'The portfolio that it lies in, also after that was deleted; null: in none.';
COMMENT ON COLUMN portfolios.linked IS 'Whether its access settings are those of its parent (INH-1). Its own, and its grants but for the ownership, are suspended.';

-- A program that does not know the columns would take what is suspended for what is in force.
UPDATE cluster SET min_reader = greatest(min_reader, 3);
