-- Functions: who is what in an organization (DIR-3), and which role a function gives at most on which
-- portfolios (MEM-10). Neither is access, and no decision looks at them.

CREATE TABLE affiliations (
    organization text NOT NULL REFERENCES organizations (id),
    user_id text NOT NULL REFERENCES users (id),
    function text NOT NULL,
    PRIMARY KEY (organization, user_id, function)
);
CREATE INDEX affiliations_by_user ON affiliations (user_id, organization, function);
COMMENT ON TABLE affiliations IS 'What users are in organizations (DIR-3). Grants nothing by itself.';
COMMENT ON COLUMN affiliations.organization IS 'Where.';
COMMENT ON COLUMN affiliations.user_id IS 'Who; at home there or not.';
COMMENT ON COLUMN affiliations.function IS 'As what: a word of the client''s.';

CREATE TABLE function_ceilings (
    organization text NOT NULL REFERENCES organizations (id),
    function text NOT NULL,
    portfolio_type text NOT NULL,
    role text NOT NULL,
    PRIMARY KEY (organization, function, portfolio_type),
    FOREIGN KEY (organization, role) REFERENCES roles (organization, key)
);
CREATE INDEX function_ceilings_by_role ON function_ceilings (organization, role);
COMMENT ON TABLE function_ceilings IS 'The role that a function may get on portfolios of a type (MEM-10). No row: no access.';
COMMENT ON COLUMN function_ceilings.organization IS 'Whose portfolios.';
COMMENT ON COLUMN function_ceilings.function IS 'Of those who are this, wherever they are it.';
COMMENT ON COLUMN function_ceilings.portfolio_type IS 'On portfolios of just this type; empty: on those without one.';
COMMENT ON COLUMN function_ceilings.role IS 'The key of the role.';
