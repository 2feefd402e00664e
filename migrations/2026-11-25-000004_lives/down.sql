-- What is archived is in use again: there is no other place for it.
UPDATE cluster SET min_reader = least(min_reader, 1);
ALTER TABLE portfolios DROP COLUMN archived;
