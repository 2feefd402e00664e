-- Times are timestamptz, kept to the millisecond. Subjects are (kind, id) pairs, since three kinds of them exist.

CREATE TABLE cluster (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    epoch uuid NOT NULL,
    min_reader integer NOT NULL
);
COMMENT ON TABLE cluster IS 'One row: the history this database belongs to. Its row lock is the global scope lock.';
COMMENT ON COLUMN cluster.singleton IS 'Always true: there is one row.';
COMMENT ON COLUMN cluster.epoch IS 'Names this history; a restore starts another.';
COMMENT ON COLUMN cluster.min_reader IS 'The oldest reader version that understands the change log; older replicas stop being ready.';
INSERT INTO cluster (epoch, min_reader) VALUES (gen_random_uuid(), 1);

CREATE TABLE feed_heads (
    shard smallint PRIMARY KEY CHECK (shard BETWEEN 0 AND 16),
    sequence bigint NOT NULL CHECK (sequence >= 0),
    commit_id uuid NOT NULL
);
COMMENT ON TABLE feed_heads IS 'How far each shard of the change log has come. The bump is the last thing a write does and its row lock lasts until the commit: sequence order is commit order, without gaps.';
COMMENT ON COLUMN feed_heads.shard IS '0 to 15: organizations; 16: what belongs to no organization.';
COMMENT ON COLUMN feed_heads.sequence IS 'The sequence of the latest change; 0 before the first.';
COMMENT ON COLUMN feed_heads.commit_id IS 'Names the write that made the latest change.';
INSERT INTO feed_heads (shard, sequence, commit_id)
SELECT shard, 0, '00000000-0000-0000-0000-000000000000' FROM generate_series(0, 16) AS shard;

CREATE TABLE permissions (
    name text PRIMARY KEY,
    ordinal smallint NOT NULL UNIQUE CHECK (ordinal >= 0),
    effect text NOT NULL CHECK (effect IN ('read', 'change', 'revoke')),
    may_be_own boolean NOT NULL,
    internal_only boolean NOT NULL
);
COMMENT ON TABLE permissions IS 'The permission catalogue (ROL-1). Entries are never removed.';
COMMENT ON COLUMN permissions.name IS 'noun.verb.';
COMMENT ON COLUMN permissions.ordinal IS 'Dense, in order of registration, never changed.';
COMMENT ON COLUMN permissions.effect IS 'What exercising it does: read, change or revoke (VIS-8).';
COMMENT ON COLUMN permissions.may_be_own IS 'Whether a role may hold it for the subject''s own things only.';
COMMENT ON COLUMN permissions.internal_only IS 'Whether externals are denied it whatever their role (ROL-8).';
INSERT INTO permissions (ordinal, name, effect, may_be_own, internal_only) VALUES
    (0, 'portfolio.view', 'read', false, false),
    (1, 'portfolio.update', 'change', false, false),
    (2, 'portfolio.manage_settings', 'change', false, false),
    (3, 'portfolio.delete', 'revoke', false, false),
    (4, 'members.view', 'read', false, false),
    (5, 'members.invite', 'change', false, false),
    (6, 'members.update', 'change', false, false),
    (7, 'members.remove', 'revoke', false, false),
    (8, 'access.manage', 'change', false, false),
    (9, 'requests.decide', 'change', false, false),
    (10, 'invitations.view', 'read', false, false),
    (11, 'initiative.create', 'change', false, false),
    (12, 'initiative.edit', 'change', true, false),
    (13, 'initiative.archive', 'change', true, false),
    (14, 'initiative.delete', 'revoke', true, false),
    (15, 'initiative.view', 'read', true, false),
    (16, 'initiative.transfer', 'change', true, false),
    (17, 'comment.create', 'change', false, false),
    (18, 'comment.edit', 'change', true, false),
    (19, 'comment.delete', 'revoke', true, false),
    (20, 'comment.view', 'read', true, false),
    (21, 'attachment.add', 'change', true, false),
    (22, 'attachment.delete', 'revoke', true, false),
    (23, 'attachment.view', 'read', true, false),
    (24, 'epic.link', 'change', false, true),
    (25, 'epic.view', 'read', false, false),
    (26, 'view.create', 'change', false, false),
    (27, 'view.update', 'change', true, false),
    (28, 'view.delete', 'revoke', true, false),
    (29, 'assessment.complete', 'change', true, false),
    (30, 'assessment.view', 'read', true, false),
    (31, 'progress.view', 'read', true, false);

