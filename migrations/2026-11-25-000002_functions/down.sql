DROP TABLE function_ceilings;
DROP TABLE affiliations;
