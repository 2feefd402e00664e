//! The tables, as Diesel sees them; kept in step with `migrations/` by a test.

#![allow(clippy::doc_markdown, reason = "the comments of the database, word for word")]

diesel::table! {
    /// One row: the history this database belongs to. Its row lock is the global scope lock.
    cluster (singleton) {
        /// Always true: there is one row.
        singleton -> Bool,
        /// Names this history; a restore starts another.
        epoch -> Uuid,
        /// The oldest reader version that understands the change log; older replicas stop being ready.
        min_reader -> Int4,
    }
}

diesel::table! {
    /// How far each shard of the change log has come. The bump is the last thing a write does and its row lock lasts until the commit: sequence order is commit order, without gaps.
    feed_heads (shard) {
        /// 0 to 15: organizations; 16: what belongs to no organization.
        shard -> Int2,
        /// The sequence of the latest change; 0 before the first.
        sequence -> Int8,
        /// Names the write that made the latest change.
        commit_id -> Uuid,
    }
}

diesel::table! {
    /// The permission catalogue (ROL-1). Entries are never removed.
    permissions (name) {
        /// noun.verb.
        name -> Text,
        /// Dense, in order of registration, never changed.
        ordinal -> Int2,
        /// What exercising it does: read, change or revoke (VIS-8).
        effect -> Text,
        /// Whether a role may hold it for the subject's own things only.
        may_be_own -> Bool,
        /// Whether externals are denied it whatever their role (ROL-8).
        internal_only -> Bool,
        /// Whether a service registered it; the role manager of every organization holds it as any (ROL-1).
        registered -> Bool,
    }
}

diesel::table! {
    /// Organizations (DIR-6). The row lock of an organization is its scope lock.
    organizations (id) {
        /// Chosen by the client or generated.
        id -> Text,
        /// Where its changes are logged; fixed when it is created.
        shard -> Int2,
        /// What people call it.
        display_name -> Text,
        /// Verified e-mail domains, ASCII lower case.
        domains -> Array<Text>,
        /// What it was created from (ROL-4).
        preset -> Text,
        /// The visibility of portfolios created without one (VIS-5).
        default_visibility -> Text,
        /// When it was created.
        create_time -> Timestamptz,
        /// The site role of outsiders who join by invitation (DIR-8).
        outsider_site_role -> Text,
        /// Ids of partners (MEM-3), sorted; whether they exist is not looked at.
        partner_organizations -> Array<Text>,
        /// How externals who are added become members (MEM-2).
        externals_join -> Text,
        /// Grows with every change of it; what an etag names.
        version -> Int8,
        /// Whether changes of visibility wait for an administrator's approval (VIS-7).
        privacy_approval -> Bool,
    }
}