CREATE TABLE organizations (
    id text PRIMARY KEY,
    shard smallint NOT NULL CHECK (shard BETWEEN 0 AND 15),
    display_name text NOT NULL,
    domains text[] NOT NULL,
    preset text NOT NULL,
    default_visibility text NOT NULL CHECK (default_visibility IN ('private', 'restricted', 'open')),
    create_time timestamptz NOT NULL
);
COMMENT ON TABLE organizations IS 'Organizations (DIR-6). The row lock of an organization is its scope lock.';
COMMENT ON COLUMN organizations.id IS 'Chosen by the client or generated.';
COMMENT ON COLUMN organizations.shard IS 'Where its changes are logged; fixed when it is created.';
COMMENT ON COLUMN organizations.display_name IS 'What people call it.';
COMMENT ON COLUMN organizations.domains IS 'Verified e-mail domains, ASCII lower case.';
COMMENT ON COLUMN organizations.preset IS 'What it was created from (ROL-4).';
COMMENT ON COLUMN organizations.default_visibility IS 'The visibility of portfolios created without one (VIS-5).';
COMMENT ON COLUMN organizations.create_time IS 'When it was created.';

CREATE TABLE roles (
    organization text NOT NULL REFERENCES organizations (id),
    key text NOT NULL,
    display_name text NOT NULL,
    PRIMARY KEY (organization, key)
);
COMMENT ON TABLE roles IS 'The roles of each organization (ROL-2).';
COMMENT ON COLUMN roles.organization IS 'Whose role it is.';
COMMENT ON COLUMN roles.key IS 'Unique in the organization, never changed.';
COMMENT ON COLUMN roles.display_name IS 'What people call it.';

CREATE TABLE role_permissions (
    organization text NOT NULL,
    role text NOT NULL,
    permission text NOT NULL REFERENCES permissions (name),
    reach text NOT NULL CHECK (reach IN ('any', 'own')),
    PRIMARY KEY (organization, role, permission),
    FOREIGN KEY (organization, role) REFERENCES roles (organization, key)
);
COMMENT ON TABLE role_permissions IS 'What each role permits (ROL-2).';
COMMENT ON COLUMN role_permissions.organization IS 'Whose role it is.';
COMMENT ON COLUMN role_permissions.role IS 'The key of the role.';
COMMENT ON COLUMN role_permissions.permission IS 'What it permits.';
COMMENT ON COLUMN role_permissions.reach IS 'any: everything; own: only what the subject authored (ACC-4).';

CREATE TABLE users (
    id text PRIMARY KEY,
    email text NOT NULL UNIQUE,
    display_name text NOT NULL,
    picture_uri text NOT NULL,
    home_organization text REFERENCES organizations (id),
    deactivated boolean NOT NULL DEFAULT false,
    create_time timestamptz NOT NULL
);
CREATE INDEX users_by_home ON users (home_organization, id);
COMMENT ON TABLE users IS 'People (DIR-1). Ids and e-mails change only under the global scope lock.';
COMMENT ON COLUMN users.id IS 'The client''s own, opaque.';
COMMENT ON COLUMN users.email IS 'Unique, in the form in which addresses are compared (DIR-2).';
COMMENT ON COLUMN users.display_name IS 'What people call them; may be empty.';
COMMENT ON COLUMN users.picture_uri IS 'Where their picture is; may be empty.';
COMMENT ON COLUMN users.home_organization IS 'Where they are at home; at most one.';
COMMENT ON COLUMN users.deactivated IS 'Deactivated: denied everything.';
COMMENT ON COLUMN users.create_time IS 'When the user was first written.';

CREATE TABLE site_roles (
    organization text NOT NULL REFERENCES organizations (id),
    user_id text NOT NULL REFERENCES users (id),
    role text NOT NULL CHECK (role IN ('editor', 'viewer', 'guest')),
    PRIMARY KEY (organization, user_id)
);
CREATE INDEX site_roles_by_user ON site_roles (user_id, organization);
COMMENT ON TABLE site_roles IS 'Site roles that were set (DIR-8); users at home without a row are editors.';
COMMENT ON COLUMN site_roles.organization IS 'Where.';
COMMENT ON COLUMN site_roles.user_id IS 'Who.';
COMMENT ON COLUMN site_roles.role IS 'editor, viewer or guest.';

CREATE TABLE service_accounts (
    id text PRIMARY KEY,
    organization text NOT NULL REFERENCES organizations (id),
    display_name text NOT NULL,
    deactivated boolean NOT NULL DEFAULT false
);
CREATE INDEX service_accounts_by_organization ON service_accounts (organization, id);
COMMENT ON TABLE service_accounts IS 'Programs of an organization.';
COMMENT ON COLUMN service_accounts.id IS 'Unique in the installation.';
COMMENT ON COLUMN service_accounts.organization IS 'Whose program it is.';
COMMENT ON COLUMN service_accounts.display_name IS 'What people call it.';
COMMENT ON COLUMN service_accounts.deactivated IS 'Deactivated: denied everything.';

