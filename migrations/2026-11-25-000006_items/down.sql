-- Items are not known any more: there is no other place for them.
UPDATE cluster SET min_reader = least(min_reader, 3);
DROP TABLE item_grants;
DROP TABLE item_portfolios;
DROP TABLE items;
