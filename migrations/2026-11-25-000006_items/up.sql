-- Items: what other services own and portfolios show (ACC-5).

CREATE TABLE items (
    organization text NOT NULL REFERENCES organizations (id),
    item_type text NOT NULL,
    id text NOT NULL,
    display_name text NOT NULL,
    author_kind text CHECK (author_kind IN ('user', 'service_account')),
    author_id text,
    owner text REFERENCES users (id),
    independent boolean NOT NULL,
    visibility text CHECK (visibility IN ('private', 'restricted', 'open')),
    organization_access_role text,
    archived boolean NOT NULL DEFAULT false,
    deleted boolean NOT NULL DEFAULT false,
    create_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (organization, item_type, id),
    FOREIGN KEY (organization, organization_access_role) REFERENCES roles (organization, key),
    CHECK ((author_kind IS NULL) = (author_id IS NULL)),
    CHECK (independent = (visibility IS NOT NULL)),
    CHECK (independent = (organization_access_role IS NOT NULL))
);
CREATE INDEX items_by_owner ON items (owner) WHERE owner IS NOT NULL;
CREATE INDEX items_by_author ON items (author_kind, author_id) WHERE author_id IS NOT NULL;
CREATE INDEX items_by_access_role ON items (organization, organization_access_role)
    WHERE organization_access_role IS NOT NULL;
COMMENT ON TABLE items IS 'What other services own and portfolios show: boards, goals, assessments (ACC-5). Rows stay after deletion, so that ids are never reused.';
COMMENT ON COLUMN items.organization IS 'Whose item it is; never changes.';
COMMENT ON COLUMN items.item_type IS 'A word of the client''s, such as board; never changes.';
COMMENT ON COLUMN items.id IS 'The client''s own; unique in the organization among items of the type, never reused.';
COMMENT ON COLUMN items.display_name IS 'What people call it; may be empty.';
COMMENT ON COLUMN items.author_kind IS 'The kind of who made it; null if nobody is known.';
COMMENT ON COLUMN items.author_id IS 'Who made it (ACC-4); null if nobody is known, or the account was deleted.';
COMMENT ON COLUMN items.owner IS 'Who owns it; null after the owner''s account was deleted, and if there never was one.';
COMMENT ON COLUMN items.independent IS 'Whether it has access settings of its own; if not, it follows its one portfolio (ACC-5).';
COMMENT ON COLUMN items.visibility IS 'As of portfolios (VIS-2), of an independent item; else null.';
COMMENT ON COLUMN items.organization_access_role IS 'The role that openness gives on an independent item; else null.';
COMMENT ON COLUMN items.archived IS 'Kept, but nothing is added or changed in it (VIS-8).';
COMMENT ON COLUMN items.deleted IS 'Gone for good.';
COMMENT ON COLUMN items.create_time IS 'When it was registered.';
COMMENT ON COLUMN items.update_time IS 'When it, its portfolios or its settings were last changed.';
COMMENT ON COLUMN items.version IS 'Grows with every change of it, its portfolios or its settings; what an etag names.';

CREATE TABLE item_portfolios (
    organization text NOT NULL,
    item_type text NOT NULL,
    item_id text NOT NULL,
    portfolio text NOT NULL REFERENCES portfolios (id),
    PRIMARY KEY (organization, item_type, item_id, portfolio),
    FOREIGN KEY (organization, item_type, item_id) REFERENCES items (organization, item_type, id)
);
CREATE INDEX item_portfolios_by_portfolio ON item_portfolios
    (portfolio, item_type COLLATE "C", item_id COLLATE "C");
COMMENT ON TABLE item_portfolios IS 'Which portfolios show an item: of an inheriting one just one (ACC-5).';
COMMENT ON COLUMN item_portfolios.organization IS 'Whose item it is.';
COMMENT ON COLUMN item_portfolios.item_type IS 'The type of the item.';
COMMENT ON COLUMN item_portfolios.item_id IS 'The id of the item.';
COMMENT ON COLUMN item_portfolios.portfolio IS 'The portfolio that shows it, of the same organization.';

CREATE TABLE item_grants (
    id uuid PRIMARY KEY,
    organization text NOT NULL,
    item_type text NOT NULL,
    item_id text NOT NULL,
    subject_kind text NOT NULL CHECK (subject_kind IN ('user', 'group', 'service_account')),
    subject_id text NOT NULL,
    role text NOT NULL,
    ownership boolean NOT NULL,
    start_time timestamptz,
    expire_time timestamptz,
    create_time timestamptz NOT NULL,
    revoke_time timestamptz,
    FOREIGN KEY (organization, item_type, item_id) REFERENCES items (organization, item_type, id),
    FOREIGN KEY (organization, role) REFERENCES roles (organization, key),
    CHECK (NOT ownership OR (subject_kind = 'user' AND role = 'manager' AND start_time IS NULL AND expire_time IS NULL))
);
CREATE INDEX item_grants_by_item ON item_grants (organization, item_type, item_id, subject_kind, subject_id)
    WHERE revoke_time IS NULL;
-- Of an expression, so that decisions, which know the item, do not go through all that a subject has.
CREATE INDEX item_grants_by_subject ON item_grants ((subject_kind || ':' || subject_id)) WHERE revoke_time IS NULL;
CREATE INDEX item_grants_by_role ON item_grants (organization, role) WHERE revoke_time IS NULL;
CREATE UNIQUE INDEX item_grants_one_owner ON item_grants (organization, item_type, item_id)
    WHERE ownership AND revoke_time IS NULL;
COMMENT ON TABLE item_grants IS 'Access given to subjects on independent items (ACC-5). Ended grants stay.';
COMMENT ON COLUMN item_grants.id IS 'Generated.';
COMMENT ON COLUMN item_grants.organization IS 'Whose item it is.';
COMMENT ON COLUMN item_grants.item_type IS 'The type of the item.';
COMMENT ON COLUMN item_grants.item_id IS 'The id of the item.';
COMMENT ON COLUMN item_grants.subject_kind IS 'user, group or service_account.';
COMMENT ON COLUMN item_grants.subject_id IS 'To whom.';
COMMENT ON COLUMN item_grants.role IS 'As what.';
COMMENT ON COLUMN item_grants.ownership IS 'Whether it is the grant that the item''s owner holds.';
COMMENT ON COLUMN item_grants.start_time IS 'In force from this instant on; null: at once.';
COMMENT ON COLUMN item_grants.expire_time IS 'In force until just before this instant; null: for good.';
COMMENT ON COLUMN item_grants.create_time IS 'When it was given.';
COMMENT ON COLUMN item_grants.revoke_time IS 'When somebody ended it; null while nobody has.';

-- A program that does not know the tables would decide about registered items as about any others.
UPDATE cluster SET min_reader = greatest(min_reader, 4);
