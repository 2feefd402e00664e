-- What the decision API and authenticated callers need: administrators and switches of
-- organizations, permissions that services register, and an audit trail that is found by portfolio,
-- subject and actor.

ALTER TABLE permissions ADD COLUMN registered boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN permissions.registered IS 'Whether a service registered it; the role manager of every organization holds it as any (ROL-1).';

ALTER TABLE organizations
    ADD COLUMN outsider_site_role text NOT NULL DEFAULT 'guest' CHECK (outsider_site_role IN ('editor', 'viewer', 'guest')),
    ADD COLUMN partner_organizations text[] NOT NULL DEFAULT '{}',
    ADD COLUMN externals_join text NOT NULL DEFAULT 'after_acceptance' CHECK (externals_join IN ('after_acceptance', 'partners_at_once')),
    ADD COLUMN version bigint NOT NULL DEFAULT 1;
COMMENT ON COLUMN organizations.outsider_site_role IS 'The site role of outsiders who join by invitation (DIR-8).';
COMMENT ON COLUMN organizations.partner_organizations IS 'Ids of partners (MEM-3), sorted; whether they exist is not looked at.';
COMMENT ON COLUMN organizations.externals_join IS 'How externals who are added become members (MEM-2).';
COMMENT ON COLUMN organizations.version IS 'Grows with every change of it; what an etag names.';

CREATE TABLE organization_administrators (
    organization text NOT NULL REFERENCES organizations (id),
    user_id text NOT NULL REFERENCES users (id),
    PRIMARY KEY (organization, user_id)
);
CREATE INDEX organization_administrators_by_user ON organization_administrators (user_id, organization);
COMMENT ON TABLE organization_administrators IS 'Who administers which organization (DIR-7); users at home there.';
COMMENT ON COLUMN organization_administrators.organization IS 'What.';
COMMENT ON COLUMN organization_administrators.user_id IS 'Who.';

ALTER TABLE change_log
    ADD COLUMN portfolio text,
    ADD COLUMN subject text,
    ADD COLUMN as_administrator boolean NOT NULL DEFAULT false,
    ADD COLUMN home_organization text;
COMMENT ON COLUMN change_log.portfolio IS 'The portfolio concerned; null for none.';
COMMENT ON COLUMN change_log.subject IS 'Whose access or directory entry was changed, as user:ann; null for none.';
COMMENT ON COLUMN change_log.as_administrator IS 'Whether the actor could do it only as an administrator of the organization (DIR-7).';
COMMENT ON COLUMN change_log.home_organization IS 'Of a global change of a user: where they were at home, whose trail it is part of; null for others.';

-- The trail is append-only; this fills in what earlier rows say in other columns.
UPDATE change_log SET portfolio = object
WHERE what LIKE 'portfolio.%' OR what LIKE 'access_settings.%' OR what LIKE 'member.%';
UPDATE change_log SET subject = coalesce(after -> 0 ->> 'subject', before -> 0 ->> 'subject')
WHERE what LIKE 'member.%';
UPDATE change_log SET subject = 'user:' || object
WHERE what LIKE 'user.%' OR what LIKE 'site_role.%';
UPDATE change_log SET subject = 'group:' || object WHERE what LIKE 'group.%';
UPDATE change_log SET subject = keys -> 0 ->> 'subject' WHERE what LIKE 'group\_member.%';
UPDATE change_log SET home_organization = users.home_organization FROM users
WHERE change_log.organization IS NULL AND change_log.subject = 'user:' || users.id;

CREATE INDEX change_log_by_portfolio ON change_log (portfolio, at, shard, sequence) WHERE portfolio IS NOT NULL;
CREATE INDEX change_log_by_organization ON change_log (coalesce(organization, home_organization), at, shard, sequence);
CREATE INDEX change_log_by_subject ON change_log (subject, at, shard, sequence) WHERE subject IS NOT NULL;
CREATE INDEX change_log_by_actor ON change_log (coalesce(organization, home_organization), actor, at, shard, sequence);

-- The order in which members are listed (MEM-4): users, groups, service accounts, each by id in byte order.
CREATE INDEX grants_by_member ON grants (
    portfolio,
    (CASE subject_kind WHEN 'user' THEN 0 WHEN 'group' THEN 1 ELSE 2 END),
    (subject_id COLLATE "C")
);

-- Lists are by id in byte order, whatever the order of the database.
DROP INDEX users_by_home;
CREATE INDEX users_by_home ON users (home_organization, id COLLATE "C");
DROP INDEX service_accounts_by_organization;
CREATE INDEX service_accounts_by_organization ON service_accounts (organization, id COLLATE "C");
