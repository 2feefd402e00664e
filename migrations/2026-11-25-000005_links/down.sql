-- What is suspended is in force again: there is no other place for the link.
UPDATE cluster SET min_reader = least(min_reader, 2);
ALTER TABLE portfolios DROP COLUMN linked, DROP COLUMN parent;