diesel::table! {
    /// The roles of each organization (ROL-2). Rows stay after deletion, for ended grants name them.
    roles (organization, key) {
        /// Whose role it is.
        organization -> Text,
        /// Unique in the organization, never changed.
        key -> Text,
        /// What people call it.
        display_name -> Text,
        /// What it is for, in words; may be empty.
        description -> Text,
        /// Grows with every change of it, deletion too; what an etag names.
        version -> Int8,
        /// When it was deleted; null while it is there. A deleted role permits nothing.
        delete_time -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    /// What each role permits (ROL-2).
    role_permissions (organization, role, permission) {
        /// Whose role it is.
        organization -> Text,
        /// The key of the role.
        role -> Text,
        /// What it permits.
        permission -> Text,
        /// any: everything; own: only what the subject authored (ACC-4).
        reach -> Text,
    }
}

diesel::table! {
    /// People (DIR-1). Ids and e-mails change only under the global scope lock.
    users (id) {
        /// The client's own, opaque.
        id -> Text,
        /// Unique, in the form in which addresses are compared (DIR-2).
        email -> Text,
        /// What people call them; may be empty.
        display_name -> Text,
        /// Where their picture is; may be empty.
        picture_uri -> Text,
        /// Where they are at home; at most one.
        home_organization -> Nullable<Text>,
        /// Deactivated: denied everything.
        deactivated -> Bool,
        /// When the user was first written.
        create_time -> Timestamptz,
    }
}

diesel::table! {
    /// Site roles that were set (DIR-8); users at home without a row are editors.
    site_roles (organization, user_id) {
        /// Where.
        organization -> Text,
        /// Who.
        user_id -> Text,
        /// editor, viewer or guest.
        role -> Text,
    }
}

diesel::table! {
    /// Programs of an organization.
    service_accounts (id) {
        /// Unique in the installation.
        id -> Text,
        /// Whose program it is.
        organization -> Text,
        /// What people call it.
        display_name -> Text,
        /// Deactivated: denied everything.
        deactivated -> Bool,
    }
}

diesel::table! {
    /// Groups of an organization (DIR-4).
    groups (id) {
        /// Unique in the installation.
        id -> Text,
        /// Whose group it is.
        organization -> Text,
        /// What people call it.
        display_name -> Text,
        /// When it was created.
        create_time -> Timestamptz,
    }
}

diesel::table! {
    /// Who is directly in which group (DIR-4).
    group_members (group_id, member_kind, member_id) {
        /// The group.
        group_id -> Text,
        /// user, group or service_account.
        member_kind -> Text,
        /// The member's id.
        member_id -> Text,
    }
}

diesel::table! {
    /// Portfolios and their own access settings (VIS-1). Rows stay after deletion, so that ids are never reused.
    portfolios (id) {
        /// Unique in the installation, never reused.
        id -> Text,
        /// Whose portfolio it is; never changes.
        organization -> Text,
        /// What people call it.
        display_name -> Text,
        /// A word of the client's; may be empty.
        portfolio_type -> Text,
        /// The kind of who created it; null for the system.
        author_kind -> Nullable<Text>,
        /// Who created it; null for the system.
        author_id -> Nullable<Text>,
        /// Gone for good (VIS-9).
        deleted -> Bool,
        /// What internal users without a grant may do (VIS-2).
        visibility -> Text,
        /// The role that openness gives (VIS-3).
        organization_access_role -> Text,
        /// When it was created.
        create_time -> Timestamptz,
        /// When it or its settings were last changed.
        update_time -> Timestamptz,
        /// Grows with every change of it or its settings; what an etag names.
        version -> Int8,
        /// Kept, but nothing is added or changed in it (VIS-8).
        archived -> Bool,
        /// The portfolio that it lies in, also after that was deleted; null: in none.
        parent -> Nullable<Text>,
        /// Whether its access settings are those of its parent (INH-1). Its own, and its grants but for the ownership, are suspended.
        linked -> Bool,
    }
}

diesel::table! {
    /// Access given to subjects on portfolios (MEM-1). Ended grants stay (MEM-9).
    grants (id) {
        /// Generated.
        id -> Uuid,
        /// On what.
        portfolio -> Text,
        /// The portfolio's organization.
        organization -> Text,
        /// user, group or service_account.
        subject_kind -> Text,
        /// To whom.
        subject_id -> Text,
        /// As what.
        role -> Text,
        /// How it came to be.
        source -> Text,
        /// Whether it is the portfolio's ownership: an unexpiring direct manager grant (VIS-1).
        ownership -> Bool,
        /// In force from this instant on; null: at once.
        start_time -> Nullable<Timestamptz>,
        /// In force until just before this instant; null: for good.
        expire_time -> Nullable<Timestamptz>,
        /// When it was given.
        create_time -> Timestamptz,
        /// When somebody ended it; null while nobody has.
        revoke_time -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    /// Every change of access, in the transaction that made it: the audit trail, and what replicas follow (EVT-1). Append-only.
    change_log (shard, sequence) {
        /// Whose order it is part of.
        shard -> Int2,
        /// Its place in the shard; commit order, without gaps.
        sequence -> Int8,
        /// Names the write; all changes of one write share it.
        commit_id -> Uuid,
        /// Whose change it is; null for a global one.
        organization -> Nullable<Text>,
        /// The kind of change: noun.participle.
        what -> Text,
        /// On what: the id of the portfolio, group, user or organization.
        object -> Text,
        /// The keys of the facts that changed: what replicas read again.
        keys -> Jsonb,
        /// The program or person on the connection.
        caller -> Text,
        /// On whose behalf; system for nobody's.
        actor -> Text,
        /// The request that did it.
        request_id -> Text,
        /// When, by the database's clock.
        at -> Timestamptz,
        /// What was; null for what is new.
        before -> Nullable<Jsonb>,
        /// What is; null for what is gone.
        after -> Nullable<Jsonb>,
        /// The portfolio concerned; null for none.
        portfolio -> Nullable<Text>,
        /// Whose access or directory entry was changed, as user:ann; null for none.
        subject -> Nullable<Text>,
        /// Whether the actor could do it only as an administrator of the organization (DIR-7).
        as_administrator -> Bool,
        /// Of a global change of a user: where they were at home, whose trail it is part of; null for others.
        home_organization -> Nullable<Text>,
    }
}

diesel::table! {
    /// What writes answered, for 24 hours, so that a retry gets the first answer again (BAD-3).
    request_outcomes (caller, request_id) {
        /// Whose request; request ids are per caller.
        caller -> Text,
        /// The client's, or the server's own where the client gave none.
        request_id -> Text,
        /// SHA-256 of the method, the actor and the request; the same id with another is refused.
        fingerprint -> Bytea,
        /// What was answered.
        outcome -> Jsonb,
        /// The consistency token that was answered.
        token -> Text,
        /// When.
        create_time -> Timestamptz,
    }
}

diesel::table! {
    /// Who administers which organization (DIR-7); users at home there.
    organization_administrators (organization, user_id) {
        /// What.
        organization -> Text,
        /// Who.
        user_id -> Text,
    }
}

diesel::table! {
    /// What users are in organizations (DIR-3). Grants nothing by itself.
    affiliations (organization, user_id, function) {
        /// Where.
        organization -> Text,
        /// Who; at home there or not.
        user_id -> Text,
        /// As what: a word of the client's.
        function -> Text,
    }
}

diesel::table! {
    /// The role that a function may get on portfolios of a type (MEM-10). No row: no access.
    function_ceilings (organization, function, portfolio_type) {
        /// Whose portfolios.
        organization -> Text,
        /// Of those who are this, wherever they are it.
        function -> Text,
        /// On portfolios of just this type; empty: on those without one.
        portfolio_type -> Text,
        /// The key of the role.
        role -> Text,
    }
}

diesel::table! {
    /// Changes of visibility that were asked of the administrators (VIS-7). Written under the organization's scope lock.
    privacy_requests (id) {
        /// Generated, a UUIDv7.
        id -> Text,
        /// Whose portfolio it is.
        organization -> Text,
        /// Whose visibility; at most one pending each.
        portfolio -> Text,
        /// user or service_account; null once the account was deleted, so that a later user of the same id inherits nothing (DIR-9).
        requester_kind -> Nullable<Text>,
        /// Who asked.
        requester_id -> Nullable<Text>,
        /// The visibility when it was asked for.
        from_visibility -> Text,
        /// The visibility that was asked for.
        to_visibility -> Text,
        /// pending, or an end state, which nothing leaves.
        state -> Text,
        /// When it was asked for.
        create_time -> Timestamptz,
        /// user or service_account; null while pending, and for the system.
        decider_kind -> Nullable<Text>,
        /// Who brought it to its end.
        decider_id -> Nullable<Text>,
        /// When; null while pending.
        decide_time -> Nullable<Timestamptz>,
        /// What a rejection said; may be empty.
        reason -> Text,
    }
}

diesel::table! {
    /// What other services own and portfolios show: boards, goals, assessments (ACC-5). Rows stay after deletion, so that ids are never reused.
    items (organization, item_type, id) {
        /// Whose item it is; never changes.
        organization -> Text,
        /// A word of the client's, such as board; never changes.
        item_type -> Text,
        /// The client's own; unique in the organization among items of the type, never reused.
        id -> Text,
        /// What people call it; may be empty.
        display_name -> Text,
        /// The kind of who made it; null if nobody is known.
        author_kind -> Nullable<Text>,
        /// Who made it (ACC-4); null if nobody is known, or the account was deleted.
        author_id -> Nullable<Text>,
        /// Who owns it; null after the owner's account was deleted, and if there never was one.
        owner -> Nullable<Text>,
        /// Whether it has access settings of its own; if not, it follows its one portfolio (ACC-5).
        independent -> Bool,
        /// As of portfolios (VIS-2), of an independent item; else null.
        visibility -> Nullable<Text>,
        /// The role that openness gives on an independent item; else null.
        organization_access_role -> Nullable<Text>,
        /// Kept, but nothing is added or changed in it (VIS-8).
        archived -> Bool,
        /// Gone for good.
        deleted -> Bool,
        /// When it was registered.
        create_time -> Timestamptz,
        /// When it, its portfolios or its settings were last changed.
        update_time -> Timestamptz,
        /// Grows with every change of it, its portfolios or its settings; what an etag names.
        version -> Int8,
    }
}

diesel::table! {
    /// Which portfolios show an item: of an inheriting one just one (ACC-5).
    item_portfolios (organization, item_type, item_id, portfolio) {
        /// Whose item it is.
        organization -> Text,
        /// The type of the item.
        item_type -> Text,
        /// The id of the item.
        item_id -> Text,
        /// The portfolio that shows it, of the same organization.
        portfolio -> Text,
    }
}

diesel::table! {
    /// Access given to subjects on independent items (ACC-5). Ended grants stay.
    item_grants (id) {
        /// Generated.
        id -> Uuid,
        /// Whose item it is.
        organization -> Text,
        /// The type of the item.
        item_type -> Text,
        /// The id of the item.
        item_id -> Text,
        /// user, group or service_account.
        subject_kind -> Text,
        /// To whom.
        subject_id -> Text,
        /// As what.
        role -> Text,
        /// Whether it is the grant that the item's owner holds.
        ownership -> Bool,
        /// In force from this instant on; null: at once.
        start_time -> Nullable<Timestamptz>,
        /// In force until just before this instant; null: for good.
        expire_time -> Nullable<Timestamptz>,
        /// When it was given.
        create_time -> Timestamptz,
        /// When somebody ended it; null while nobody has.
        revoke_time -> Nullable<Timestamptz>,
    }
}

diesel::allow_tables_to_appear_in_same_query!(
    cluster,
    feed_heads,
    permissions,
    organizations,
    organization_administrators,
    roles,
    role_permissions,
    users,
    site_roles,
    affiliations,
    function_ceilings,
    service_accounts,
    groups,
    group_members,
    portfolios,
    privacy_requests,
    grants,
    items,
    item_portfolios,
    item_grants,
    change_log,
    request_outcomes,
);
