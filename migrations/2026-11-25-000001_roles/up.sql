-- Roles of an organization's own (ROL-5, ROL-6).

ALTER TABLE roles
    ADD COLUMN description text NOT NULL DEFAULT '',
    ADD COLUMN version bigint NOT NULL DEFAULT 1,
    ADD COLUMN delete_time timestamptz;
COMMENT ON TABLE roles IS 'The roles of each organization (ROL-2). Rows stay after deletion, for ended grants name them.';
COMMENT ON COLUMN roles.description IS 'What it is for, in words; may be empty.';
COMMENT ON COLUMN roles.version IS 'Grows with every change of it, deletion too; what an etag names.';
COMMENT ON COLUMN roles.delete_time IS 'When it was deleted; null while it is there. A deleted role permits nothing.';

-- Which portfolios give a role by openness: asked before it is deleted, or given more.
CREATE INDEX portfolios_by_access_role ON portfolios (organization, organization_access_role) WHERE NOT deleted;
