-- Deleted roles come back, and permit nothing.
DROP INDEX portfolios_by_access_role;
COMMENT ON TABLE roles IS 'The roles of each organization (ROL-2).';
ALTER TABLE roles
    DROP COLUMN description,
    DROP COLUMN version,
    DROP COLUMN delete_time;
