mod golden_roles;
mod oracle;
mod policy_properties;
mod worlds;
