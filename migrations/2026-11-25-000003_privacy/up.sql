-- Openness that waits for approval (VIS-7): the organization's switch, and the requests.

ALTER TABLE organizations ADD COLUMN privacy_approval boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN organizations.privacy_approval IS 'Whether changes of visibility wait for an administrator''s approval (VIS-7).';

CREATE TABLE privacy_requests (
    id text PRIMARY KEY,
    organization text NOT NULL REFERENCES organizations (id),
    portfolio text NOT NULL REFERENCES portfolios (id),
    requester_kind text CHECK (requester_kind IN ('user', 'service_account')),
    requester_id text,
    from_visibility text NOT NULL CHECK (from_visibility IN ('private', 'restricted', 'open')),
    to_visibility text NOT NULL CHECK (to_visibility IN ('private', 'restricted', 'open')),
    state text NOT NULL CHECK (state IN ('pending', 'approved', 'rejected', 'cancelled', 'closed')),
    create_time timestamptz NOT NULL,
    decider_kind text CHECK (decider_kind IN ('user', 'service_account')),
    decider_id text,
    decide_time timestamptz,
    reason text NOT NULL DEFAULT '',
    CHECK ((requester_kind IS NULL) = (requester_id IS NULL)),
    CHECK ((decider_kind IS NULL) = (decider_id IS NULL)),
    CHECK ((state = 'pending') = (decide_time IS NULL))
);
CREATE UNIQUE INDEX privacy_requests_pending ON privacy_requests (portfolio) WHERE state = 'pending';
CREATE INDEX privacy_requests_by_organization ON privacy_requests (organization, create_time, id);
CREATE INDEX privacy_requests_by_portfolio ON privacy_requests (portfolio, create_time, id);
CREATE INDEX privacy_requests_by_requester ON privacy_requests (requester_kind, requester_id, create_time, id);
COMMENT ON TABLE privacy_requests IS 'Changes of visibility that were asked of the administrators (VIS-7). Written under the organization''s scope lock.';
COMMENT ON COLUMN privacy_requests.id IS 'Generated, a UUIDv7.';
COMMENT ON COLUMN privacy_requests.organization IS 'Whose portfolio it is.';
COMMENT ON COLUMN privacy_requests.portfolio IS 'Whose visibility; at most one pending each.';
COMMENT ON COLUMN privacy_requests.requester_kind IS 'user or service_account; null once the account was deleted, so that a later user of the same id inherits nothing (DIR-9).';
COMMENT ON COLUMN privacy_requests.requester_id IS 'Who asked.';
COMMENT ON COLUMN privacy_requests.from_visibility IS 'The visibility when it was asked for.';
COMMENT ON COLUMN privacy_requests.to_visibility IS 'The visibility that was asked for.';
COMMENT ON COLUMN privacy_requests.state IS 'pending, or an end state, which nothing leaves.';
COMMENT ON COLUMN privacy_requests.create_time IS 'When it was asked for.';
COMMENT ON COLUMN privacy_requests.decider_kind IS 'user or service_account; null while pending, and for the system.';
COMMENT ON COLUMN privacy_requests.decider_id IS 'Who brought it to its end.';
COMMENT ON COLUMN privacy_requests.decide_time IS 'When; null while pending.';
COMMENT ON COLUMN privacy_requests.reason IS 'What a rejection said; may be empty.';
