DROP TABLE privacy_requests;
ALTER TABLE organizations DROP COLUMN privacy_approval;