CREATE TABLE groups (
    id text PRIMARY KEY,
    organization text NOT NULL REFERENCES organizations (id),
    display_name text NOT NULL,
    create_time timestamptz NOT NULL
);
CREATE INDEX groups_by_organization ON groups (organization, id);
COMMENT ON TABLE groups IS 'Groups of an organization (DIR-4).';
COMMENT ON COLUMN groups.id IS 'Unique in the installation.';
COMMENT ON COLUMN groups.organization IS 'Whose group it is.';
COMMENT ON COLUMN groups.display_name IS 'What people call it.';
COMMENT ON COLUMN groups.create_time IS 'When it was created.';

CREATE TABLE group_members (
    group_id text NOT NULL REFERENCES groups (id),
    member_kind text NOT NULL CHECK (member_kind IN ('user', 'group', 'service_account')),
    member_id text NOT NULL,
    PRIMARY KEY (group_id, member_kind, member_id)
);
CREATE INDEX group_members_by_member ON group_members (member_kind, member_id, group_id);
COMMENT ON TABLE group_members IS 'Who is directly in which group (DIR-4).';
COMMENT ON COLUMN group_members.group_id IS 'The group.';
COMMENT ON COLUMN group_members.member_kind IS 'user, group or service_account.';
COMMENT ON COLUMN group_members.member_id IS 'The member''s id.';

CREATE TABLE portfolios (
    id text PRIMARY KEY,
    organization text NOT NULL REFERENCES organizations (id),
    display_name text NOT NULL,
    portfolio_type text NOT NULL,
    author_kind text CHECK (author_kind IN ('user', 'service_account')),
    author_id text,
    deleted boolean NOT NULL DEFAULT false,
    visibility text NOT NULL CHECK (visibility IN ('private', 'restricted', 'open')),
    organization_access_role text NOT NULL,
    create_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL,
    version bigint NOT NULL,
    FOREIGN KEY (organization, organization_access_role) REFERENCES roles (organization, key),
    CHECK ((author_kind IS NULL) = (author_id IS NULL))
);
CREATE INDEX portfolios_by_organization ON portfolios (organization, id);
COMMENT ON TABLE portfolios IS 'Portfolios and their own access settings (VIS-1). Rows stay after deletion, so that ids are never reused.';
COMMENT ON COLUMN portfolios.id IS 'Unique in the installation, never reused.';
COMMENT ON COLUMN portfolios.organization IS 'Whose portfolio it is; never changes.';
COMMENT ON COLUMN portfolios.display_name IS 'What people call it.';
COMMENT ON COLUMN portfolios.portfolio_type IS 'A word of the client''s; may be empty.';
COMMENT ON COLUMN portfolios.author_kind IS 'The kind of who created it; null for the system.';
COMMENT ON COLUMN portfolios.author_id IS 'Who created it; null for the system.';
COMMENT ON COLUMN portfolios.deleted IS 'Gone for good (VIS-9).';
COMMENT ON COLUMN portfolios.visibility IS 'What internal users without a grant may do (VIS-2).';
COMMENT ON COLUMN portfolios.organization_access_role IS 'The role that openness gives (VIS-3).';
COMMENT ON COLUMN portfolios.create_time IS 'When it was created.';
COMMENT ON COLUMN portfolios.update_time IS 'When it or its settings were last changed.';
COMMENT ON COLUMN portfolios.version IS 'Grows with every change of it or its settings; what an etag names.';

