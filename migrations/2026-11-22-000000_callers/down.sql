DROP INDEX grants_by_member;
DROP INDEX users_by_home;
CREATE INDEX users_by_home ON users (home_organization, id);
DROP INDEX service_accounts_by_organization;
CREATE INDEX service_accounts_by_organization ON service_accounts (organization, id);
DROP INDEX change_log_by_portfolio, change_log_by_organization, change_log_by_subject, change_log_by_actor;
ALTER TABLE change_log DROP COLUMN portfolio, DROP COLUMN subject, DROP COLUMN as_administrator, DROP COLUMN home_organization;
DROP TABLE organization_administrators;
ALTER TABLE organizations
    DROP COLUMN outsider_site_role,
    DROP COLUMN partner_organizations,
    DROP COLUMN externals_join,
    DROP COLUMN version;
DELETE FROM role_permissions WHERE permission IN (SELECT name FROM permissions WHERE registered);
DELETE FROM permissions WHERE registered;
ALTER TABLE permissions DROP COLUMN registered;