CREATE TABLE grants (
    id uuid PRIMARY KEY,
    portfolio text NOT NULL REFERENCES portfolios (id),
    organization text NOT NULL,
    subject_kind text NOT NULL CHECK (subject_kind IN ('user', 'group', 'service_account')),
    subject_id text NOT NULL,
    role text NOT NULL,
    source text NOT NULL CHECK (source IN ('creation', 'hand')),
    ownership boolean NOT NULL,
    start_time timestamptz,
    expire_time timestamptz,
    create_time timestamptz NOT NULL,
    revoke_time timestamptz,
    FOREIGN KEY (organization, role) REFERENCES roles (organization, key),
    CHECK (NOT ownership OR (subject_kind = 'user' AND role = 'manager' AND start_time IS NULL AND expire_time IS NULL))
);
CREATE INDEX grants_by_portfolio ON grants (portfolio, subject_kind, subject_id);
CREATE INDEX grants_by_subject ON grants (subject_kind, subject_id) WHERE revoke_time IS NULL;
CREATE INDEX grants_by_role ON grants (organization, role) WHERE revoke_time IS NULL;
CREATE UNIQUE INDEX grants_one_owner ON grants (portfolio) WHERE ownership AND revoke_time IS NULL;
COMMENT ON TABLE grants IS 'Access given to subjects on portfolios (MEM-1). Ended grants stay (MEM-9).';
COMMENT ON COLUMN grants.id IS 'Generated.';
COMMENT ON COLUMN grants.portfolio IS 'On what.';
COMMENT ON COLUMN grants.organization IS 'The portfolio''s organization.';
COMMENT ON COLUMN grants.subject_kind IS 'user, group or service_account.';
COMMENT ON COLUMN grants.subject_id IS 'To whom.';
COMMENT ON COLUMN grants.role IS 'As what.';
COMMENT ON COLUMN grants.source IS 'How it came to be.';
COMMENT ON COLUMN grants.ownership IS 'Whether it is the portfolio''s ownership: an unexpiring direct manager grant (VIS-1).';
COMMENT ON COLUMN grants.start_time IS 'In force from this instant on; null: at once.';
COMMENT ON COLUMN grants.expire_time IS 'In force until just before this instant; null: for good.';
COMMENT ON COLUMN grants.create_time IS 'When it was given.';
COMMENT ON COLUMN grants.revoke_time IS 'When somebody ended it; null while nobody has.';

CREATE TABLE change_log (
    shard smallint NOT NULL REFERENCES feed_heads (shard),
    sequence bigint NOT NULL CHECK (sequence > 0),
    commit_id uuid NOT NULL,
    organization text,
    what text NOT NULL,
    object text NOT NULL,
    keys jsonb NOT NULL,
    caller text NOT NULL,
    actor text NOT NULL,
    request_id text NOT NULL,
    at timestamptz NOT NULL,
    before jsonb,
    after jsonb,
    PRIMARY KEY (shard, sequence)
);
COMMENT ON TABLE change_log IS 'Every change of access, in the transaction that made it: the audit trail, and what replicas follow (EVT-1). Append-only.';
COMMENT ON COLUMN change_log.shard IS 'Whose order it is part of.';
COMMENT ON COLUMN change_log.sequence IS 'Its place in the shard; commit order, without gaps.';
COMMENT ON COLUMN change_log.commit_id IS 'Names the write; all changes of one write share it.';
COMMENT ON COLUMN change_log.organization IS 'Whose change it is; null for a global one.';
COMMENT ON COLUMN change_log.what IS 'The kind of change: noun.participle.';
COMMENT ON COLUMN change_log.object IS 'On what: the id of the portfolio, group, user or organization.';
COMMENT ON COLUMN change_log.keys IS 'The keys of the facts that changed: what replicas read again.';
COMMENT ON COLUMN change_log.caller IS 'The program or person on the connection.';
COMMENT ON COLUMN change_log.actor IS 'On whose behalf; system for nobody''s.';
COMMENT ON COLUMN change_log.request_id IS 'The request that did it.';
COMMENT ON COLUMN change_log.at IS 'When, by the database''s clock.';
COMMENT ON COLUMN change_log.before IS 'What was; null for what is new.';
COMMENT ON COLUMN change_log.after IS 'What is; null for what is gone.';

CREATE TABLE request_outcomes (
    caller text NOT NULL,
    request_id text NOT NULL,
    fingerprint bytea NOT NULL,
    outcome jsonb NOT NULL,
    token text NOT NULL,
    create_time timestamptz NOT NULL,
    PRIMARY KEY (caller, request_id)
);
CREATE INDEX request_outcomes_by_age ON request_outcomes (create_time);
COMMENT ON TABLE request_outcomes IS 'What writes answered, for 24 hours, so that a retry gets the first answer again (BAD-3).';
COMMENT ON COLUMN request_outcomes.caller IS 'Whose request; request ids are per caller.';
COMMENT ON COLUMN request_outcomes.request_id IS 'The client''s, or the server''s own where the client gave none.';
COMMENT ON COLUMN request_outcomes.fingerprint IS 'SHA-256 of the method, the actor and the request; the same id with another is refused.';
COMMENT ON COLUMN request_outcomes.outcome IS 'What was answered.';
COMMENT ON COLUMN request_outcomes.token IS 'The consistency token that was answered.';
COMMENT ON COLUMN request_outcomes.create_time IS 'When.';
